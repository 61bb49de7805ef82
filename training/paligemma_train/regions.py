# SPDX-License-Identifier: Apache-2.0
"""Boxes and masks as text, and how things lie to one another."""

from __future__ import annotations

import numpy as np

from paligemma_train.language import from_left
from paligemma_train.scene import Box, Scene, Thing

BINS = 1024
MASK_PLACEHOLDER = "<seg000>" * 16  # the trainer puts the codes of the masks here


def location_text(box: Box) -> str:
    """<locY0><locX0><locY1><locX1>; bin / 1024 is the coordinate, unbiased."""
    return "".join(f"<loc{min(BINS - 1, max(0, round(value * BINS))):04d}>" for value in box)


def matching(scene: Scene, label: str) -> list[Thing]:
    """Things that a label names: by name, by colour and name, or (colour) object; from the left."""
    words = label.split()
    found = scene.things
    if len(words) == 2:
        found = [thing for thing in found if thing.color == words[0]]
    if words[-1] != "object":
        found = [thing for thing in found if thing.name == words[-1]]
    return from_left(found)


def region_text(scene: Scene, labels: list[str], masks: bool) -> tuple[str, list[Thing]]:
    """The answer to detect or segment, and the things in its order. Absent labels give nothing."""
    parts, things = [], []
    for label in labels:
        for thing in matching(scene, label):
            parts.append(f"{location_text(thing.box)}{MASK_PLACEHOLDER if masks else ''} {label}")
            things.append(thing)
    return " ; ".join(parts), things


def gap(scene: Scene, a: Thing, b: Thing) -> float:
    """The smallest distance between what is seen of two things, in parts of the root of the picture's area."""
    first, second = _edge(scene.mask(a)), _edge(scene.mask(b))
    distances = ((first[:, None] - second[None]) ** 2).sum(-1)
    return float(np.sqrt(distances.min())) / scene.numbers.size**0.5


def _edge(mask: np.ndarray) -> np.ndarray:
    """float [n,2] of at most 150 pixels of the mask's border."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    points = np.argwhere(mask & ~inner).astype(np.float32)
    return points[:: max(1, len(points) // 150)]


def relation(scene: Scene, kind: str, a: Thing, b: Thing) -> bool | None:
    """Whether `a` is `kind` (of, than) `b`; None where a person might doubt."""
    (ay, ax), (by, bx) = a.centre, b.centre
    if kind in ("left of", "right of", "above", "below"):
        difference = {"left of": bx - ax, "right of": ax - bx, "above": by - ay, "below": ay - by}[kind]
        return None if abs(difference) < 0.08 else difference > 0
    if kind in ("bigger than", "smaller than"):
        ratio = _extent(a) / _extent(b)
        if 1 / 1.6 < ratio < 1.6:
            return None
        return (ratio > 1) == (kind == "bigger than")
    within = b.box[0] <= a.box[0] and b.box[1] <= a.box[1] and a.box[2] <= b.box[2] and a.box[3] <= b.box[3]
    if kind == "inside":
        apart = a.box[2] < b.box[0] or b.box[2] < a.box[0] or a.box[3] < b.box[1] or b.box[3] < a.box[1]
        near = abs(ay - by) < 0.25 * (b.box[2] - b.box[0]) and abs(ax - bx) < 0.25 * (b.box[3] - b.box[1])
        return True if within and near else False if apart or _extent(a) > _extent(b) else None
    if within or relation(scene, "inside", b, a):
        return None
    distance = gap(scene, a, b)  # touching
    return True if distance < 0.015 else False if distance > 0.04 else None


def _extent(thing: Thing) -> float:
    return (thing.box[2] - thing.box[0]) * (thing.box[3] - thing.box[1])
