# SPDX-License-Identifier: Apache-2.0
"""Small drawn scenes of everyday life: one subject on a beach, meadow, road, in snow or in water."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from paligemma_train import backgrounds
from paligemma_train.domain import PLACES, RGB, SUBJECTS
from paligemma_train.scene import Scene, Thing, canvas_size

_GROUNDS: dict[str, RGB] = {"beach": (232, 208, 145), "meadow": (95, 165, 70), "road": (105, 105, 110),
                            "snow": (238, 242, 248), "water": (45, 115, 185)}
_COATS: dict[str, list[RGB]] = {
    "cow": [(245, 240, 235), (130, 80, 45), (60, 50, 45), (180, 120, 70)],
    "dog": [(150, 100, 60), (70, 55, 45), (215, 180, 120), (235, 230, 225)],
    "boat": [(190, 40, 40), (120, 75, 40), (30, 70, 150), (240, 240, 235)],
    "car": [(210, 35, 40), (40, 80, 200), (235, 200, 50), (60, 150, 80), (230, 230, 230)],
    "tree": [(40, 115, 50), (70, 140, 50), (30, 90, 60), (120, 140, 40)],
    "house": [(215, 180, 140), (200, 90, 70), (240, 235, 220), (150, 170, 190)],
    "person": [(200, 50, 60), (50, 90, 190), (230, 180, 60), (80, 150, 90), (150, 80, 160)],
}
_FACES = {"boat": 1.3, "car": 1.9, "cow": 1.5, "dog": 1.3, "tree": 0.75, "house": 1.1, "person": 0.45}  # width / height


class _Brush:
    """Draws in the unit square of the subject (y downwards), into the picture and into the map at once."""

    def __init__(self, picture: Image.Image, numbers: Image.Image, box: tuple[float, float, float, float],
                 mirrored: bool):
        self._canvases = ImageDraw.Draw(picture), ImageDraw.Draw(numbers)
        self._box, self._mirrored = box, mirrored

    def _at(self, x: float, y: float) -> tuple[float, float]:
        x0, y0, x1, y1 = self._box
        x = 1 - x if self._mirrored else x
        return x0 + x * (x1 - x0), y0 + y * (y1 - y0)

    def polygon(self, points: list[tuple[float, float]], color: RGB) -> None:
        corners = [self._at(x, y) for x, y in points]
        self._canvases[0].polygon(corners, fill=color)
        self._canvases[1].polygon(corners, fill=1)

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, color: RGB) -> None:
        a, b = self._at(x0, y0), self._at(x1, y1)
        box = (min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]))
        self._canvases[0].ellipse(box, fill=color)
        self._canvases[1].ellipse(box, fill=1)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, color: RGB) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color)


def scene(rng: Random, subject: str | None = None, place: str | None = None) -> Scene:
    subject, place = subject or rng.choice(SUBJECTS), place or rng.choice(PLACES)
    width, height = canvas_size(rng)
    picture = Image.new("RGB", (width, height))
    numbers = Image.new("L", (width, height))
    horizon = rng.uniform(0.25, 0.6)
    _sky(rng, picture, horizon)
    _GROUND_PAINTERS[place](rng, picture, round(horizon * height))
    box = _subject_box(rng, subject, width, height, horizon)
    brush = _Brush(picture, numbers, box, rng.random() < 0.5)
    _PAINTERS[subject](rng, brush, backgrounds.shifted(rng, rng.choice(_COATS[subject]), 18))
    if place == "water":
        _waterline(rng, picture, numbers, box)
    size = "large" if (box[3] - box[1]) > 0.45 * height else "small"
    result = Scene(picture, np.array(numbers), [Thing(subject, None, size, 1)], place)
    result.measure()
    result.picture = backgrounds.degrade(rng, picture)
    return result


def _subject_box(rng: Random, subject: str, width: int, height: int,
                 horizon: float) -> tuple[float, float, float, float]:
    """x0 y0 x1 y1 in pixels; the feet stand below the horizon."""
    tall = rng.uniform(0.3, 0.65) * height
    wide = tall * _FACES[subject] * rng.uniform(0.85, 1.15)
    if wide > 0.85 * width:
        tall, wide = tall * 0.85 * width / wide, 0.85 * width
    foot = rng.uniform(max(horizon + 0.08, tall / height), 0.97) * height
    left = rng.uniform(0, width - wide)
    return left, foot - tall, left + wide, foot


def _sky(rng: Random, picture: Image.Image, horizon: float) -> None:
    canvas = ImageDraw.Draw(picture)
    width, height = picture.size
    sky = backgrounds.shifted(rng, rng.choice([(140, 190, 235), (175, 205, 230), (200, 210, 215), (245, 190, 150)]), 20)
    canvas.rectangle((0, 0, width, height), fill=sky)
    if rng.random() < 0.4:
        x, y, r = rng.uniform(0, width), rng.uniform(0, horizon * height * 0.7), rng.uniform(0.03, 0.08) * width
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=(255, 235, 150))
    for _ in range(rng.choice((0, 0, 1, 2))):
        x, y, r = rng.uniform(0, width), rng.uniform(0, horizon * height * 0.7), rng.uniform(0.04, 0.09) * width
        for k in range(3):
            canvas.ellipse((x + (k - 1.5) * r, y - r * 0.5, x + (k + 0.5) * r, y + r * 0.5), fill=(245, 247, 250))


def _ground(rng: Random, picture: Image.Image, top: int, place: str) -> tuple[ImageDraw.ImageDraw, RGB]:
    color = backgrounds.shifted(rng, _GROUNDS[place], 16)
    canvas = ImageDraw.Draw(picture)
    canvas.rectangle((0, top, picture.width, picture.height), fill=color)
    return canvas, color


def _specks(rng: Random, canvas: ImageDraw.ImageDraw, picture: Image.Image, top: int, color: RGB, count: int) -> None:
    size = max(1.0, 0.01 * picture.width)
    for _ in range(count):
        x, y = rng.uniform(0, picture.width), rng.uniform(top, picture.height)
        canvas.ellipse((x, y, x + size, y + size), fill=backgrounds.shifted(rng, color, 25))


def _beach(rng: Random, picture: Image.Image, top: int) -> None:
    canvas, color = _ground(rng, picture, top, "beach")
    sea = top + round(rng.uniform(0.04, 0.09) * picture.height)
    canvas.rectangle((0, top, picture.width, sea), fill=backgrounds.shifted(rng, (50, 120, 190), 15))
    canvas.rectangle((0, sea, picture.width, sea + max(1, round(0.012 * picture.height))), fill=(240, 245, 245))
    _specks(rng, canvas, picture, sea + 3, color, 25)


def _meadow(rng: Random, picture: Image.Image, top: int) -> None:
    canvas, color = _ground(rng, picture, top, "meadow")
    _specks(rng, canvas, picture, top, color, 30)
    blade = 0.03 * picture.height
    for _ in range(25):
        x, y = rng.uniform(0, picture.width), rng.uniform(top, picture.height)
        canvas.line((x, y, x + rng.uniform(-2, 2), y - blade), fill=backgrounds.shifted(rng, (70, 140, 50), 20))


def _road(rng: Random, picture: Image.Image, top: int) -> None:
    canvas, _ = _ground(rng, picture, top, "road")
    width, height = picture.size
    verge = rng.choice([(95, 160, 75), (170, 150, 110)])
    canvas.rectangle((0, top, width, top + 0.05 * height), fill=verge)
    y, thick = top + rng.uniform(0.3, 0.7) * (height - top), 0.02 * height
    dash, x = rng.uniform(0.08, 0.16) * width, -rng.uniform(0, 0.1) * width
    while x < width:
        canvas.rectangle((x, y, x + dash, y + thick), fill=(240, 240, 235))
        x += 2 * dash


def _snow(rng: Random, picture: Image.Image, top: int) -> None:
    canvas, _ = _ground(rng, picture, top, "snow")
    for _ in range(3):
        x, w = rng.uniform(-0.2, 1) * picture.width, rng.uniform(0.3, 0.7) * picture.width
        y = rng.uniform(top, picture.height)
        canvas.ellipse((x, y, x + w, y + 0.1 * picture.height), fill=backgrounds.shifted(rng, (222, 230, 242), 6))
    flake = max(1.0, 0.012 * picture.width)
    for _ in range(rng.choice((0, 20, 30))):
        x, y = rng.uniform(0, picture.width), rng.uniform(0, picture.height)
        canvas.ellipse((x, y, x + flake, y + flake), fill=(255, 255, 255))


def _water(rng: Random, picture: Image.Image, top: int) -> None:
    canvas, color = _ground(rng, picture, top, "water")
    light: RGB = tuple(min(255, channel + 45) for channel in color)  # type: ignore
    for _ in range(14):
        x, y, w = rng.uniform(-0.1, 1) * picture.width, rng.uniform(top, picture.height), rng.uniform(0.05, 0.14)
        canvas.arc((x, y, x + w * picture.width, y + 0.04 * picture.height), 200, 340, fill=light, width=2)


def _waterline(rng: Random, picture: Image.Image, numbers: Image.Image,
               box: tuple[float, float, float, float]) -> None:
    """Covers the lowest part of the subject with water."""
    y = box[3] - rng.uniform(0.1, 0.2) * (box[3] - box[1])
    color = picture.getpixel((0, min(picture.height - 1, int(box[3]))))
    area = (box[0] - 2, y, box[2] + 2, box[3] + 2)
    ImageDraw.Draw(picture).rectangle(area, fill=color)
    ImageDraw.Draw(numbers).rectangle(area, fill=0)


def _dark(color: RGB, factor: float = 0.7) -> RGB:
    return tuple(int(channel * factor) for channel in color)  # type: ignore


def _legs(rng: Random, brush: _Brush, places: list[float], top: float, width: float, color: RGB) -> None:
    for x in places:
        lean = rng.uniform(-0.04, 0.04)
        brush.polygon([(x, top), (x + width, top), (x + width + lean, 1), (x + lean, 1)], color)


def _cow(rng: Random, brush: _Brush, coat: RGB) -> None:
    _legs(rng, brush, [0.14, 0.26, 0.58, 0.7], 0.55, 0.07, _dark(coat, 0.85))
    brush.ellipse(0.08, 0.2, 0.82, 0.72, coat)
    patch = (40, 35, 30) if sum(coat) > 380 else (240, 235, 230)
    for _ in range(rng.randint(2, 4)):
        x, y = rng.uniform(0.18, 0.58), rng.uniform(0.28, 0.5)
        brush.ellipse(x, y, x + rng.uniform(0.1, 0.18), y + rng.uniform(0.1, 0.18), patch)
    drop = rng.uniform(0, 0.12)
    brush.polygon([(0.68, 0.28), (0.8, 0.14 + drop), (0.86, 0.4 + drop), (0.74, 0.5)], coat)
    brush.ellipse(0.76, 0.1 + drop, 0.98, 0.42 + drop, coat)
    brush.ellipse(0.88, 0.26 + drop, 1.0, 0.43 + drop, (235, 180, 170))
    brush.polygon([(0.8, 0.13 + drop), (0.77, 0.0 + drop), (0.84, 0.11 + drop)], (235, 225, 190))
    brush.polygon([(0.9, 0.13 + drop), (0.95, 0.0 + drop), (0.95, 0.14 + drop)], (235, 225, 190))
    brush.ellipse(0.86, 0.19 + drop, 0.89, 0.23 + drop, (20, 20, 20))
    brush.polygon([(0.1, 0.32), (0.02, 0.5), (0.03, 0.66), (0.06, 0.5), (0.13, 0.4)], _dark(coat))


def _dog(rng: Random, brush: _Brush, coat: RGB) -> None:
    _legs(rng, brush, [0.2, 0.3, 0.6, 0.69], 0.6, 0.065, _dark(coat, 0.85))
    brush.ellipse(0.15, 0.42, 0.78, 0.74, coat)
    tip = rng.uniform(0.05, 0.35)
    brush.polygon([(0.18, 0.5), (0.0, tip), (0.05, tip + 0.02), (0.22, 0.58)], coat)
    brush.polygon([(0.62, 0.5), (0.68, 0.2), (0.84, 0.25), (0.78, 0.6)], coat)
    brush.ellipse(0.64, 0.06, 0.9, 0.38, coat)
    brush.polygon([(0.82, 0.16), (1.0, 0.24), (1.0, 0.33), (0.82, 0.36)], coat)
    brush.ellipse(0.95, 0.22, 1.0, 0.29, (20, 20, 20))
    brush.polygon([(0.66, 0.08), (0.58, 0.28), (0.66, 0.36), (0.73, 0.14)], _dark(coat, 0.6))
    brush.ellipse(0.8, 0.15, 0.83, 0.19, (15, 15, 15))


def _boat(rng: Random, brush: _Brush, paint: RGB) -> None:
    brush.polygon([(0.0, 0.68), (1.0, 0.68), (0.84, 1.0), (0.16, 1.0)], paint)
    rim = _dark(paint, 1.2 if sum(paint) < 300 else 0.7)
    brush.polygon([(0.01, 0.68), (0.99, 0.68), (0.97, 0.73), (0.03, 0.73)], rim)
    mast = rng.uniform(0.42, 0.52)
    brush.rectangle(mast, 0.0, mast + 0.03, 0.7, (110, 75, 45))
    sail = rng.choice([(250, 250, 245), (240, 225, 190), (230, 120, 90)])
    brush.polygon([(mast + 0.04, 0.05), (mast + 0.04, 0.62), (0.95, 0.62)], sail)
    if rng.random() < 0.7:
        brush.polygon([(mast - 0.01, 0.12), (mast - 0.01, 0.62), (0.1, 0.62)], sail)


def _car(rng: Random, brush: _Brush, paint: RGB) -> None:
    roof = rng.uniform(0.0, 0.12)
    brush.polygon([(0.2, 0.48), (0.32, roof), (0.68, roof), (0.84, 0.48)], paint)
    glass = (190, 220, 235)
    brush.polygon([(0.26, 0.46), (0.35, roof + 0.08), (0.48, roof + 0.08), (0.48, 0.46)], glass)
    brush.polygon([(0.52, 0.46), (0.52, roof + 0.08), (0.65, roof + 0.08), (0.76, 0.46)], glass)
    brush.polygon([(0.02, 0.5), (0.1, 0.44), (0.9, 0.46), (1.0, 0.55), (1.0, 0.82), (0.0, 0.82)], paint)
    for x in (0.14, 0.66):
        brush.ellipse(x, 0.62, x + 0.2, 1.0, (30, 30, 32))
        brush.ellipse(x + 0.06, 0.74, x + 0.14, 0.89, (180, 180, 185))
    brush.ellipse(0.94, 0.55, 1.0, 0.64, (250, 240, 170))


def _tree(rng: Random, brush: _Brush, leaves: RGB) -> None:
    brush.rectangle(0.43, 0.5, 0.57, 1.0, (105, 72, 45))
    if rng.random() < 0.4:
        for k in range(3):
            y = 0.02 + 0.2 * k
            brush.polygon([(0.5, y), (0.86 + 0.06 * k, y + 0.34), (0.14 - 0.06 * k, y + 0.34)], leaves)
        return
    brush.ellipse(0.12, 0.0, 0.88, 0.62, leaves)
    brush.ellipse(0.0, 0.2, 0.5, 0.68, leaves)
    brush.ellipse(0.5, 0.2, 1.0, 0.68, leaves)
    for _ in range(4):
        x, y = rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.5)
        brush.ellipse(x, y, x + 0.12, y + 0.09, _dark(leaves, 0.8))


def _house(rng: Random, brush: _Brush, wall: RGB) -> None:
    eaves = rng.uniform(0.32, 0.45)
    brush.rectangle(0.08, eaves, 0.92, 1.0, wall)
    if rng.random() < 0.5:
        brush.rectangle(0.68, 0.05, 0.78, eaves, (120, 70, 60))
    tiles = rng.choice([(165, 60, 50), (90, 80, 85), (120, 75, 50)])
    brush.polygon([(0.0, eaves + 0.02), (0.5, 0.0), (1.0, eaves + 0.02)], tiles)
    door = rng.choice([0.18, 0.42, 0.64])
    brush.rectangle(door, 0.64, door + 0.17, 1.0, (95, 60, 40))
    for x in (0.18, 0.42, 0.64):
        if x != door:
            brush.rectangle(x, 0.58, x + 0.17, 0.76, (195, 220, 240))


def _person(rng: Random, brush: _Brush, shirt: RGB) -> None:
    trousers = rng.choice([(50, 60, 110), (60, 60, 60), (120, 95, 70)])
    skin = rng.choice([(240, 200, 170), (190, 135, 95), (110, 75, 55)])
    step = rng.uniform(0.0, 0.14)
    brush.polygon([(0.28, 0.55), (0.5, 0.55), (0.42 - step, 1.0), (0.2 - step, 1.0)], trousers)
    brush.polygon([(0.5, 0.55), (0.72, 0.55), (0.8 + step, 1.0), (0.58 + step, 1.0)], trousers)
    lift = rng.uniform(0.0, 0.3)
    brush.polygon([(0.28, 0.22), (0.3, 0.34), (0.1, 0.6 - lift), (0.0, 0.55 - lift)], _dark(shirt, 0.85))
    brush.polygon([(0.72, 0.22), (0.7, 0.34), (0.9, 0.6), (1.0, 0.55)], _dark(shirt, 0.85))
    brush.polygon([(0.26, 0.2), (0.74, 0.2), (0.72, 0.58), (0.28, 0.58)], shirt)
    brush.ellipse(0.32, 0.0, 0.68, 0.2, skin)
    brush.polygon([(0.32, 0.08), (0.38, 0.0), (0.62, 0.0), (0.68, 0.08), (0.5, 0.05)], (60, 40, 25))


_GROUND_PAINTERS: dict[str, Callable[[Random, Image.Image, int], None]] = {
    "beach": _beach, "meadow": _meadow, "road": _road, "snow": _snow, "water": _water}
_PAINTERS: dict[str, Callable[[Random, _Brush, RGB], None]] = {
    "cow": _cow, "dog": _dog, "boat": _boat, "car": _car, "tree": _tree, "house": _house, "person": _person}

