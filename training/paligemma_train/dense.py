# SPDX-License-Identifier: Apache-2.0
"""What the vision tower learns first: for every patch the colour, the shape, the box and the outline of its thing,
and letters."""

from __future__ import annotations

import math
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
MOST_LINES, LONGEST = 3, 8  # of a text that is asked about, and of a line in it
LINE_CLASSES, CHAR_INDEX_CLASSES = MOST_LINES + 1, LONGEST + 1
INSIDE, CROP = 4, 8  # cells per side of a patch and of a thing's box in the labels of outlines


@dataclass
class DenseLabels:
    """The labels of a grid of G x G patches; class 0 means none.

    color, name int16 [G*G] and box float32 [G*G,4] describe the thing of each patch. inside float32 [G*G,16] and crop
    float32 [G*G,64] hold how much of each cell of the patch and of the thing's box the thing fills. characters int16
    [G*G,2] are those of the left and the right half; lines and char_indices int16 [G*G,2] hold the line of that
    character and its place in the line, or IGNORED beyond what prompts ask about. place is the everyday scene's, or
    0."""

    color: np.ndarray
    name: np.ndarray
    box: np.ndarray
    inside: np.ndarray
    crop: np.ndarray
    characters: np.ndarray
    lines: np.ndarray
    char_indices: np.ndarray
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
    return DenseLabels(color, name, box, inside, crop, *_text(scene, grid), place)


def _shares(masks: np.ndarray, cells: int) -> np.ndarray:
    """[n,S,S] of 0 to 1 -> [n,cells*cells], the mean of each cell."""
    step = masks.shape[1] // cells
    return masks.reshape(-1, cells, step, cells, step).mean((2, 4)).reshape(-1, cells * cells)


def _text(scene: Scene, grid: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns characters, lines and char_indices, int16 [G*G,2] each. A character belongs to the half patch where its
    middle lies, or to the next free one; a line whose row is taken goes to the next row, so that no character is lost.
    A half patch that is still free belongs to the character that covers its middle."""
    character, line, char_index = (np.zeros((grid, grid * 2), np.int16) for _ in range(3))
    covered = []
    row = -1
    for number, written in enumerate(filter(None, scene.characters), 1):
        top, bottom = min(box[0] for _, box in written) * grid, max(box[2] for _, box in written) * grid
        row, column = max(row + 1, int((top + bottom) / 2)), -1
        rows = slice(max(0, math.ceil(top - 0.5)), max(0, math.ceil(bottom - 0.5)))  # whose middles the line covers
        for place, (name, (_, x0, _, x1)) in enumerate(written, 1):
            column = max(column + 1, int((x0 + x1) * grid))
            columns = slice(max(0, math.ceil(2 * x0 * grid - 0.5)), max(0, math.ceil(2 * x1 * grid - 0.5)))
            values = _CHARACTER[name], number, place
            if row < grid and column < 2 * grid:
                character[row, column], line[row, column], char_index[row, column] = values
            covered += [(rows, columns, values), (slice(row, row + 1), columns, values)]
    for rows, columns, values in covered:
        free = character[rows, columns] == 0
        for part, value in zip((character, line, char_index), values, strict=True):
            part[rows, columns][free] = value
    line[line > MOST_LINES] = IGNORED  # of a page
    char_index[char_index > LONGEST] = IGNORED
    return character.reshape(-1, 2), line.reshape(-1, 2), char_index.reshape(-1, 2)
