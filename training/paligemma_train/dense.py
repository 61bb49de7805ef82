# SPDX-License-Identifier: Apache-2.0
"""What the vision tower learns first: for every patch the colour, the shape, the box and the outline of its thing,
and letters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from paligemma_train.domain import CHARACTERS, COLORS, NAMES, PLACES
from paligemma_train.scene import Scene

_COLOR = {name: index + 1 for index, name in enumerate(COLORS)}
_NAME = {name: index + 1 for index, name in enumerate(NAMES)}
_PLACE = {name: index + 1 for index, name in enumerate(PLACES)}
_CHARACTER = {name: index + 1 for index, name in enumerate(CHARACTERS)}
COLOR_CLASSES, NAME_CLASSES = len(COLORS) + 1, len(NAMES) + 1
PLACE_CLASSES, CHARACTER_CLASSES = len(PLACES) + 1, len(CHARACTERS) + 1
IGNORED = -100
_SAMPLES = 8  # per patch and side
INSIDE, CROP = 4, 8  # cells per side of a patch and of a thing's box, for which outlines are told


@dataclass
class DenseLabels:
    """For a grid of G x G patches, class 0 being none: color, name int16 [G*G]; box float32 [G*G,4];
    inside float32 [G*G,16] and crop float32 [G*G,64]: how much of each cell of the patch and of the thing's box the
    thing fills; characters int16 [G*G,2], whose middle lies in the left and right half; place int (0: not an everyday
    scene)."""

    color: np.ndarray
    name: np.ndarray
    box: np.ndarray
    inside: np.ndarray
    crop: np.ndarray
    characters: np.ndarray
    place: int


def labels(scene: Scene, grid: int) -> DenseLabels:
    height, width = scene.numbers.shape
    side = grid * _SAMPLES
    rows = ((np.arange(side) + 0.5) * height / side).astype(int)
    columns = ((np.arange(side) + 0.5) * width / side).astype(int)
    sampled = scene.numbers[rows[:, None], columns[None]]
    patches = sampled.reshape(grid, _SAMPLES, grid, _SAMPLES).transpose(0, 2, 1, 3).reshape(grid * grid, -1)
    color = np.zeros(grid * grid, np.int16)
    name, box = color.copy(), np.zeros((grid * grid, 4), np.float32)
    inside, crop = (np.zeros((grid * grid, cells**2), np.float32) for cells in (INSIDE, CROP))
    best = np.full(grid * grid, _SAMPLES * _SAMPLES // 6)
    for thing in scene.things:
        mine = patches == thing.number
        count = mine.sum(1)
        won = count > best
        best = np.maximum(best, count)
        color[won] = _COLOR[thing.color] if thing.color else IGNORED
        name[won], box[won] = _NAME[thing.name], thing.box
        inside[won] = _shares(mine[won].reshape(-1, _SAMPLES, _SAMPLES), INSIDE)
        crop[won] = _shares(scene.mask_crop(thing)[None] / 255, CROP)
    place = _PLACE[scene.place] if scene.place else 0
    return DenseLabels(color, name, box, inside, crop, _characters(scene, grid), place)


def _shares(masks: np.ndarray, cells: int) -> np.ndarray:
    """[n,S,S] of 0 to 1 -> [n,cells*cells], the mean of each cell."""
    step = masks.shape[1] // cells
    return masks.reshape(-1, cells, step, cells, step).mean((2, 4)).reshape(-1, cells * cells)


def _characters(scene: Scene, grid: int) -> np.ndarray:
    """int16 [G*G,2]: each character once, in the half patch where its middle lies, or where that is taken in the next
    one; a line whose row has a line already stands in the next row. So to read is to walk along the rows."""
    result = np.zeros((grid, grid * 2), np.int16)
    row = -1
    for line in scene.characters:
        middle = (min(box[0] for _, box in line) + max(box[2] for _, box in line)) / 2
        row, column = max(row + 1, int(middle * grid)), -1
        for character, (_, x0, _, x1) in line:
            column = max(column + 1, int((x0 + x1) * grid))
            if row < grid and column < 2 * grid:
                result[row, column] = _CHARACTER[character]
    return result.reshape(grid * grid, 2)
