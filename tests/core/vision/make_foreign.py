# SPDX-License-Identifier: Apache-2.0
"""Makes foreign/: what people send in place of a picture, and foreign/expected.txt with a word that names each.

The server and the clients must name them; run with the test environment's Python. The results are committed.
"""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
from pathlib import Path

from metadata_pictures import encoded, tiny

HERE = Path(__file__).parent / "foreign"


def box(brand: bytes) -> bytes:
    """The first box of an ISO media file."""
    return b"\0\0\0\x18ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(40)


def archive(content: bytes) -> bytes:
    """A ZIP archive of one file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(zipfile.ZipInfo("cat.jpg"), content)
    return out.getvalue()


def foreign() -> dict[str, tuple[bytes, str]]:
    """Content by name, and a word of the message."""
    jpeg, png = encoded(tiny(), "JPEG"), encoded(tiny(), "PNG")
    webp = encoded(tiny(), "WEBP", lossless=True)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4\n"
    numpy = b"\x93NUMPY\x01\0v\0{'descr': '|u1', 'fortran_order': False, 'shape': (6, 9, 3), }"
    return {
        "html.jpg": (b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n", "HTML"),
        "html_bare.jpg": (b"\xef\xbb\xbf \r\n<html lang=en><body>Sign in</body></html>", "HTML"),
        "xml.jpg": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        "json.png": (b'{"error": {"message": "not found"}}', "JSON"),
        "drawing.svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        "base64_text.jpg": (base64.b64encode(jpeg), "base64"),
        "base64_lines.png": (base64.encodebytes(png), "base64"),
        "base64_quoted.webp": (b'"' + base64.urlsafe_b64encode(webp) + b'"', "base64"),
        "base64_twice.jpg": (base64.b64encode(base64.b64encode(jpeg)), "twice"),
        "data_uri.png": (b"data:image/png;base64," + base64.b64encode(png), "data: URI"),
        "address.jpg": (b"https://example.com/cat.jpg", "address"),
        "phone.heic": (box(b"heic"), "HEIC"),
        "phone_mif1.heic": (box(b"mif1"), "HEIC"),
        "still.avif": (box(b"avif"), "AVIF"),
        "clip.mp4": (box(b"isom"), "video"),
        "clip.webm": (b"\x1a\x45\xdf\xa3" + bytes(30), "video"),
        "still.gif": (encoded(tiny().quantize(8), "GIF"), "GIF"),
        "moving.gif": (encoded(tiny(), "GIF", save_all=True, append_images=[tiny().rotate(180)]), "GIF"),
        "moving.webp": (encoded(tiny(), "WEBP", save_all=True, append_images=[tiny().rotate(180)]), "animation"),
        "plain.bmp": (encoded(tiny(), "BMP"), "BMP"),
        "plain.tiff": (encoded(tiny(), "TIFF"), "TIFF"),
        "plain.ppm": (encoded(tiny(), "PPM"), "Netpbm"),
        "plain.ico": (b"\0\0\1\0\1\0" + bytes(30), "ICO"),
        "plain.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(30), "JPEG 2000"),
        "plain.jxl": (b"\xff\x0a" + bytes(30), "JPEG XL"),
        "photoshop.psd": (b"8BPS\0\1" + bytes(30), "Photoshop"),
        "page.pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
        "scan.dcm": (bytes(128) + b"DICM" + bytes(8), "DICOM"),
        "array.npy": (numpy, "NumPy"),
        "pictures.zip": (archive(jpeg), "ZIP"),
        "cat.jpg.gz": (gzip.compress(jpeg, mtime=0), "gzip"),
        "pointer.jpg": (pointer, "git-lfs"),
        "as_text.jpg": (jpeg.decode("latin-1").encode(), "binary mode"),
        "as_text_lost.jpg": (jpeg.decode("utf-8", "replace").encode(), "binary mode"),
        "as_text_lines.png": (png.replace(b"\r\n", b"\n"), "binary mode"),
        "printed.jpg": (repr(jpeg).encode(), "binary mode"),
        "blanks_before.png": (b"\r\n" + png, "blanks"),
        "text.jpg": (b"Dear server, please describe this.", "text"),
        "zeros.jpg": (bytes(200), "zeros"),
        "noise.jpg": (bytes((i * 73 + 17) % 251 for i in range(100)), "no picture"),
    }  # fmt: skip


def main() -> None:
    """Writes the folder."""
    HERE.mkdir(exist_ok=True)
    for name, (content, _) in foreign().items():
        (HERE / name).write_bytes(content)
    (HERE / "expected.txt").write_text("".join(f"{name}\t{word}\n" for name, (_, word) in foreign().items()))


if __name__ == "__main__":
    main()
