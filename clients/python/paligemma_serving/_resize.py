# SPDX-License-Identifier: Apache-2.0
"""Decodes a picture and resizes it to the model's square, bit for bit as the server does (core/vision)."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from paligemma_serving import v1
from paligemma_serving._formats import picture_type
from paligemma_serving._pixels import to_rgb_or_grey
from paligemma_serving.errors import image_error

# Image.open is not used, since it refuses pictures of a phone as "decompression bombs".
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PILLOW_FILTERS = {
    v1.RESAMPLING_PILLOW_BICUBIC: Image.Resampling.BICUBIC,
    v1.RESAMPLING_BILINEAR_ANTIALIAS: Image.Resampling.BILINEAR,
}


class Upright(NamedTuple):
    """A decoded picture, and what the server would say about it."""

    picture: Image.Image  # RGB
    orientation: int
    mime_type: str  # "" for raw pixels


def decode(image: v1.Image) -> Upright:
    """The upright RGB picture of a message that holds one."""
    if image.WhichOneof("source") == "raw":
        raw = image.raw
        mode = "L" if raw.pixel_format == v1.PIXEL_FORMAT_GRAY8 else "RGB"
        return Upright(Image.frombytes(mode, (raw.width, raw.height), raw.data).convert("RGB"), 1, "")
    kind = picture_type(image.content)
    try:
        with _PLUGINS[kind](io.BytesIO(image.content)) as opened:
            opened.load()
            orientation = _orientation(opened)
            picture = to_rgb_or_grey(opened)
    except (OSError, SyntaxError, ValueError) as error:
        raise image_error(f"the image is damaged or cut short: {error}", "IMAGE_CORRUPT") from None
    if orientation in _TURNS:
        picture = picture.transpose(_TURNS[orientation])
    return Upright(picture.convert("RGB"), orientation, f"image/{kind.lower()}")


def can_resize(model: v1.Model) -> bool:
    """Returns true if the server told how it resizes, in words that this version knows."""
    return (
        model.image_size > 0
        and (model.resampling in _PILLOW_FILTERS or model.resampling == v1.RESAMPLING_BILINEAR)
        and model.padding in (v1.PADDING_SQUASH, v1.PADDING_WHITE)
    )


def resize(picture: Image.Image, model: v1.Model) -> np.ndarray:
    """uint8 [size, size, 3]: what the model is shown of an RGB picture. REQUIRES: can_resize(model)."""
    if model.padding == v1.PADDING_WHITE and picture.width != picture.height:
        picture = _padded(picture)
    size = model.image_size
    if model.resampling == v1.RESAMPLING_BILINEAR:
        return _resize_tensorflow(np.asarray(picture), size)
    return np.asarray(picture.resize((size, size), _PILLOW_FILTERS[model.resampling]))


def _orientation(picture: Image.Image) -> int:
    """Returns the upright picture. Damaged EXIF, for which Pillow raises many errors, counts as no orientation."""
    try:
        value = picture.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001
        return 1
    return int(value) if value in range(1, 9) else 1


def _padded(picture: Image.Image) -> Image.Image:
    side = max(picture.size)
    square = Image.new("RGB", (side, side), (255, 255, 255))
    square.paste(picture, (round((side - picture.width) * 0.5), round((side - picture.height) * 0.5)))
    return square


def _resize_tensorflow(pixels: np.ndarray, size: int) -> np.ndarray:
    """Bilinear without antialiasing in float32: half-pixel centres, the result cut and not rounded."""
    top, bottom, y = _places(pixels.shape[0], size)
    left, right, x = _places(pixels.shape[1], size)
    x, y = x[None, :, None], y[:, None, None]

    def blended(rows: np.ndarray) -> np.ndarray:
        first, second = (pixels[rows][:, columns].astype(np.int32) for columns in (left, right))
        return first.astype(np.float32) + (second - first).astype(np.float32) * x

    above, below = blended(top), blended(bottom)
    return np.clip(above + (below - above) * y, 0, 255).astype(np.uint8)


def _places(in_size: int, out_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns for each output place the two input places around it, and the share of the second."""
    scale = np.float32(in_size) / np.float32(out_size)
    at = (np.arange(out_size, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    lower = np.maximum(np.floor(at).astype(np.int64), 0)
    upper = np.minimum(np.ceil(at).astype(np.int64), in_size - 1)
    return lower, upper, (at - np.floor(at)).astype(np.float32)
