# SPDX-License-Identifier: Apache-2.0
"""Turns what a caller has into the Image message."""

from __future__ import annotations

import os
from typing import Any, Union
from urllib.parse import unquote_to_bytes

import numpy as np

from paligemma_serving import v1
from paligemma_serving._formats import decode_base64, describe_foreign
from paligemma_serving._pixels import from_array, from_pil, from_tensor, is_pil, is_tensor
from paligemma_serving.errors import ImageError, image_error

# A path, a data: URI or base64 text, an encoded file as bytes or as an open file, an array (height, width[, 1 or 3]) of
# uint8 or uint16, a torch tensor ([1 or 3,] height, width), a PIL image, or a message made before.
ImageSource = Union[  # noqa: UP007 (evaluated, and Python 3.9 lacks the other form)
    str, "os.PathLike[str]", bytes, bytearray, memoryview, np.ndarray, v1.Image, Any
]

# Pictures of PIL up to this size travel as pixels, larger ones as a file.
RAW_LIMIT_BYTES = 4 << 20
_URL_SCHEMES = ("http://", "https://", "ftp://", "s3://", "gs://", "file://")


def to_image(source: ImageSource) -> v1.Image:
    """Returns the message for one picture, whatever form it has.

    Files (path, bytes, open file, data: URI, base64 text) are sent as they are; the server applies their EXIF
    orientation. Arrays, tensors and PIL images are sent as the pixels that they hold, without loss or orientation: a
    large PIL image that still equals the file it was opened from travels as that file, without the orientation that the
    image does not have either. An alpha channel of a PIL image is dropped, as the server drops that of a file.

    Raises ImageError for what is no picture, with a sentence that names it; ValueError and TypeError for objects that
    hold no picture; OSError where a file cannot be read.
    """
    if isinstance(source, v1.Image):
        return source
    if isinstance(source, str):
        return _from_text(source)
    if isinstance(source, os.PathLike):
        return _from_path(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(source))
    if isinstance(source, np.ndarray):
        return from_array(source)
    if is_pil(source):
        return from_pil(source, RAW_LIMIT_BYTES)
    if is_tensor(source):
        return from_tensor(source)
    if hasattr(source, "read"):
        return _from_file(source)
    if hasattr(source, "__array__"):
        return from_array(np.asarray(source))
    hint = "; this call takes one picture" if isinstance(source, (list, tuple)) else ""
    raise TypeError(
        "an image must be a path, bytes, an open file, a data: URI, base64 text, a NumPy array, a torch tensor or a "
        f"PIL image, not {type(source).__name__}{hint}"
    )


def to_images(source: Any) -> list[v1.Image]:
    """Returns messages for one picture, or for a list or tuple of them."""
    return [to_image(one) for one in (source if isinstance(source, (list, tuple)) else [source])]


def _from_text(text: str) -> v1.Image:
    if text[:5].lower() == "data:":
        return _encoded(_read_data_uri(text))
    if text.lower().startswith(_URL_SCHEMES):
        raise ValueError(
            "an address is not fetched on its own: pass paligemma_serving.image_from_url(url) for http and https, and "
            "the bytes for anything else"
        )
    # A long base64 text begins like an absolute path ("/9j/" is JPEG).
    if len(text) > 32 and not _exists(text):
        decoded = decode_base64(text.encode("ascii", "replace"))
        if decoded is not None:
            return _encoded(decoded)
    return _from_path(text)


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:  # the text holds a zero byte, which no path may
        return False


def _from_path(path: str | os.PathLike[str]) -> v1.Image:
    if os.path.isdir(path):
        raise IsADirectoryError(f"{os.fspath(path)} is a folder: pass the pictures in it one by one")
    with open(path, "rb") as file:
        data = file.read()
    try:
        return _encoded(data)
    except ImageError as error:
        raise image_error(f"{os.fspath(path)}: {error.message}") from None


def _from_bytes(data: bytes) -> v1.Image:
    """base64.b64encode returns bytes, so bytes of base64 text are taken like a str of it."""
    decoded = decode_base64(data)
    return _encoded(data if decoded is None else decoded)


def _from_file(file: Any) -> v1.Image:
    """Reads from the start, wherever the file stands: a buffer that was just written stands at its end."""
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)
    data = file.read()
    if isinstance(data, str):
        raise TypeError('the file was opened as text: open it with mode "rb"')
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"read() of the file returned {type(data).__name__}, not bytes")
    return _encoded(bytes(data))


def _encoded(data: bytes) -> v1.Image:
    """Refuses what is known to be no picture; anything else is the server's to judge."""
    description = describe_foreign(data)
    if description:
        raise image_error(description)
    return v1.Image(content=data)


def _read_data_uri(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    if not comma:
        raise ValueError('a data: URI has a comma before its content: "data:image/png;base64,..."')
    content = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return content
    decoded = decode_base64(content)
    if decoded is not None:
        return decoded
    raise image_error("this data: URI holds no JPEG, PNG or WebP in base64")
