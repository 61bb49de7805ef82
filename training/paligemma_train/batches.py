# SPDX-License-Identifier: Apache-2.0
"""Stage 2's batches: several prompts about each rendered picture, packed with little padding."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paligemma_train import dense, lettering, tasks, worlds
from paligemma_train.feed import pixels
from paligemma_train.scene import Scene
from paligemma_train.tasks import Example
from paligemma_train.vocabulary import PAD, Vocabulary
from paligemma_train.vqvae import GRID, MaskCodec, to_input

CODES_PER_MASK = GRID * GRID


@dataclass
class Rows:
    """Prompts and answers: ids int64 [R,T] (prompt, answer, padding), prefix int64 [R], picture int64 [R];
    `codes` says where masks stand: row, column of the first code, and masks uint8 [m,64,64]."""

    ids: np.ndarray
    prefix: np.ndarray
    picture: np.ndarray
    codes: np.ndarray
    masks: np.ndarray

    def thinned(self, start: int, step: int) -> Rows:
        """Every `step`th row, the first one at start % step."""
        kept = np.arange(start % step, len(self.prefix), step)
        mask_of = [np.flatnonzero(self.codes[:, 0] == row) for row in kept]
        chosen = np.concatenate(mask_of) if len(mask_of) else np.zeros(0, np.int64)
        codes = self.codes[chosen]
        codes[:, 0] = np.searchsorted(kept, codes[:, 0])
        length = int((self.ids[kept] != PAD).sum(1).max(initial=1))
        return Rows(self.ids[kept, :length], self.prefix[kept], self.picture[kept], codes, self.masks[chosen])


@dataclass
class Batch:
    """pictures uint8 [P,S,S,3], their dense labels, and rows in groups of similar length. The last `pages` pictures are
    full of text for the tower, which nothing is asked about."""

    pictures: np.ndarray
    labels: list[dense.DenseLabels]
    groups: list[Rows]
    pages: int


@dataclass
class _Row:
    picture: int
    prompt: list[int]
    answer: list[int]
    masks: list[np.ndarray]


@functools.cache
def vocabulary(path: str) -> Vocabulary:
    return Vocabulary(Path(path))


def make_batch(stream: str, index: int, settings: dict[str, Any]) -> Batch:
    """settings: tokenizer, side, grid, pictures, pages, prompts (for each picture), most_things, text_share, groups;
    `without`, if any, names tasks to leave out."""
    words = vocabulary(settings["tokenizer"])
    pictures, labels, rows = [], [], []
    for number in range(settings["pictures"]):
        rng = worlds.random_of(stream, index * settings["pictures"] + number)
        scene = worlds.render(rng, most_things=settings["most_things"], text_share=settings["text_share"],
                              everyday_share=settings.get("everyday_share", worlds.EVERYDAY_SHARE))
        pictures.append(pixels(scene, settings["side"]))
        labels.append(dense.labels(scene, settings["grid"]))
        asked = tasks.examples(rng, scene, settings["prompts"], settings.get("without", ()))
        rows += [_row(words, scene, example, number) for example in asked]
    for number in range(settings["pages"]):
        scene = lettering.page(worlds.random_of(f"{stream}-page", index * settings["pages"] + number))
        pictures.append(pixels(scene, settings["side"]))
        labels.append(dense.labels(scene, settings["grid"]))
    rows.sort(key=lambda row: len(row.prompt) + len(row.answer))
    size = -(-len(rows) // settings["groups"])
    groups = [_pack(words, rows[start:start + size]) for start in range(0, len(rows), size)]
    return Batch(np.stack(pictures), labels, groups, settings["pages"])


def _row(words: Vocabulary, scene: Scene, example: Example, picture: int) -> _Row:
    masks = [scene.mask_crop(thing) for thing in example.things]
    return _Row(picture, words.prompt(example.prompt), words.answer(example.answer), masks)


def _pack(words: Vocabulary, rows: list[_Row]) -> Rows:
    length = max(len(row.prompt) + len(row.answer) for row in rows)
    ids = np.full((len(rows), length), PAD, np.int64)
    codes, masks = [], []
    for index, row in enumerate(rows):
        line = row.prompt + row.answer
        ids[index, :len(line)] = line
        starts = [at for at in range(len(row.prompt), len(line)) if _starts_mask(words, line, at)]
        codes += [(index, at) for at in starts]
        masks += row.masks
    assert len(codes) == len(masks)
    return Rows(ids, np.array([len(row.prompt) for row in rows]), np.array([row.picture for row in rows]),
                np.array(codes, np.int64).reshape(-1, 2), np.array(masks, np.uint8).reshape(-1, 64, 64))


def _starts_mask(words: Vocabulary, line: list[int], at: int) -> bool:
    """Whether 16 codes begin here: right after a coordinate."""
    return line[at] >= words.seg_first and words.loc_first <= line[at - 1] < words.seg_first


def fill_codes(ids: Tensor, rows: Rows, codec: MaskCodec, seg_first: int) -> None:
    """Replaces the placeholders by the codes of the masks, in place."""
    if len(rows.masks) == 0:
        return
    device = ids.device
    codes = codec.encode(to_input(rows.masks).to(device)) + seg_first
    lines = torch.from_numpy(rows.codes[:, 0]).to(device)
    columns = torch.from_numpy(rows.codes[:, 1]).to(device)
    ids[lines[:, None], columns[:, None] + torch.arange(CODES_PER_MASK, device=device)] = codes
