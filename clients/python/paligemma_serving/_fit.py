# SPDX-License-Identifier: Apache-2.0
"""Makes pictures above the server's limits fit, and puts what comes back into the pixels of the full pictures.

A picture that is too large is resized to the square that the model sees, by the rule that GetModel tells. The server
then computes the same tokens, hence the same text and normalized boxes, as from the full picture.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, NamedTuple

from PIL import Image

from paligemma_serving import v1
from paligemma_serving._formats import picture_size
from paligemma_serving._pixels import raw_image
from paligemma_serving._resize import can_resize, decode, resize
from paligemma_serving.errors import image_error

# A picture within both is sent without asking the server what it takes.
SURE_BYTES, SURE_PIXELS = 1 << 20, 1_000_000
# Larger pictures are not decoded here either, so that a program that passes on what strangers send has a bound of
# memory.
MAX_PIXELS = 1 << 28
_PIXEL_MASKS = (v1.MASK_FORMAT_UNSPECIFIED, v1.MASK_FORMAT_PNG, v1.MASK_FORMAT_RLE, v1.MASK_FORMAT_POLYGON)


class Resized(NamedTuple):
    """Holds what the server does not know about a picture that was resized here: its upright size and its kind."""

    index: int
    sent: int  # pixels of each side that the server sees
    width: int
    height: int
    orientation: int
    mime_type: str


class Fitted(NamedTuple):
    """Holds a request within the limits, the pictures that were resized for it, and a sentence for the caller."""

    request: Any
    resized: list[Resized]
    notice: str


def may_exceed(request: Any) -> bool:
    """Returns true if a picture is so large that the server's limits matter."""
    for image in _images(request):
        width, height = _size_of(image)
        if width * height > SURE_PIXELS or (width and _bytes_of(image) > SURE_BYTES):
            return True
    return False


def fit(request: Any, model: v1.Model) -> Fitted:
    """Replaces the pictures that are too large for this server. The request itself is not changed."""
    limits = model.limits
    too_large = {index: image for index, image in enumerate(_images(request)) if _exceeds(image, limits)}
    if not too_large or not can_resize(model):
        return Fitted(request, [], "")
    replaced: dict[int, v1.Image] = {}
    resized: list[Resized] = []
    notice = ""
    for index, image in too_large.items():
        width, height = _size_of(image)
        what = f"a picture of {width} x {height} pixels exceeds what the server takes ({_limits_text(limits)})"
        packed = _packed(request, image, limits)
        if packed is not None:
            replaced[index] = packed
            notice = notice or f"{what}: it was packed into a PNG"
            continue
        if width * height > MAX_PIXELS:
            raise image_error(
                f"the image is too large: {width} x {height}, limit {MAX_PIXELS} pixels",
                "IMAGE_TOO_LARGE",
                value=f"{width} x {height}",
                limit=str(MAX_PIXELS),
            )
        upright = decode(image)
        replaced[index] = raw_image(resize(upright.picture, model))
        resized.append(Resized(index, model.image_size, *upright.picture.size, upright.orientation, upright.mime_type))
        size = f"{model.image_size} x {model.image_size}"
        notice = (
            f"{what}: it was resized to the {size} pixels that the model sees. Text and normalized boxes do not change "
            f"by this; pixel boxes are those of the full picture, and masks have the sent size, {size}"
        )
    return Fitted(_with_images(request, replaced), resized, notice)


def restore(response: Any, resized: Iterable[Resized]) -> Any:
    """Puts a response, or the response in a stream's result, into the pixels of the full pictures, in place."""
    for one in resized:
        if hasattr(response, "info") and one.index < len(response.info.images):
            info = response.info.images[one.index]
            info.width, info.height = one.width, one.height
            info.exif_orientation, info.mime_type = one.orientation, one.mime_type
        for found in _objects(response):
            restore_object(found, one)
        for region in getattr(response, "regions", ()):
            if region.HasField("pixel_box"):
                _set_pixels(region, one)
    return response


