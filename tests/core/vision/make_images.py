# SPDX-License-Identifier: Apache-2.0
"""Makes images/ and its expected.txt: small files of every kind, and the sha256 of Pillow's upright RGB pixels.

Run with the test environment's Python; the results are committed, since codecs' encoders change.
"""

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
from metadata_pictures import orientations, profiles, sixteen_bits
from PIL import Image, ImageOps

HERE = Path(__file__).parent / "images"
W, H = 37, 29


def picture(width: int = W, height: int = H) -> np.ndarray:
    """Smooth colours, an edge and a little noise."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([(x * 7) % 256, (y * 8 + x) % 256, ((x ^ y) * 5) % 256], -1).astype(np.uint8)
    rgb[height // 3 : height // 2, width // 4 : width // 2] = (250, 20, 30)
    return rgb


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, color: int, raw: bytes, interlace: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def rows(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def adam7(pixels: np.ndarray) -> bytes:
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    return b"".join(rows(pixels[y::dy, x::dx]) for y, x, dy, dx in passes if pixels[y::dy, x::dx].size)


def main() -> None:
    HERE.mkdir(exist_ok=True)
    rgb = picture()
    image = Image.fromarray(rgb)
    grey = image.convert("L")
    alpha = np.dstack([rgb, ((np.arange(W) * 6)[None, :] * np.ones((H, 1))).astype(np.uint8)])
    save = {
        "baseline420.jpg": (image, {"quality": 85, "subsampling": 2}),
        "baseline422.jpg": (image, {"quality": 85, "subsampling": 1}),
        "baseline444.jpg": (image, {"quality": 92, "subsampling": 0}),
        "progressive.jpg": (image, {"quality": 80, "progressive": True}),
        "progressive_tall.jpg": (Image.fromarray(picture(8, 512)), {"quality": 80, "progressive": True}),
        "grey.jpg": (grey, {"quality": 80}),
        "cmyk.jpg": (image.convert("CMYK"), {"quality": 85}),
        "rgb.png": (image, {}),
        "rgba.png": (Image.fromarray(alpha), {}),
        "grey.png": (grey, {}),
        "grey_alpha.png": (Image.fromarray(alpha).convert("LA"), {}),
        "bit.png": (image.convert("1"), {}),
        "palette.png": (image.quantize(200), {"transparency": 3}),
        "palette4.png": (image.quantize(11), {"bits": 4}),
        "lossy.webp": (image, {"quality": 80}),
        "lossless.webp": (image, {"lossless": True}),
        "alpha.webp": (Image.fromarray(alpha), {"lossless": True, "exact": True}),
        "alpha_lossy.webp": (Image.fromarray(alpha), {"quality": 70}),
    }
    for name, (source, options) in save.items():
        source.save(HERE / name, **options)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(HERE / f"exif{orientation}.jpg", quality=85, exif=exif)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(HERE / "exif6.png", exif=exif)
    image.save(HERE / "exif6.webp", exif=exif)
    wide = (rgb.astype(np.uint16) * 257 + 77).astype(">u2")
    (HERE / "rgb16.png").write_bytes(png(W, H, 16, 2, rows(wide)))
    (HERE / "interlaced.png").write_bytes(png(W, H, 8, 2, adam7(rgb), 1))
    for name, content in (orientations() | profiles() | sixteen_bits()).items():
        (HERE / name).write_bytes(content)
    lines = []
    for path in sorted(HERE.glob("*.*")):
        if path.suffix not in (".jpg", ".png", ".webp"):
            continue
        turned, orientation = upright(path)
        lines.append(f"{path.name} {turned.width} {turned.height} {orientation} "
                     f"{hashlib.sha256(turned.tobytes()).hexdigest()}\n")
    (HERE / "expected.txt").write_text("".join(lines))


def upright(path: Path) -> tuple[Image.Image, int]:
    """Pillow's upright RGB pixels, and the orientation that it applied. 16-bit grey, which Pillow clips, is cut to its
    upper byte."""
    with Image.open(path) as opened:
        opened.load()
        orientation = opened.getexif().get(0x0112, 1)
        turned = ImageOps.exif_transpose(opened)
    if turned.mode.startswith("I"):
        turned = Image.fromarray((np.asarray(turned).astype(np.uint32) >> 8).astype(np.uint8))
    return turned.convert("RGB"), int(orientation) if orientation in range(1, 9) else 1


if __name__ == "__main__":
    main()
