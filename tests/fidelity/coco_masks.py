# SPDX-License-Identifier: Apache-2.0
"""Masks for the comparison with COCO's encoder: blobs, stripes, patches, rectangles, single pixels, empty and full.

Each has the 64 x 64 pixels of the mask decoder, which a box of 64 x 64 shows unchanged, and a place in an image. They
are drawn from whole numbers alone, so that they are the same with every version of NumPy. `coco_counts.txt` holds what
pycocotools 2.0.11 makes of them, for each the mask over its box and the one over its image, a line each; it is to be
made again (`python tests/fidelity/coco_masks.py`, where pycocotools is installed) only when this file changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COUNT = 240
SIDE = 64
COUNTS = Path(__file__).with_name("coco_counts.txt")
_MODULUS, _FACTOR = 2**31 - 1, 48271  # of the minimal standard generator


class _Integers:
    """Whole numbers below a limit, the same for ever."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, limit: int) -> int:
        self._state = self._state * _FACTOR % _MODULUS
        return self._state % limit


@dataclass
class Placed:
    """A mask over a box, bool [64, 64], and where the box lies in which image."""

    box: np.ndarray
    left: int
    top: int
    width: int
    height: int

    def whole(self) -> np.ndarray:
        """The mask over the image, bool [height, width]."""
        image = np.zeros((self.height, self.width), bool)
        image[self.top : self.top + SIDE, self.left : self.left + SIDE] = self.box
        return image


def _drawn(kind: int, numbers: _Integers) -> np.ndarray:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    if kind < 4:  # blobs
        mask = np.zeros((SIDE, SIDE), bool)
        for _ in range(1 + kind):
            cy, cx, radius = numbers.below(SIDE), numbers.below(SIDE), 1 + numbers.below(24)
            mask |= (y - cy) ** 2 + (x - cx) ** 2 < radius**2
        return mask
    if kind == 4:  # stripes at any angle
        return (x * numbers.below(5) + y * (1 + numbers.below(5))) % (4 + numbers.below(30)) < 2
    if kind == 5:  # patches
        return (x // 5 * 7919 + y // 3 * 104729 + x * y // 15 * 31) % 97 < numbers.below(97)
    if kind < 8:  # rectangles
        top, left, high, wide = (numbers.below(SIDE) for _ in range(4))
        return (y >= top) & (x >= left) & (y <= top + high) & (x <= left + wide)
    mask = np.full((SIDE, SIDE), kind == 8)
    if kind < 10:  # one pixel is missing, or alone
        mask[numbers.below(SIDE), numbers.below(SIDE)] ^= True
    return mask if kind < 11 else ~mask


def masks() -> Iterator[Placed]:
    """COUNT of them."""
    numbers = _Integers(2024)
    for index in range(COUNT):
        left, top, right, bottom = (numbers.below(4) * numbers.below(90) for _ in range(4))
        yield Placed(_drawn(index % 12, numbers), left, top, left + SIDE + right, top + SIDE + bottom)


def _write_counts() -> None:
    from pycocotools import mask as coco

    def counts(mask: np.ndarray) -> str:
        return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()

    lines = [counts(mask) for placed in masks() for mask in (placed.box, placed.whole())]
    COUNTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    _write_counts()
