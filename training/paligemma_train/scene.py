# SPDX-License-Identifier: Apache-2.0
"""A rendered picture with everything that is true about it, and the geometric kind of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from paligemma_train import backgrounds, shapes
from paligemma_train.domain import COLORS, SHAPES

_HOSTS = ("circle", "square", "ring", "heart", "pentagon")  # shapes with room inside
Box = tuple[float, float, float, float]  # y0 x0 y1 x1, parts of the height and width


@dataclass
class Thing:
    """A shape or an everyday subject. `number` is its value in the scene's map."""

    name: str
    color: str | None
    size: str
    number: int
    box: Box = (0.0, 0.0, 0.0, 0.0)
    area: float = 0.0

    @property
    def centre(self) -> tuple[float, float]:
        """y, x of the box's middle."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def label(self) -> str:
        return f"{self.color} {self.name}" if self.color else self.name


@dataclass
class Scene:
    """`numbers` uint8 [H,W] says which thing is seen at each pixel, 0 for none; `characters` are those of each line."""

    picture: Image.Image
    numbers: np.ndarray
    things: list[Thing]
    place: str | None = None
    lines: list[str] = field(default_factory=list)
    characters: list[list[tuple[str, Box]]] = field(default_factory=list)

    def mask(self, thing: Thing) -> np.ndarray:
        """bool [H,W]: where the thing is seen."""
        return self.numbers == thing.number

    def mask_crop(self, thing: Thing, side: int = 64) -> np.ndarray:
        """uint8 [side,side], 0 to 255: the mask inside the thing's box."""
        height, width = self.numbers.shape
        y0, x0, y1, x1 = thing.box
        rows, columns = slice(round(y0 * height), round(y1 * height)), slice(round(x0 * width), round(x1 * width))
        part = (self.numbers[rows, columns] == thing.number).astype(np.uint8) * 255
        return np.asarray(Image.fromarray(part).resize((side, side), Image.Resampling.BILINEAR))

    def measure(self) -> None:
        """Fills boxes and areas from the map and drops things that are hardly seen."""
        height, width = self.numbers.shape
        kept = []
        for thing in self.things:
            mask = self.mask(thing)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            thing.area = float(mask.mean())
            if rows.size and thing.area > 0.0015:
                thing.box = (int(rows[0]) / height, int(columns[0]) / width, (int(rows[-1]) + 1) / height,
                             (int(columns[-1]) + 1) / width)
                kept.append(thing)
            else:
                self.numbers[mask] = 0
        self.things = kept


@dataclass
class _Disc:
    x: float
    y: float
    radius: float
    shape: str


def canvas_size(rng: Random) -> tuple[int, int]:
    """Width and height: often square, else up to 2 to 1 either way."""
    side = math.exp(rng.uniform(math.log(112), math.log(400)))
    stretch = 1.0 if rng.random() < 0.4 else math.exp(rng.uniform(-0.35, 0.35))
    return round(side * stretch), round(side / stretch)


def geometric(rng: Random, most: int, least: int = 1, background: str | None = None) -> Scene:
    """`least` to `most` shapes, as far as there is room."""
    width, height = canvas_size(rng)
    picture = backgrounds.make(rng, width, height, background)
    numbers = Image.new("L", (width, height))
    scene = Scene(picture, np.empty(0), [])
    add_shapes(rng, scene, numbers, rng.randint(least, most))
    scene.numbers = np.array(numbers)
    scene.measure()
    scene.picture = backgrounds.degrade(rng, picture)
    return scene


def add_shapes(rng: Random, scene: Scene, numbers: Image.Image, count: int,
               taken: list[tuple[float, float, float, float]] | None = None) -> None:
    """Draws shapes into picture and map; `taken` are pixel boxes x0 y0 x1 y1 to stay out of."""
    discs: list[_Disc] = []
    recent = rng.choice(list(COLORS)), rng.choice(SHAPES)
    for _ in range(count):
        size = rng.choice(("small", "large"))
        disc = _find_room(rng, scene.picture.size, size, discs, taken or [])
        if disc is None:
            continue
        color, paint = _visible_color(rng, scene.picture, disc, recent[0])
        disc.shape = recent[1] if rng.random() < 0.15 else rng.choice(SHAPES)
        recent = color, disc.shape
        if any(other.color == color and other.name == disc.shape for other in scene.things) and rng.random() < 0.5:
            disc.shape = rng.choice(SHAPES)
        angle = rng.uniform(-0.6, 0.6) if disc.shape == "heart" else rng.uniform(0, 2 * math.pi)
        thing = Thing(disc.shape, color, size, len(scene.things) + 1)
        centre = disc.x, disc.y
        shapes.draw(ImageDraw.Draw(scene.picture), disc.shape, centre, disc.radius, angle, paint)
        shapes.draw(ImageDraw.Draw(numbers), disc.shape, centre, disc.radius, angle, thing.number)
        scene.things.append(thing)
        discs.append(disc)


def _find_room(rng: Random, canvas: tuple[int, int], size: str, discs: list[_Disc],
               taken: list[tuple[float, float, float, float]]) -> _Disc | None:
    """Usually a free place, sometimes one that touches a shape or lies inside a large one."""
    width, height = canvas
    unit = math.sqrt(width * height)
    for _ in range(25):
        part = rng.uniform(0.075, 0.115) if size == "small" else rng.uniform(0.16, 0.23)
        radius = min(part * unit, 0.47 * min(canvas))
        disc = _Disc(rng.uniform(radius, width - radius), rng.uniform(radius, height - radius), radius, "")
        hosts = [d for d in discs if d.radius > 2 * radius and d.shape in _HOSTS]
        roll = rng.random()
        if hosts and roll < 0.3:
            host = rng.choice(hosts)
            disc.radius = min(radius, 0.42 * host.radius)
            disc.x, disc.y = host.x, host.y
            others = [d for d in discs if d is not host]
        elif discs and roll < 0.3:
            host, angle = rng.choice(discs), rng.uniform(0, 2 * math.pi)
            gap = (host.radius + radius) * 0.85
            disc.x, disc.y = host.x + gap * math.cos(angle), host.y + gap * math.sin(angle)
            others = [d for d in discs if d is not host]
        else:
            others = discs
        inside = radius <= disc.x <= width - radius and radius <= disc.y <= height - radius
        free = all(math.hypot(disc.x - d.x, disc.y - d.y) > 1.02 * (disc.radius + d.radius) for d in others)
        clear = all(not (x0 - radius < disc.x < x1 + radius and y0 - radius < disc.y < y1 + radius)
                    for x0, y0, x1, y1 in taken)
        if inside and free and clear:
            return disc
    return None


def _visible_color(rng: Random, picture: Image.Image, disc: _Disc, recent: str) -> tuple[str, tuple[int, int, int]]:
    """A colour that stands out from what lies behind, as a name and a slightly varied paint."""
    behind = backgrounds.mean_color(
        picture, (disc.x - disc.radius, disc.y - disc.radius, disc.x + disc.radius, disc.y + disc.radius))
    usable = [name for name, value in COLORS.items() if backgrounds.distance(value, behind) > 85]
    name = recent if recent in usable and rng.random() < 0.15 else rng.choice(usable)
    return name, backgrounds.shifted(rng, COLORS[name], 14)
