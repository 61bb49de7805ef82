# SPDX-License-Identifier: Apache-2.0
"""Messages of pictures that the caller holds as pixels: arrays, tensors, PIL images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from paligemma_serving import v1
from paligemma_serving._bare import without_metadata
from paligemma_serving._formats import picture_type

# Pictures above this size are not packed into a PNG, since the client resizes them before they are sent.
PNG_LIMIT_BYTES = 16 << 20


def is_pil(source: object) -> bool:
    """Returns true if this is an image of Pillow."""
    return isinstance(source, Image.Image)


def is_tensor(source: object) -> bool:
    """Returns true if this is a torch tensor. torch is not imported."""
    return type(source).__module__.partition(".")[0] == "torch" and hasattr(source, "detach")


def raw_image(pixels: np.ndarray) -> v1.Image:
    """The message of uint8 pixels [height, width] or [height, width, 3]."""
    height, width = pixels.shape[:2]
    layout = v1.PIXEL_FORMAT_GRAY8 if pixels.ndim == 2 else v1.PIXEL_FORMAT_RGB8
    data = np.ascontiguousarray(pixels).tobytes()
    return v1.Image(raw=v1.RawPixels(width=width, height=height, pixel_format=layout, data=data))


def from_array(array: np.ndarray) -> v1.Image:
    """The message of an array [height, width[, 1 or 3]] of uint8, or of uint16, of which the upper byte counts as in a
    16-bit file."""
    _check_shape(array)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        array = (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(
            f"an image array must be uint8, not {array.dtype}: scale it to 0..255 and convert it"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return raw_image(array)


def _check_shape(array: np.ndarray) -> None:
    shape = array.shape
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)):
        if 0 in shape:
            raise ValueError(f"an image array must hold pixels, not {shape}")
        return
    hint = ""
    if len(shape) == 4:
        hint = ": this is a batch, pass its pictures one by one"
    elif len(shape) == 3 and shape[2] == 4:
        hint = ": drop the alpha channel, array[:, :, :3]"
    elif len(shape) == 3 and shape[0] in (1, 3):
        hint = ": move the channels behind, array.transpose(1, 2, 0)"
    raise ValueError(f"an image array must be (height, width[, 1 or 3]), not {shape}{hint}")


def from_tensor(tensor: Any) -> v1.Image:
    """The message of a tensor [height, width] or [1 or 3, height, width], torchvision's order, or in NumPy's order.
    uint8, or floating point in 0..1 as torchvision's ToTensor makes it."""
    array = _tensor_array(tensor)
    if array.dtype.kind == "f":
        if not (array.size and array.min() >= 0 and array.max() <= 1):
            raise ValueError(
                "a floating point tensor must lie within 0..1: undo its normalisation, or pass the uint8 picture"
            )
        array = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    if array.ndim == 3 and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    return from_array(array)


def _tensor_array(tensor: Any) -> np.ndarray:
    """Returns the values on the CPU. bfloat16 becomes another type, since NumPy does not have it."""
    tensor = tensor.detach().cpu()
    if "bfloat16" in str(tensor.dtype):
        tensor = tensor.float()
    return np.asarray(tensor.numpy())


def from_pil(picture: Image.Image, raw_limit: int) -> v1.Image:
    """The message of the pixels that a PIL image holds, of any mode.

    A picture of up to `raw_limit` bytes travels as pixels. A larger one travels as the file that it was opened from, if
    it still equals that file, else as PNG.
    """
    channels = 1 if picture.mode in ("1", "L") or picture.mode.startswith("I") else 3
    num_bytes = picture.width * picture.height * channels
    if num_bytes > raw_limit:
        content = _file_of(picture)
        if content is not None:
            return v1.Image(content=content)
    converted = to_rgb_or_grey(picture)
    if not raw_limit < num_bytes <= PNG_LIMIT_BYTES:
        return raw_image(np.asarray(converted))
    encoded = io.BytesIO()
    converted.save(encoded, format="PNG", compress_level=1, exif=b"")
    return v1.Image(content=encoded.getvalue())


def to_rgb_or_grey(picture: Image.Image) -> Image.Image:
    """The picture in mode "L" or "RGB", with the values that the server takes from a file of its kind."""
    mode = picture.mode
    if mode in ("L", "RGB"):
        return picture
    if mode == "1":
        return picture.convert("L")
    if mode.startswith("I") or mode == "F":
        return _from_wide(picture)
    if mode == "La":
        picture = picture.convert("LA")
    elif mode == "RGBa":
        picture = picture.convert("RGBA")
    try:
        return picture.convert("RGB")
    except ValueError:
        raise ValueError(f"a PIL image of mode {mode} has no RGB pixels: convert it first") from None


def _from_wide(picture: Image.Image) -> Image.Image:
    """Grey of more than 8 bits. The upper byte of 16 bits counts, as the server takes it from a file."""
    values = np.asarray(picture)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and getattr(picture, "format", None) == "PNG"):
        return Image.fromarray((values.astype(np.uint32) >> 8).astype(np.uint8))
    if values.size and not (values.min() >= 0 and values.max() <= 255):
        raise ValueError(
            f"a PIL image of mode {picture.mode} must hold values within 0..255, not {values.min()}..{values.max()}: "
            'scale it, or make it "I;16" where the values have 16 bits'
        )
    return Image.fromarray(np.rint(values).astype(np.uint8))


def _file_of(picture: Image.Image) -> bytes | None:
    """The file that the picture was opened from, if the server reads the same pixels in it; without its orientation,
    which the picture does not have either."""
    if not isinstance(picture, ImageFile.ImageFile) or (picture.format or "") not in ("JPEG", "MPO", "PNG", "WEBP"):
        return None
    data = _bytes_behind(picture)
    if data is None or not picture_type(data):
        return None
    return without_metadata(data) if _holds_the_same(picture, data) else None


def _bytes_behind(picture: Any) -> bytes | None:
    file = getattr(picture, "fp", None)
    try:
        if file is not None and not file.closed:
            place = file.tell()
            file.seek(0)
            data = file.read()
            file.seek(place)
            return bytes(data)
        if picture.filename:
            with open(picture.filename, "rb") as opened:
                return opened.read()
    except (OSError, ValueError, AttributeError):
        pass  # the file is gone, but the pixels are in memory
    return None


def _holds_the_same(picture: Image.Image, data: bytes) -> bool:
    """Returns true if the picture is as it was opened (not drawn on, turned or shrunk) and its file is unchanged."""
    loaded = not getattr(picture, "tile", None)
    try:
        with Image.open(io.BytesIO(data)) as again:
            if (again.mode, again.size) != (picture.mode, picture.size):
                return False
            return not loaded or (
                again.tobytes() == picture.tobytes() and again.getpalette() == picture.getpalette()
            )
    except (OSError, ValueError, SyntaxError):
        return False
