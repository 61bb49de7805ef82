# SPDX-License-Identifier: Apache-2.0
"""Masks as NumPy arrays, from any encoding that holds pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from paligemma_serving import v1


def mask_array(mask: v1.Mask, threshold: float = 0.5) -> np.ndarray:
    """The mask over its region, as a bool array of shape (region height, region width).

    `threshold` matters to SOFT masks alone; the server applied it to the others. CODES hold no pixels. The region of a
    picture that the client had to resize has more pixels than the mask, which is then enlarged.
    """
    height, width = mask.region.y_max - mask.region.y_min, mask.region.x_max - mask.region.x_min
    encoding = mask.WhichOneof("encoding")
    if encoding == "png":
        with Image.open(io.BytesIO(mask.png)) as picture:
            array = np.asarray(picture.convert("L")) > 127
    elif encoding == "rle":
        array = _decode_rle(mask.rle)
    elif encoding == "polygon":
        array = _fill(mask, width, height)
    elif encoding == "soft":
        soft = Image.fromarray(soft_probabilities(mask)).resize(
            (max(width, 1), max(height, 1)), Image.Resampling.BILINEAR
        )
        array = np.asarray(soft)[:height, :width] > threshold
    else:
        raise ValueError(
            f"a mask as {encoding or 'nothing'} holds no pixels; ask for PNG, RLE, POLYGON or SOFT"
        )
    return array if array.shape == (height, width) else _enlarged(array, height, width)


def _enlarged(array: np.ndarray, height: int, width: int) -> np.ndarray:
    if array.size == 0 or height <= 0 or width <= 0:
        return np.zeros((max(height, 0), max(width, 0)), dtype=bool)
    return array[np.arange(height) * array.shape[0] // height][:, np.arange(width) * array.shape[1] // width]


def mask_in_image(mask: v1.Mask, width: int, height: int, threshold: float = 0.5) -> np.ndarray:
    """The mask in an image of this size (see GenerationInfo.images), as a (height, width) bool array."""
    region = mask.region
    if region.x_min < 0 or region.y_min < 0 or region.x_max > width or region.y_max > height:
        raise ValueError(f"the region does not lie in an image of {width} x {height}")
    full = np.zeros((height, width), dtype=bool)
    full[region.y_min : region.y_max, region.x_min : region.x_max] = mask_array(mask, threshold)
    return full


def soft_probabilities(mask: v1.Mask) -> np.ndarray:
    """The decoder's own grid of a SOFT mask, as float32 in [0, 1]."""
    soft = mask.soft
    grid = np.frombuffer(soft.probabilities, dtype=np.uint8).reshape(soft.height, soft.width)
    return grid.astype(np.float32) / np.float32(255)


def _decode_rle(rle: v1.RleMask) -> np.ndarray:
    """COCO's compressed runs: 5 bits a character; the fourth and later are changes to the one before last."""
    height, width = rle.size
    runs: list[int] = []
    value, shift = 0, 0
    for character in rle.counts.encode("ascii"):
        bits = character - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, shift = 0, 0
    if shift or any(run < 0 for run in runs) or sum(runs) != height * width:
        raise ValueError("the run-length encoding does not fill its mask")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def _fill(mask: v1.Mask, width: int, height: int) -> np.ndarray:
    """Returns the rings, filled by the even-odd rule."""
    total = Image.new("1", (max(width, 1), max(height, 1)))
    for ring in mask.polygon.rings:
        points = [
            (x - mask.region.x_min, y - mask.region.y_min)
            for x, y in zip(ring.coordinates[0::2], ring.coordinates[1::2])  # noqa: B905
        ]
        if len(points) < 3:
            continue
        one = Image.new("1", total.size)
        ImageDraw.Draw(one).polygon(points, fill=1, outline=1)
        total = ImageChops.logical_xor(total, one)
    return np.asarray(total)[:height, :width]
