# SPDX-License-Identifier: Apache-2.0
"""Scenes with rendered words and numbers, and where every character stands."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from paligemma_train import backgrounds
from paligemma_train.domain import COLORS, DIGITS, LOWER, RGB, UPPER
from paligemma_train.scene import Scene, add_shapes, canvas_size

# Pillow carries Aileron (CC0) inside; DejaVu (Bitstream Vera licence) comes with Debian's fonts-dejavu-core.
_DEJAVU = Path("/usr/share/fonts/truetype/dejavu")
_FILES = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono.ttf")
_PARTS = 8  # taken of a page
_SHARPEST = 75  # pixels that a part has at least, where the page has more
_NARROWEST, _LOWEST = 0.055, 0.085  # of the picture, so that a character survives the squash to the model's size


def word(rng: Random, longest: int = 8) -> str:
    """2 to `longest` letters of one case, or digits; not from a list."""
    alphabet = rng.choices((UPPER, LOWER, DIGITS), (5, 2, 3))[0]
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(2, longest)))


def scene(rng: Random, most_lines: int = 3, longest: int = 8) -> Scene:
    width, height = canvas_size(rng)
    picture = backgrounds.make(rng, width, height)
    numbers = Image.new("L", (width, height))
    result = Scene(picture, np.empty(0), [])
    lines = rng.randint(1, most_lines)
    top = rng.uniform(0.03, 0.3) * height
    taken = []
    for index in range(lines):
        room = (0.97 * height - top) / (lines - index)
        taken.append(_write_line(rng, result, word(rng, longest), top, room))
        top = taken[-1][3] + rng.uniform(0.01, 0.06) * height
    if rng.random() < 0.3:
        add_shapes(rng, result, numbers, 1, taken)
    result.numbers = np.array(numbers)
    result.measure()
    result.picture = backgrounds.degrade(rng, picture)
    return result


def page(rng: Random) -> Scene:
    """Nothing but lines of words from top to bottom, for the tower: many more characters than in a scene that is asked
    about, in the same faces and sizes. Its `lines` stay empty."""
    width, height = canvas_size(rng)
    picture = backgrounds.make(rng, width, height)
    result = Scene(picture, np.zeros((height, width), np.uint8), [])
    top = rng.uniform(0, 0.08) * height
    while top < (1 - _LOWEST) * height:
        room = min(height - top, rng.uniform(1.25 * _LOWEST, 0.3) * height)
        narrow = max(0.7 * room, _NARROWEST * width)
        words = [word(rng)]
        while rng.random() < 0.85 and sum(map(len, words)) * narrow < 0.8 * width:
            words.append(word(rng))
        text = " ".join(words)[:int(0.94 / _NARROWEST)].strip()
        top = _write_line(rng, result, text, top, room)[3] + rng.uniform(0, 0.03) * height
    result.lines = []
    result.picture = backgrounds.degrade(rng, result.picture)
    return result


def pages(rng: Random, count: int) -> list[Scene]:
    """`count` parts of pages, in which characters are as large as in scenes: rendering a page costs as much as learning
    from it, a part of it next to nothing, and every part lies otherwise on the patches. Characters that an edge cuts
    have no label."""
    found = []
    for number in range(count):
        if number % _PARTS == 0:
            whole = page(rng)
            width, height = whole.picture.size
        part = rng.uniform(max(0.4, min(0.9, _SHARPEST / min(width, height))), 1)
        high, wide = (min(1, part * math.exp(rng.uniform(-0.2, 0.2))) for _ in range(2))
        top, left = rng.uniform(0, 1 - high), rng.uniform(0, 1 - wide)
        characters = [[(character, ((y0 - top) / high, (x0 - left) / wide, (y1 - top) / high, (x1 - left) / wide))
                       for character, (y0, x0, y1, x1) in line] for line in whole.characters]
        inside = [[(character, box) for character, box in line if min(box) > -0.01 and max(box) < 1.01]
                  for line in characters]
        picture = whole.picture.crop(
            (round(left * width), round(top * height), round((left + wide) * width), round((top + high) * height)))
        found.append(Scene(picture, np.zeros(picture.size[::-1], np.uint8), [], characters=inside))
    return found


def _write_line(rng: Random, scene: Scene, text: str, top: float,
                room: float) -> tuple[float, float, float, float]:
    """Writes below `top` in at most `room` pixels of height; returns the pixel box x0 y0 x1 y1."""
    width, height = scene.picture.size
    face = rng.randrange(len(_faces()))
    size, glyphs = _fit(rng, text, face, 0.94 * width, room, height)
    font = _font(face, size)
    total = sum(glyphs)
    x, y = rng.uniform(0.02 * width, max(0.02 * width, 0.98 * width - total)), top
    ascent, descent = font.getmetrics()
    box = (x, y, x + total, y + ascent + descent)
    canvas = ImageDraw.Draw(scene.picture)
    color = _ink(rng, canvas, scene.picture, box)
    scene.characters.append([])
    for character, advance in zip(text, glyphs, strict=True):
        canvas.text((x, y), character, fill=color, font=font)
        left, upper, right, lower = font.getbbox(character)
        if character != " ":
            scene.characters[-1].append((character, ((y + upper) / height, (x + left) / width, (y + lower) / height,
                                                     (x + right) / width)))
        x += advance
    scene.lines.append(text)
    return box


def _fit(rng: Random, text: str, face: int, space: float, room: float, height: int) -> tuple[int, list[float]]:
    """A font size and the advance of each character; short words may be spaced out."""
    wanted = rng.uniform(_LOWEST, 0.24) * height
    size = max(8, round(min(max(wanted, 1.4 * _NARROWEST * space), room / 1.25)))
    advances = [_font(face, size).getlength(character) for character in text]
    while sum(advances) > space and size > 8:
        size = max(8, int(size * min(0.95, space / sum(advances))))
        advances = [_font(face, size).getlength(character) for character in text]
    spread = min(rng.uniform(0, 0.12) * size, max(0.0, (space - sum(advances)) / len(text)))
    return size, [advance + spread for advance in advances]


def _ink(rng: Random, canvas: ImageDraw.ImageDraw, picture: Image.Image,
         box: tuple[float, float, float, float]) -> RGB:
    """A colour that can be read where the line goes; busy places get a plate first."""
    behind = backgrounds.mean_color(picture, box)
    part = np.asarray(picture.crop(tuple(map(round, box))).convert("L"), np.float32)
    if part.size and part.std() > 25:
        grey = rng.choice((rng.randrange(0, 60), rng.randrange(190, 256)))
        behind = backgrounds.shifted(rng, (grey, grey, grey), 15)
        canvas.rectangle(box, fill=behind)
    dark = sum(behind) < 384
    colors = [*COLORS.values(), (10, 10, 10), (250, 250, 250), (250, 250, 250) if dark else (10, 10, 10)]
    usable = [color for color in colors if backgrounds.distance(color, behind) > 170]
    return rng.choice(usable or [(250, 250, 250) if dark else (10, 10, 10)])


@functools.cache
def _faces() -> list[Path | None]:
    return [None] + [_DEJAVU / name for name in _FILES if (_DEJAVU / name).exists()]


@functools.lru_cache(512)
def _font(face: int, size: int) -> ImageFont.FreeTypeFont:
    path = _faces()[face]
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)


