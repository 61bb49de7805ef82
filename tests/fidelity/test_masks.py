# SPDX-License-Identifier: Apache-2.0
"""Masks in every encoding against the published evaluator's rule: Pillow's bilinear on floats, above zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coco_masks
import numpy as np
from conftest import Probe, Table, cases
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SEED = 23


def values(random: np.random.Generator) -> np.ndarray:
    """Decoder outputs as of a few overlapping blobs, float32 [64, 64]."""
    y, x = np.mgrid[0:64, 0:64]
    field = np.full((64, 64), -0.6)
    for _ in range(random.integers(1, 4)):
        cy, cx, radius = random.uniform(5, 59), random.uniform(5, 59), random.uniform(4, 30)
        field += 1.5 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / radius**2)
    return (field + random.normal(0, 0.05, field.shape)).astype(np.float32)


def boxes(number: int) -> list[tuple[tuple[int, int], tuple[int, int, int, int]]]:
    """(width, height) of an image and a box in it, of one pixel to the whole image."""
    random = np.random.default_rng(SEED)
    found = []
    for _ in range(number):
        width, height = (int(side) for side in random.integers(1, 400, 2))
        x0, y0 = int(random.integers(0, width)), int(random.integers(0, height))
        x1, y1 = int(random.integers(x0 + 1, width + 1)), int(random.integers(y0 + 1, height + 1))
        found.append(((width, height), (x0, y0, x1, y1)))
    return found


def evaluated(field: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The evaluator's mask over the box, bool [height, width]."""
    size = (box[2] - box[0], box[3] - box[1])
    return np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BILINEAR)) > 0


def rendered(probe: Probe, folder: Path, field: np.ndarray, size: tuple[int, int], **request: Any) -> dict[str, Any]:
    """Ours."""
    (folder / "in").write_bytes(field.tobytes())
    out = str(folder / "out")
    return probe.ask("mask", file=str(folder / "in"), out=out, width=size[0], height=size[1], **request)


def from_rle(counts: str, height: int, width: int) -> np.ndarray:
    """COCO's compressed string: column-major runs, each after the second written as a difference."""
    runs, position = [], 0
    while position < len(counts):
        value, shift, more = 0, 0, True
        while more:
            group = ord(counts[position]) - 48
            value |= (group & 0x1F) << shift
            more = bool(group & 0x20)
            position, shift = position + 1, shift + 5
            if not more and group & 0x10:
                value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    pixels = np.repeat(np.arange(len(runs)) % 2, runs).astype(bool)
    return pixels.reshape(width, height).T


def test_png_and_rle_hold_the_evaluators_pixels(probe: Probe, table: Table, tmp_path: Path) -> None:
    random = np.random.default_rng(SEED)
    todo = boxes(cases(1000))
    for size, box in todo:
        field = values(random)
        expected = evaluated(field, box)
        answer = rendered(probe, tmp_path, field, size, box=box, encoding="png", whole_image=False)
        assert answer["region"] == list(box) and answer["num_pixels"] == expected.sum()
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out")) > 0, expected), (size, box)
        whole = np.zeros((size[1], size[0]), bool)
        whole[box[1] : box[3], box[0] : box[2]] = expected
        answer = rendered(probe, tmp_path, field, size, box=box, encoding="rle", whole_image=True)
        assert np.array_equal(from_rle(answer["rle"], size[1], size[0]), whole), (size, box)
    table.add("masks: PNG over the box, COCO RLE over the image", "Pillow's bilinear, > 0", len(todo), "0")


def to_rle(mask: np.ndarray) -> str:
    """COCO's compressed string, written here a second time: the other way round than from_rle."""
    pixels = mask.T.ravel()
    edges = np.flatnonzero(np.diff(pixels, prepend=False)).tolist()
    runs = np.diff([0, *edges, pixels.size]).tolist()
    text = ""
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        while True:
            group, value = value & 31, value >> 5
            last = value == (-1 if group & 16 else 0)
            text += chr(48 + group + (0 if last else 32))
            if last:
                break
    return text


def test_rle_is_that_of_pycocotools(probe: Probe, table: Table, tmp_path: Path) -> None:
    """Strings that pycocotools wrote for these masks; a second writer here agrees, and the reader undoes them."""
    expected = iter(coco_masks.COUNTS.read_text().split("\n"))
    for placed in coco_masks.masks():
        field = np.where(placed.box, np.float32(0.5), np.float32(-0.5))
        box = (placed.left, placed.top, placed.left + coco_masks.SIDE, placed.top + coco_masks.SIDE)
        size = (placed.width, placed.height)
        for whole_image, mask in ((False, placed.box), (True, placed.whole())):
            counts = next(expected)
            assert to_rle(mask) == counts and np.array_equal(from_rle(counts, *mask.shape), mask)
            answer = rendered(probe, tmp_path, field, size, box=box, encoding="rle", whole_image=whole_image)
            assert answer["rle"] == counts, (size, box)
            assert answer["num_pixels"] == mask.sum()
            assert answer["region"] == ([0, 0, *size] if whole_image else list(box))
    table.add("masks: COCO RLE over the box and over the image", "pycocotools 2.0.11", 2 * coco_masks.COUNT, "0")


def test_soft_masks_are_the_grids_probabilities(probe: Probe, table: Table, tmp_path: Path) -> None:
    """The native format: 64 x 64 levels of (value + 1) / 2, whatever the extent asked for."""
    random = np.random.default_rng(SEED)
    todo = boxes(cases(1000))
    for size, box in todo:
        field = values(random) * 2
        for whole_image in (False, True):
            answer = rendered(probe, tmp_path, field, size, box=box, encoding="soft", whole_image=whole_image)
            assert answer["region"] == list(box)
        probability = np.clip((field.astype(np.float64) + 1) / 2, 0, 1)
        levels = np.fromfile(tmp_path / "out", np.uint8).reshape(64, 64)
        assert np.abs(levels - 255 * probability).max() < 0.5 + 1e-4, (size, box)
    table.add("masks: native 64 x 64", "the formula", len(todo), "0.5 levels of rounding")


def filled(rings: list[list[float]], size: tuple[int, int]) -> Image.Image:
    """Rings filled by the even-odd rule, borders included."""
    mask = Image.new("1", size)
    for ring in rings:
        one = Image.new("1", size)
        points = list(zip(ring[0::2], ring[1::2], strict=True))
        draw = ImageDraw.Draw(one)
        draw.polygon(points, fill=1, outline=1) if len(points) > 1 else draw.point(points, fill=1)
        mask = ImageChops.logical_xor(mask, one)
    return mask


def test_polygons_fill_to_the_mask_within_a_pixel_of_its_border(probe: Probe, table: Table, tmp_path: Path) -> None:
    random = np.random.default_rng(SEED)
    todo = boxes(cases(1000))
    for size, box in todo:
        field = values(random)
        whole = np.zeros((size[1], size[0]), bool)
        whole[box[1] : box[3], box[0] : box[2]] = evaluated(field, box)
        answer = rendered(probe, tmp_path, field, size, box=box, encoding="polygon", whole_image=False)
        drawn = np.asarray(filled(answer["rings"], size))
        grey = Image.fromarray(whole.astype(np.uint8) * 255)
        near = np.asarray(grey.filter(ImageFilter.MaxFilter(3))) != np.asarray(grey.filter(ImageFilter.MinFilter(3)))
        assert not (drawn != whole)[~near].any(), (size, box)
    table.add("masks: polygons, filled again", "the mask itself", len(todo), "1 pixel at the border")
