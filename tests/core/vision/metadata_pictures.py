# SPDX-License-Identifier: Apache-2.0
"""Pictures whose metadata matter: every home and form of an orientation, and colour profiles, which do not count.

make_images.py writes them; other tests take them from here as bytes.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

W, H = 9, 6
ORIENTATION = 0x0112
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
# Name of a TIFF type: its number and how struct packs it.
TYPES = {
    "byte": (1, "B"), "ascii": (2, "B"), "short": (3, "H"), "long": (4, "L"), "rational": (5, "LL"), "sbyte": (6, "b"),
    "undefined": (7, "B"), "sshort": (8, "h"), "slong": (9, "l"), "srational": (10, "ll"), "float": (11, "f"),
    "double": (12, "d"), "ifd": (13, "L"), "long8": (16, "Q"), "unknown": (14, "L"),
}  # fmt: skip


def tiny() -> Image.Image:
    """A picture that looks different after each of the eight turns."""
    y, x = np.mgrid[0:H, 0:W]
    return Image.fromarray(np.stack([x * 28, y * 40, (x > 5) * 200], -1).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file as bytes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def entry(order: str, kind: str, *values: float, tag: int = ORIENTATION, heap: int = 0) -> tuple[bytes, bytes]:
    """A directory entry, and the values behind the directory at `heap` if four bytes cannot hold them."""
    number, code = TYPES[kind]
    numbers = [part for value in values for part in ([value, 1] if len(code) == 2 else [value])]
    data = struct.pack(order + code * len(values), *numbers)
    head = struct.pack(order + "HHL", tag, number, len(values))
    return (head + data.ljust(4, b"\0"), b"") if len(data) <= 4 else (head + struct.pack(order + "L", heap), data)


def tiff(order: str, *entries: tuple[bytes, bytes], version: int = 42) -> bytes:
    """A TIFF block of one directory. Values of one entry at most may stand behind it, at 8 + 2 + 12 * entries + 4."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HL", version, 8)
    return head + struct.pack(order + "H", len(entries)) + b"".join(e[0] for e in entries) + bytes(4) + b"".join(
        e[1] for e in entries
    )


def simple(order: str = "<", kind: str = "short", value: float = 6) -> bytes:
    """A TIFF block that holds an orientation alone."""
    return tiff(order, entry(order, kind, value, heap=26))


def xmp(value: int = 6, element: bool = False) -> bytes:
    """An XMP packet with the orientation as an attribute or an element."""
    attribute = "" if element else f' tiff:Orientation="{value}"'
    inside = f"<tiff:Orientation>{value}</tiff:Orientation>" if element else ""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{attribute}>{inside}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


def jpeg(*segments: bytes, base: bytes | None = None) -> bytes:
    """A JPEG with APP1 segments of these contents."""
    base = base or encoded(tiny(), "JPEG", quality=85)
    return base[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments) + base[2:]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(before: bytes = b"", after: bytes = b"", base: bytes | None = None) -> bytes:
    """A PNG with chunks before and behind its pixels."""
    base = base or encoded(tiny(), "PNG")
    data, end = base.index(b"IDAT") - 4, base.index(b"IEND") - 4
    return base[:data] + before + base[data:end] + after + base[end:]


def webp(*chunks: tuple[bytes, bytes], flags: int = 0) -> bytes:
    """A WebP of the extended format with chunks behind its pixels."""
    body = encoded(tiny(), "WEBP", lossless=True)[12:]
    size = struct.pack("<L", W - 1)[:3] + struct.pack("<L", H - 1)[:3]
    header = b"VP8X" + struct.pack("<LB", 10, flags) + bytes(3) + size
    chunks += ((b"JUNK", bytes(64)),)  # so that a tenth of the file still holds the head
    rest = b"".join(name + struct.pack("<L", len(data)) + data + bytes(len(data) % 2) for name, data in chunks)
    content = b"WEBP" + header + body + rest
    return b"RIFF" + struct.pack("<L", len(content)) + content


