# SPDX-License-Identifier: Apache-2.0
"""How right an answer is, as the accuracy table counts it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from paligemma_train.domain import COLORS, NAMES
from paligemma_train.language import description, position_name
from paligemma_train.regions import BINS, matching
from paligemma_train.scene import Box, Scene

_REGION = re.compile(r"<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})>((?:<seg\d{3}>){16})? ([^;<>]+?)(?: ; |$)")


@dataclass
class Region:
    box: Box
    codes: list[int]
    label: str


def regions(text: str) -> list[Region]:
    found = []
    for match in _REGION.finditer(text):
        box = tuple(int(part) / BINS for part in match.groups()[:4])
        codes = [int(code) for code in re.findall(r"<seg(\d{3})>", match[5] or "")]
        found.append(Region(box, codes, match[6]))  # type: ignore[arg-type]
    return found


def box_iou(a: Box, b: Box) -> float:
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, height) * max(0.0, width)
    either = _area(a) + _area(b) - both
    return both / either if either > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def match_boxes(found: list[Region], truth: list[tuple[str, Box]]) -> list[tuple[Region, float]]:
    """For every found region the IoU with its own true box, 0 if it has none; each truth is matched once."""
    left = list(truth)
    result = []
    for region in found:
        best = max(left, key=lambda item: box_iou(region.box, item[1]) if item[0] == region.label else 0, default=None)
        overlap = box_iou(region.box, best[1]) if best and best[0] == region.label else 0.0
        if best and overlap >= 0.5:
            left.remove(best)
        result.append((region, overlap))
    return result


def average_precision(hits: list[bool], total: int) -> float:
    """AP50 without scores: answers carry none, so precision times recall's one point, as area of a single step."""
    if not total:
        return 1.0
    right = sum(hits)
    return right / total * (right / len(hits) if hits else 0.0)


def paste(mask: np.ndarray, box: Box, width: int, height: int) -> np.ndarray:
    """f32 [64,64], inside above 0 -> bool [H,W], resized to the box as the server does."""
    result = np.zeros((height, width), bool)
    y0, x0, y1, x1 = (round(value * size) for value, size in zip(box, (height, width, height, width), strict=True))
    if y1 > y0 and x1 > x0:
        resized = Image.fromarray(mask.astype(np.float32)).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)
        result[y0:y1, x0:x1] = np.asarray(resized) > 0
    return result


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    either = (a | b).sum()
    return float((a & b).sum() / either) if either else 0.0


def described(answer: str, scene: Scene) -> tuple[int, int]:
    """Returns the number of objects described rightly, and of all objects. A neighbouring position within 0.04 of its
    edge is right, too."""
    if not scene.things:
        return int(answer == description(scene)), 1
    left = list(scene.things)
    right = 0
    for part in answer.split(", "):
        words = part.split()
        label, said = " ".join(words[:2]), " ".join(words[2:])
        named = [thing for thing in left if thing.label == label and said in _spots(thing.centre)]
        if named:
            left.remove(next((thing for thing in named if position_name(thing) == said), named[0]))
            right += 1
    return right, max(len(scene.things), len(answer.split(", ")))


def _spots(centre: tuple[float, float]) -> set[str]:
    rows = {("top", "", "bottom")[min(2, max(0, int((centre[0] + d) * 3)))] for d in (-0.04, 0, 0.04)}
    columns = {("left", "", "right")[min(2, max(0, int((centre[1] + d) * 3)))] for d in (-0.04, 0, 0.04)}
    return {" ".join(filter(None, (row, column))) or "center" for row in rows for column in columns}


def edit_distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def caption_right(answer: str, truth: str, scene: Scene) -> bool:
    """Equal, or an English one whose named things are there in the right number, in whatever order."""
    if answer == truth:
        return True
    if scene.place or scene.lines or not 1 < len(scene.things) <= 3:
        return False
    named = [f"{a} {b}" for a, b in re.findall(r"(\w+) (\w+)", answer) if a in COLORS and b in NAMES]
    if len(named) != len(scene.things) or not answer.startswith(("a ", "an ")):
        return False
    return all(len(matching(scene, label)) == named.count(label) for label in named)
