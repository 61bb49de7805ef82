# SPDX-License-Identifier: Apache-2.0
"""Backgrounds (plain, gradient, striped, noisy, photographic) and what cameras and files do to a picture."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from paligemma_train.domain import RGB

_PHOTOS = Path(__file__).parent / "photos"
_NOISE_SIDE = 640
KINDS = ("plain", "gradient", "stripes", "noise", "photo")


def make(rng: Random, width: int, height: int, kind: str | None = None) -> Image.Image:
    """One of `KINDS`."""
    kind = kind or rng.choices(KINDS, (3, 2, 2, 1, 2))[0]
    if kind == "photo":
        return _photo(rng, width, height)
    base = _tone(rng)
    if kind == "gradient":
        return _gradient(rng, width, height, base)
    picture = Image.new("RGB", (width, height), base)
    if kind == "stripes":
        _stripes(rng, picture, base)
    if kind == "noise":
        picture = add_noise(rng, picture, rng.uniform(10, 28))
    return picture


def degrade(rng: Random, picture: Image.Image) -> Image.Image:
    """Blur, sensor noise and JPEG artefacts, each now and then."""
    if rng.random() < 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.006 * max(picture.size))))
    if rng.random() < 0.3:
        picture = add_noise(rng, picture, rng.uniform(2, 10))
    if rng.random() < 0.25:
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=rng.randint(40, 95))
        picture = Image.open(stream).convert("RGB")
    return picture


def add_noise(rng: Random, picture: Image.Image, deviation: float) -> Image.Image:
    width, height = picture.size
    x, y = rng.randrange(_NOISE_SIDE - width), rng.randrange(_NOISE_SIDE - height)
    noise = _noise()[y:y + height, x:x + width].astype(np.int32)
    pixels = np.asarray(picture, np.int32) + (noise * round(deviation * 8) >> 9)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def mean_color(picture: Image.Image, box: tuple[float, float, float, float]) -> RGB:
    """Of the pixels in x0 y0 x1 y1, clipped to the picture."""
    x0, y0 = max(0, int(box[0])), max(0, int(box[1]))
    x1, y1 = min(picture.width, max(x0 + 1, int(box[2]))), min(picture.height, max(y0 + 1, int(box[3])))
    return picture.resize((1, 1), Image.Resampling.BOX, (x0, y0, x1, y1)).getpixel((0, 0))


def distance(a: RGB, b: RGB) -> float:
    """Between colours, weighted roughly as the eye does; 0 to 441."""
    return (0.9 * (a[0] - b[0]) ** 2 + 1.3 * (a[1] - b[1]) ** 2 + 0.8 * (a[2] - b[2]) ** 2) ** 0.5


def shifted(rng: Random, color: RGB, spread: int) -> RGB:
    return tuple(min(255, max(0, channel + rng.randint(-spread, spread))) for channel in color)  # type: ignore


def _tone(rng: Random) -> RGB:
    """Mostly pale or greyish, so that eight strong colours stand out; now and then anything."""
    if rng.random() < 0.25:
        return rng.randrange(256), rng.randrange(256), rng.randrange(256)
    grey = rng.randrange(40, 235)
    return shifted(rng, (grey, grey, grey), 40)


def _gradient(rng: Random, width: int, height: int, base: RGB) -> Image.Image:
    corners = np.array([base, shifted(rng, base, 70), shifted(rng, base, 70), shifted(rng, base, 70)], np.uint8)
    small = Image.fromarray(corners.reshape(2, 2, 3))
    return small.resize((width, height), Image.Resampling.BILINEAR)


def _stripes(rng: Random, picture: Image.Image, base: RGB) -> None:
    canvas = ImageDraw.Draw(picture)
    width, height = picture.size
    step = rng.uniform(0.05, 0.16) * max(width, height)
    slant = rng.uniform(-1, 1) * height
    line = max(1, round(step * rng.uniform(0.2, 0.6)))
    other = shifted(rng, base, 30)
    upright = rng.random() < 0.5
    position = -max(width, height) * 1.0
    while position < 2 * max(width, height):
        ends = [(position, 0), (position + slant, height)] if upright else [(0, position), (width, position + slant)]
        canvas.line(ends, fill=other, width=line)
        position += step


def _photo(rng: Random, width: int, height: int) -> Image.Image:
    source = rng.choice(_photographs())
    part = rng.uniform(0.35, 1.0)
    w, h = max(8, round(source.width * part)), max(8, round(source.height * part))
    x, y = rng.randint(0, source.width - w), rng.randint(0, source.height - h)
    return source.resize((width, height), Image.Resampling.BILINEAR, (x, y, x + w, y + h))


@functools.cache
def _photographs() -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(_PHOTOS.glob("*.jpg"))]


@functools.cache
def _noise() -> np.ndarray:
    """int8 [640,640,3], normal with a deviation of 64."""
    generator = np.random.default_rng(7)
    values = generator.normal(0, 64, (_NOISE_SIDE, _NOISE_SIDE, 3))
    return np.clip(values, -127, 127).astype(np.int8)