def raw_profile(block: bytes) -> bytes:
    """A block in hexadecimal lines as ImageMagick writes it."""
    digits = block.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\nexif\n{len(block):8d}\n{lines}\n".encode()


def text(key: bytes, content: bytes) -> bytes:
    """A PNG chunk of plain text."""
    return chunk(b"tEXt", key + b"\0" + content)


def deflated(key: bytes, content: bytes, cut: int = 0) -> bytes:
    """A PNG chunk of compressed text, without its last `cut` bytes."""
    stream = zlib.compress(content)
    return chunk(b"zTXt", key + b"\0\0" + stream[: len(stream) - cut])


def international(content: bytes, compressed: bool = False) -> bytes:
    """A PNG chunk of XMP."""
    head = b"XML:com.adobe.xmp\0" + (b"\1" if compressed else b"\0") + b"\0\0\0"
    return chunk(b"iTXt", head + (zlib.compress(content) if compressed else content))


def orientations() -> dict[str, bytes]:
    """Files by name; the right orientation is Pillow's."""
    exif, profile = b"Exif\0\0", b"Raw profile type exif"
    files: dict[str, bytes] = {}
    for order, name in (("<", "little"), (">", "big")):
        for kind in TYPES:
            files[f"orient_{kind}_{name}.jpg"] = jpeg(exif + simple(order, kind))
    more, model = entry("<", "short", 6), entry("<", "ascii", *b"abcdefgh", 0, tag=0x0110, heap=38)
    beyond = entry("<", "ascii", *b"abcdefgh", 0, tag=0x0110, heap=9999)
    files |= {
        "orient_two_values.jpg": jpeg(exif + tiff("<", entry("<", "short", 6, 3))),
        "orient_many_values.jpg": jpeg(exif + tiff("<", entry("<", "short", 8, 3, 1, 1, heap=26))),
        "orient_twice.jpg": jpeg(exif + tiff("<", entry("<", "short", 3), more)),
        "orient_after_text.jpg": jpeg(exif + tiff("<", model, more)),
        "orient_after_lost_text.jpg": jpeg(exif + tiff("<", (beyond[0], b""), more)),
        "orient_before_lost_text.jpg": jpeg(exif + tiff("<", more, (beyond[0], b""))),
        "orient_version_turned.jpg": jpeg(exif + tiff(">", entry(">", "short", 6), version=42 << 8)),
        "orient_zero.jpg": jpeg(exif + simple(value=0), XMP_HEAD + xmp(6)),
        "orient_nine.jpg": jpeg(exif + simple(value=9)),
        "orient_half.jpg": jpeg(exif + simple(kind="double", value=6.5)),
        "orient_exif_twice.jpg": jpeg(exif + exif + simple(value=8)),
        "orient_cut_directory.jpg": jpeg(exif + tiff("<", more)[:10] + more[0][:11]),
        "orient_split.jpg": jpeg(exif + tiff("<", model, more)[:30], exif + tiff("<", model, more)[30:]),
        "orient_second_segment.jpg": jpeg(exif + tiff("<", model), exif + simple(value=6)),
        "orient_xmp.jpg": jpeg(XMP_HEAD + xmp(6)),
        "orient_xmp_element.jpg": jpeg(XMP_HEAD + xmp(8, element=True)),
        "orient_xmp_last.jpg": jpeg(XMP_HEAD + xmp(6), XMP_HEAD + xmp(3)),
        "orient_exif_and_xmp.jpg": jpeg(exif + simple(value=3), XMP_HEAD + xmp(6)),
        "orient_exif_without_and_xmp.jpg": jpeg(exif + tiff("<", model), XMP_HEAD + xmp(6)),
        "orient_exif_bytes_and_xmp.jpg": jpeg(exif + simple(kind="byte"), XMP_HEAD + xmp(6)),
        "orient_exif.png": png(chunk(b"eXIf", simple(">", "long"))),
        "orient_exif_behind.png": png(after=chunk(b"eXIf", simple(value=8))),
        "orient_profile_deflated.png": png(deflated(profile, raw_profile(exif + simple()))),
        "orient_profile_text.png": png(text(profile, raw_profile(exif + simple(value=8)))),
        "orient_profile_and_exif.png": png(
            text(profile, raw_profile(simple(value=8))) + chunk(b"eXIf", simple(value=3))
        ),
        "orient_profile_app1.png": png(text(b"Raw profile type APP1", raw_profile(exif + simple(value=8)))),
        "orient_profile_cut.png": png(deflated(profile, raw_profile(exif + simple()), cut=6)),
        "orient_xmp.png": png(international(xmp(6))),
        "orient_xmp_deflated.png": png(international(xmp(8, element=True), compressed=True)),
        "orient_xmp_behind.png": png(after=international(xmp(3))),
        "orient_exif.webp": webp((b"EXIF", simple(value=6)), flags=8),
        "orient_exif_prefixed.webp": webp((b"EXIF", exif + simple(">", "long", 8)), flags=8),
        "orient_xmp.webp": webp((b"XMP ", xmp(6)), flags=4),
        "orient_unannounced.webp": webp((b"EXIF", simple(value=6)), flags=0),
    }  # fmt: skip
    return files


