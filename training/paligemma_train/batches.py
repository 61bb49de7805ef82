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
_TEXT_PROMPTS = 3  # for a picture with text, about which little but the text can be asked


@dataclass
class Rows:
    """Prompts and answers: ids int64 [R,T] (prompt, answer, padding), prefix int64 [R], picture int64 [R];
    `codes` int64 [m,2] holds row and column of the first code of each mask, `masks` uint8 [m,64,64] the masks;
    `lines` and `char_indices` int64 [R,T] hold the line and the place in it of the character that an id spells, from 1;
    0 means none."""

    ids: np.ndarray
    prefix: np.ndarray
    picture: np.ndarray
    codes: np.ndarray
    masks: np.ndarray
    lines: np.ndarray
    char_indices: np.ndarray

    def every_nth(self, start: int, step: int) -> Rows:
        """Returns every `step`th row, beginning with row start % step."""
        kept = np.arange(start % step, len(self.prefix), step)
        mask_of = [np.flatnonzero(self.codes[:, 0] == row) for row in kept]
        chosen = np.concatenate(mask_of) if len(mask_of) else np.zeros(0, np.int64)
        codes = self.codes[chosen]
        codes[:, 0] = np.searchsorted(kept, codes[:, 0])
        length = int((self.ids[kept] != PAD).sum(1).max(initial=1))
        return Rows(self.ids[kept, :length], self.prefix[kept], self.picture[kept], codes, self.masks[chosen],
                    self.lines[kept, :length], self.char_indices[kept, :length])


@dataclass
class Batch:
    """pictures uint8 [P,S,S,3], their dense labels, and rows in groups of similar length. The last `pages` pictures are
    full of text for the tower; no prompt asks about them."""

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
    spelled: str


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
        amount = min(_TEXT_PROMPTS, settings["prompts"]) if scene.lines else settings["prompts"]
        asked = tasks.examples(rng, scene, amount, settings.get("without", ()))
        rows += [_row(words, scene, example, number) for example in asked]
    for scene in lettering.pages(worlds.random_of(f"{stream}-pages", index), settings["pages"]):
        pictures.append(pixels(scene, settings["side"]))
        labels.append(dense.labels(scene, settings["grid"]))
    rows.sort(key=lambda row: len(row.prompt) + len(row.answer))
    size = -(-len(rows) // settings["groups"])
    groups = [_pack(words, rows[start:start + size]) for start in range(0, len(rows), size)]
    return Batch(np.stack(pictures), labels, groups, settings["pages"])


def _row(words: Vocabulary, scene: Scene, example: Example, picture: int) -> _Row:
    masks = [scene.mask_crop(thing) for thing in example.things]
    spelled = example.answer if example.kind == "ocr" else ""
    answer = words.spelled(spelled) if spelled else words.answer(example.answer)
    return _Row(picture, words.prompt(example.prompt), answer, masks, spelled)


def _pack(words: Vocabulary, rows: list[_Row]) -> Rows:
    length = max(len(row.prompt) + len(row.answer) for row in rows)
    ids = np.full((len(rows), length), PAD, np.int64)
    lines, char_indices = np.zeros_like(ids), np.zeros_like(ids)
    codes, masks = [], []
    for index, row in enumerate(rows):
        line = row.prompt + row.answer
        ids[index, :len(line)] = line
        starts = [at for at in range(len(row.prompt), len(line)) if _starts_mask(words, line, at)]
        codes += [(index, at) for at in starts]
        masks += row.masks
        _set_char_indices(lines[index], char_indices[index], len(row.prompt), row.spelled)
    assert len(codes) == len(masks)
    return Rows(ids, np.array([len(row.prompt) for row in rows]), np.array([row.picture for row in rows]),
                np.array(codes, np.int64).reshape(-1, 2), np.array(masks, np.uint8).reshape(-1, 64, 64),
                lines, char_indices)


def _set_char_indices(lines: np.ndarray, char_indices: np.ndarray, start: int, spelled: str) -> None:
    """Sets, in place, the line and the place in it (from 1) of each character of a text whose ids begin at `start`."""
    for number, line in enumerate(spelled.split("\n"), 1):
        lines[start:start + len(line)], char_indices[start:start + len(line)] = number, np.arange(1, len(line) + 1)
        start += len(line) + 1


def _starts_mask(words: Vocabulary, line: list[int], at: int) -> bool:
    """Returns true if the 16 codes of a mask begin at `at`, which is right after a coordinate."""
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
