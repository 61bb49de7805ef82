# SPDX-License-Identifier: Apache-2.0
"""A picture as the server sees it, by Pillow and NumPy: the same files refused, the same pixels of all others."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from paligemma_export.errors import ExportError

MAX_BYTES, MAX_PIXELS, MAX_SIDE = 16 << 20, 40_000_000, 16_384  # the server's own limits
_PNG_MARK, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
_WEBP_ANIMATION = 0x02
_ACCEPTED = "JPEG, PNG and WebP are"


def opened(path: Path) -> Image.Image:
    """The picture upright and in RGB. Raises ExportError with the picture's name where the server would refuse it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ExportError(f"picture {path}: {error.strerror}") from None
    try:
        return decoded(data)
    except ExportError as error:
        raise ExportError(f"picture {path}: {error}") from None


def decoded(data: bytes) -> Image.Image:
    """The same of a file's bytes."""
    if len(data) > MAX_BYTES:
        raise ExportError(f"{len(data)} bytes, the server's limit is {MAX_BYTES}")
    if data.startswith(_PNG_MARK):
        _check_png_is_whole(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        if data[12:16] == b"VP8X" and data[20:21] and data[20] & _WEBP_ANIMATION:
            raise ExportError("an animation, which the server does not read: send one of its frames")
    elif not data.startswith(b"\xff\xd8\xff"):
        raise ExportError(f"not a picture that the server reads; {_ACCEPTED}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's own, smaller limit, and of odd metadata
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
                _check_size(*image.size)
                image.load()
                return _as_rgb(_upright(image))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ExportError(f"damaged or cut short ({error})") from None


def _check_png_is_whole(data: bytes) -> None:
    """Pillow shows what there is of a PNG that is cut behind its pixels; the server refuses it."""
    at = len(_PNG_MARK)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + length
        if kind == _PNG_END and at <= len(data):
            return
    raise ExportError("damaged or cut short (the PNG has no end)")


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ExportError(f"{width} x {height} pixels, the server's limit is {MAX_PIXELS} and {MAX_SIDE} a side")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow's readers of metadata raise errors of many kinds; such metadata turn nothing
        return image


def _as_rgb(image: Image.Image) -> Image.Image:
    """16-bit grey keeps its upper byte, which Pillow's own conversion would clip to white."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        image = Image.fromarray((levels >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def prepared(image: Image.Image, rule: dict[str, Any]) -> torch.Tensor:
    """uint8 [1,size,size,3] as the manifest's `image` block says."""
    size = rule["size"]
    if rule["padding"] == "pad_white":
        side = max(image.size)
        image = ImageOps.pad(image, (side, side), color="white") if image.size != (side, side) else image
    if rule["resampling"] == "bilinear":
        pixels = _bilinear(np.asarray(image.convert("RGB")), size)
    elif rule["resampling"] == "bilinear_antialias":
        pixels = np.array(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
    else:
        return squashed(image, size)
    return torch.from_numpy(pixels)[None]


def squashed(image: Image.Image, size: int) -> torch.Tensor:
    """uint8 [1,size,size,3] by Pillow's bicubic filter, whatever the aspect ratio."""
    pixels = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(pixels))[None]


def _bilinear(pixels: np.ndarray, size: int) -> np.ndarray:
    """The original inference's: half-pixel centres, no antialiasing, in float32, cut to whole levels."""

    def places(length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scale = np.float32(length) / np.float32(size)
        at = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
        low = np.floor(at)
        return np.maximum(low.astype(int), 0), np.minimum(np.ceil(at).astype(int), length - 1), at - low

    top, bottom, down = places(pixels.shape[0])
    left, right, across = places(pixels.shape[1])
    levels, across, down = pixels.astype(np.float32), across[None, :, None], down[:, None, None]

    def row(rows: np.ndarray) -> np.ndarray:
        return levels[rows][:, left] + (levels[rows][:, right] - levels[rows][:, left]) * across

    above, below = row(top), row(bottom)
    return (above + (below - above) * down).clip(0, 255).astype(np.uint8)