def profiles() -> dict[str, bytes]:
    """Files by name whose profile or gamma would change the colours if anything honoured it; and kinds of CMYK."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    icc = icc[:24] + bytes(12) + icc[36:]  # without its date
    cmyk = encoded(tiny().convert("CMYK"), "JPEG", quality=85)
    adobe = cmyk.index(b"\xff\xee")
    length = 2 + struct.unpack(">H", cmyk[adobe + 2 : adobe + 4])[0]
    transform = adobe + length - 1
    colour = encoded(tiny(), "JPEG", quality=85)
    untransformed = b"\xff\xee" + struct.pack(">H", 14) + b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0)
    return {
        "profile.jpg": encoded(tiny(), "JPEG", quality=85, icc_profile=icc),
        "profile.png": encoded(tiny(), "PNG", icc_profile=icc),
        "profile.webp": encoded(tiny(), "WEBP", lossless=True, icc_profile=icc),
        "gamma.png": png(chunk(b"gAMA", struct.pack(">L", 100000)) + chunk(b"sRGB", b"\0")),
        "cmyk_adobe.jpg": cmyk,
        "cmyk_bare.jpg": cmyk[:adobe] + cmyk[adobe + length :],
        "cmyk_ycck.jpg": cmyk[:transform] + b"\2" + cmyk[transform + 1 :],
        "cmyk_profile.jpg": encoded(tiny().convert("CMYK"), "JPEG", quality=85, icc_profile=icc),
        "cmyk_turned.jpg": jpeg(b"Exif\0\0" + simple(), base=cmyk),
        "rgb_untransformed.jpg": colour[:2] + untransformed + colour[20:],
    }


def sixteen_bits() -> dict[str, bytes]:
    """PNGs of 16 bits a channel by name."""
    y, x = np.mgrid[0:H, 0:W]
    grey = (x * 7000 + y * 1500).astype(">u2")

    def file(colour: int, channels: list[np.ndarray], extra: bytes = b"") -> bytes:
        pixels = np.stack(channels, -1).astype(">u2")
        rows = b"".join(b"\0" + row.tobytes() for row in pixels)
        header = chunk(b"IHDR", struct.pack(">LLBBBBB", W, H, 16, colour, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

    alpha = 65535 - grey.astype(np.int64)
    return {
        "grey16.png": file(0, [grey]),
        "grey16_turned.png": file(0, [grey], chunk(b"eXIf", simple())),
        "grey16_alpha.png": file(4, [grey, alpha]),
        "rgba16.png": file(6, [grey, alpha, grey // 2, alpha]),
    }
