# SPDX-License-Identifier: Apache-2.0
"""Turns what a caller has into the Image message."""

from __future__ import annotations

import io
import os
from typing import Any, Union

import numpy as np

from paligemma_serving import v1

# A path, an encoded file, an array (height, width[, 1 or 3]) of uint8, a PIL image, or a message made before.
ImageSource = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, np.ndarray, v1.Image, Any]  # noqa: UP007

# Pictures of PIL up to this size travel as pixels, larger ones as PNG.
RAW_LIMIT_BYTES = 4 << 20


def to_image(source: ImageSource) -> v1.Image:
    """The message for a path, bytes, NumPy array, PIL image, or message.

    Files and bytes are sent as they are; the server applies their EXIF orientation. Arrays and PIL images are
    sent as the pixels that they hold, without loss or orientation; a PIL image loses its alpha channel.
    """
    if isinstance(source, v1.Image):
        return source
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return v1.Image(content=file.read())
    if isinstance(source, (bytes, bytearray, memoryview)):
        return v1.Image(content=bytes(source))
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if hasattr(source, "convert") and hasattr(source, "tobytes"):
        return _from_pil(source)
    raise TypeError(
        f"an image must be a path, bytes, a NumPy array or a PIL image, not {type(source).__name__}"
    )


def to_images(source: Any) -> list[v1.Image]:
    """One image or a list or tuple of them, as messages."""
    return [to_image(one) for one in (source if isinstance(source, (list, tuple)) else [source])]


def _from_array(array: np.ndarray) -> v1.Image:
    if array.dtype != np.uint8:
        raise ValueError(
            f"an image array must be uint8, not {array.dtype}: scale it to 0..255 and convert it"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2:
        layout = v1.PIXEL_FORMAT_GRAY8
    elif array.ndim == 3 and array.shape[2] == 3:
        layout = v1.PIXEL_FORMAT_RGB8
    else:
        raise ValueError(f"an image array must be (height, width[, 1 or 3]), not {array.shape}")
    height, width = array.shape[:2]
    data = np.ascontiguousarray(array).tobytes()
    return v1.Image(raw=v1.RawPixels(width=width, height=height, pixel_format=layout, data=data))


def _from_pil(picture: Any) -> v1.Image:
    picture = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    channels = 1 if picture.mode == "L" else 3
    if picture.width * picture.height * channels > RAW_LIMIT_BYTES:
        encoded = io.BytesIO()
        picture.save(encoded, format="PNG", compress_level=1, exif=b"")
        return v1.Image(content=encoded.getvalue())
    layout = v1.PIXEL_FORMAT_GRAY8 if channels == 1 else v1.PIXEL_FORMAT_RGB8
    return v1.Image(
        raw=v1.RawPixels(
            width=picture.width, height=picture.height, pixel_format=layout, data=picture.tobytes()
        )
    )