def restore_object(found: v1.DetectedObject, one: Resized) -> None:
    """Puts the pixel box and the mask's region into the full picture, if the object lies in it. The mask keeps its own
    pixels; a polygon grows with the picture."""
    if found.image_index != one.index:
        return
    before = v1.PixelBox()
    before.CopyFrom(found.pixel_box)
    _set_pixels(found, one)
    if not found.HasField("mask"):
        return
    mask = found.mask
    if mask.WhichOneof("encoding") == "polygon":
        for ring in mask.polygon.rings:
            ring.coordinates[0::2] = [x * one.width / one.sent for x in ring.coordinates[0::2]]
            ring.coordinates[1::2] = [y * one.height / one.sent for y in ring.coordinates[1::2]]
    if mask.region == before:
        mask.region.CopyFrom(found.pixel_box)
    else:
        mask.region.CopyFrom(v1.PixelBox(x_max=one.width, y_max=one.height))


def _set_pixels(found: Any, one: Resized) -> None:
    """Computes the pixel box as the server does: each normalized edge times the size, rounded half to even."""
    box, pixels = found.normalized_box, found.pixel_box
    pixels.x_min, pixels.x_max = round(box.x_min * one.width), round(box.x_max * one.width)
    pixels.y_min, pixels.y_max = round(box.y_min * one.height), round(box.y_max * one.height)


def _objects(response: Any) -> Iterable[v1.DetectedObject]:
    yield from getattr(response, "objects", ())
    for candidate in getattr(response, "candidates", ()):
        yield from candidate.objects


def _images(request: Any) -> list[v1.Image]:
    if hasattr(request, "images"):
        return list(request.images)
    return [request.image] if hasattr(request, "image") else []


def _with_images(request: Any, replaced: dict[int, v1.Image]) -> Any:
    """Returns a copy of the request in which some pictures are replaced. The replaced pictures are never copied."""
    copy = type(request)()
    for field, value in request.ListFields():
        if field.name == "images":
            copy.images.extend(replaced.get(index, image) for index, image in enumerate(value))
        elif field.name == "image":
            copy.image.CopyFrom(replaced[0])
        elif hasattr(value, "CopyFrom"):
            getattr(copy, field.name).CopyFrom(value)
        elif hasattr(value, "extend"):
            getattr(copy, field.name).extend(value)
        else:
            setattr(copy, field.name, value)
    return copy


def _bytes_of(image: v1.Image) -> int:
    return len(image.raw.data) if image.WhichOneof("source") == "raw" else len(image.content)


def _size_of(image: v1.Image) -> tuple[int, int]:
    """Returns width and height as stored, or zeros where the bytes are no picture."""
    if image.WhichOneof("source") == "raw":
        return image.raw.width, image.raw.height
    return picture_size(image.content)


def _exceeds(image: v1.Image, limits: v1.ModelLimits) -> bool:
    """Returns true if this is a picture that the server would refuse. A limit of 0 means that the server told none."""
    width, height = _size_of(image)
    if not width or not height:
        return False
    return (
        0 < limits.max_image_bytes < _bytes_of(image)
        or 0 < limits.max_image_pixels < width * height
        or 0 < limits.max_image_side < max(width, height)
    )


def _limits_text(limits: v1.ModelLimits) -> str:
    return f"{limits.max_image_bytes} bytes, {limits.max_image_pixels} pixels"


def _packed(request: Any, image: v1.Image, limits: v1.ModelLimits) -> v1.Image | None:
    """Returns the pixels as PNG. Serves pictures that have too many bytes only, since a smaller picture would
    make the masks coarser."""
    if not isinstance(request, v1.SegmentRequest) or request.mask_format not in _PIXEL_MASKS:
        return None
    if image.WhichOneof("source") != "raw":
        return None
    raw = image.raw
    mode = "L" if raw.pixel_format == v1.PIXEL_FORMAT_GRAY8 else "RGB"
    out = io.BytesIO()
    picture = Image.frombytes(mode, (raw.width, raw.height), raw.data)
    picture.save(out, format="PNG", compress_level=1)
    packed = v1.Image(content=out.getvalue())
    return None if _exceeds(packed, limits) else packed
