# SPDX-License-Identifier: Apache-2.0
"""Writes the PNG files that Pillow reads but does not write: every colour type and depth, interlaced, with gamma."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGBA: (8, 16)}
# Adam7: x and y of the first pixel, x and y steps.
_PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


@dataclass(frozen=True)
class Format:
    """What a PNG is made of."""

    colour: int
    depth: int
    interlaced: bool = False
    gamma: bool = False
    transparency: bool = False  # tRNS: of palettes, alpha by entry; of grey and RGB, one transparent value


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _rows(samples: np.ndarray, depth: int) -> bytes:
    """Filter byte 0 and packed samples for each row of [height, width, channels]."""
    lines = []
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            packed = row.astype(">u2").tobytes()
        elif depth == 8:
            packed = row.astype(np.uint8).tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            packed = np.packbits(bits.astype(np.uint8).ravel()).tobytes()
        lines.append(b"\0" + packed)
    return b"".join(lines)


def _transparency(form: Format) -> bytes:
    if form.colour == PALETTE:
        return bytes(255 - 7 * i % 256 for i in range(min(1 << form.depth, 16)))
    return struct.pack(">H", 1) * CHANNELS[form.colour]


def write(form: Format, width: int, height: int, random: np.random.Generator) -> bytes:
    """A PNG of random samples."""
    samples = random.integers(0, 1 << form.depth, (height, width, CHANNELS[form.colour]), dtype=np.int64)
    if form.interlaced:
        passes = (samples[y::dy, x::dx] for x, y, dx, dy in _PASSES)
        data = b"".join(_rows(part, form.depth) for part in passes if part.size)
    else:
        data = _rows(samples, form.depth)
    header = struct.pack(">IIBBBBB", width, height, form.depth, form.colour, 0, 0, int(form.interlaced))
    chunks = [_chunk(b"IHDR", header)]
    if form.gamma:
        chunks.append(_chunk(b"gAMA", struct.pack(">I", 45455)))
    if form.colour == PALETTE:
        chunks.append(_chunk(b"PLTE", random.bytes(3 << form.depth)))
    if form.transparency:
        chunks.append(_chunk(b"tRNS", _transparency(form)))
    chunks += [_chunk(b"IDAT", zlib.compress(data)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
