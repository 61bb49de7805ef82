# SPDX-License-Identifier: Apache-2.0
"""Pictures that are odd, broken or made to cost much."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *, depth: int = 8, colour: int = GREY, extra: bytes = b"") -> bytes:
    """A PNG whose IDAT holds `data` as it is."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG_SIGNATURE + header + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bomb(width: int, height: int) -> bytes:
    """A valid, all black PNG of one bit a pixel: a few bytes for many pixels."""
    row = bytes(1 + (width + 7) // 8)
    deflate = zlib.compressobj(9)
    data = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    return png(width, height, data, depth=1)


def photograph(width: int = 64, height: int = 48) -> Image.Image:
    """A picture with something in every pixel, the same each time."""
    pixels = np.random.default_rng(7).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The file's bytes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def as_pillow_sees_it(data: bytes) -> Image.Image:
    """The RGB pixels that the reference implementation would see, upright."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def sixteen_bit(width: int = 24, height: int = 16) -> bytes:
    """An RGB PNG of 16 bits a channel, which Pillow does not write."""
    values = np.random.default_rng(3).integers(0, 65536, (height, width * 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    return png(width, height, zlib.compress(rows), depth=16, colour=RGB)


def rotated(orientation: int) -> bytes:
    """A JPEG that asks to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photograph(), "JPEG", quality=90, exif=exif)


def with_profile() -> bytes:
    """A JPEG with a colour profile, which PaliGemma's preprocessing ignores."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return encoded(photograph(), "JPEG", quality=90, icc_profile=profile)


def many_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan is there again and again: 75 s of decoding at 8000 pixels a side."""
    data = encoded(photograph(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + data[-2:]


def with_segments(number: int) -> bytes:
    """A JPEG with this many EXIF segments of 64 KiB."""
    data = encoded(photograph(), "JPEG")
    segment = b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65527)
    return data[:2] + segment * number + data[2:]


def text_bomb(kind: bytes, mib: int) -> bytes:
    """A one-pixel PNG with a compressed chunk that would inflate to this size."""
    head = {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}[kind]
    payload = head + zlib.compress(bytes(mib << 20), 9)
    return png(1, 1, zlib.compress(b"\0\x7f"), extra=chunk(kind, payload))
