# SPDX-License-Identifier: Apache-2.0
"""The accuracy table, on freshly rendered scenes of streams that training never uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from paligemma_train import metrics, tasks, worlds
from paligemma_train.feed import pixels
from paligemma_train.generate import answers
from paligemma_train.model import PaliGemma
from paligemma_train.regions import matching
from paligemma_train.scene import Scene
from paligemma_train.tasks import Example
from paligemma_train.vocabulary import Vocabulary
from paligemma_train.vqvae import MaskCodec

Values = dict[str, float]
ANSWER_KINDS = ("color", "shape", "count", "exists", "which", "where", "compare")


@dataclass
class Case:
    scene: Scene
    example: Example


@dataclass
class Row:
    """One line of the table: which scenes and examples, how they are scored, floors and goals by measure."""

    name: str
    world: str
    task: str
    kinds: tuple[str, ...]
    score: Callable[[list[Case], list[str], MaskCodec], Values]
    floors: dict[str, float]
    goals: dict[str, float]


def cases(row: Row, amount: int, seed: int) -> list[Case]:
    found: list[Case] = []
    index = 0
    while len(found) < amount:
        rng = worlds.random_of(f"held-out-{row.name}-{seed}", index)
        index += 1
        scene = worlds.render(rng, row.world)
        example = tasks.TASKS[row.task](rng, scene)
        if example is not None and (not row.kinds or example.kind in row.kinds):
            found.append(Case(scene, example))
    return found


def exact(found: list[Case], texts: list[str], codec: MaskCodec) -> Values:
    return {"exact": _mean([text == case.example.answer for case, text in zip(found, texts, strict=True)])}


def captions(found: list[Case], texts: list[str], codec: MaskCodec) -> Values:
    return {"right": _mean([metrics.caption_right(text, case.example.answer, case.scene)
                            for case, text in zip(found, texts, strict=True)])}


def descriptions(found: list[Case], texts: list[str], codec: MaskCodec) -> Values:
    pairs = [metrics.described(text, case.scene) for case, text in zip(found, texts, strict=True)]
    return {"objects right": sum(right for right, _ in pairs) / max(1, sum(total for _, total in pairs))}


def reading(found: list[Case], texts: list[str], codec: MaskCodec) -> Values:
    words = right = errors = length = 0
    for case, text in zip(found, texts, strict=True):
        truth, said = case.scene.lines, text.split("\n")
        words += len(truth)
        right += sum(a == b for a, b in zip(truth, said, strict=False))
        errors += metrics.edit_distance("\n".join(truth), text)
        length += len("\n".join(truth))
    return {"word exact": right / max(1, words), "CER": errors / max(1, length)}


def detection(found: list[Case], texts: list[str], codec: MaskCodec) -> Values:
    hits: list[bool] = []
    overlaps: list[float] = []
    rejected: list[bool] = []
    total = 0
    for case, text in zip(found, texts, strict=True):
        regions = metrics.regions(text)
        truth = [(label, thing.box) for label in case.example.labels for thing in matching(case.scene, label)]
        total += len(truth)
        for _, overlap in metrics.match_boxes(regions, truth):
            hits.append(overlap >= 0.5)
            if overlap >= 0.5:
                overlaps.append(overlap)
        for label in case.example.labels:
            if not matching(case.scene, label):
                rejected.append(all(region.label != label for region in regions))
    return {"AP50": metrics.average_precision(hits, total), "IoU": _mean(overlaps), "absent rejected": _mean(rejected)}


def segmentation(found: list[Case], texts: list[str], codec: MaskCodec) -> Values:
    """mIoU over the true things; a thing without a matching region counts 0."""
    values = []
    for case, text in zip(found, texts, strict=True):
        regions = [region for region in metrics.regions(text) if region.codes]
        height, width = case.scene.numbers.shape
        masks = []
        if regions:
            with torch.no_grad():
                decoded = codec.decode(torch.tensor([region.codes for region in regions])).numpy()
            masks = [metrics.paste(mask, region.box, width, height)
                     for mask, region in zip(decoded, regions, strict=True)]
        for thing in case.example.things:
            truth = case.scene.mask(thing)
            values.append(max((metrics.mask_iou(mask, truth) for mask in masks), default=0.0))
    return {"mIoU": _mean(values)}


def _mean(values: list) -> float:
    return float(np.mean(values)) if values else float("nan")


TABLE = [
    *(Row(f"caption {spoken}", "geometric", "caption", (f"caption-{spoken}",), captions, {"right": 0.82},
          {"right": 0.95}) for spoken in ("en", "de", "fr")),
    Row("describe en", "geometric", "describe", (), descriptions, {"objects right": 0.78}, {"objects right": 0.92}),
    *(Row(f"answer {kind}", "geometric", kind, (), exact, {"exact": 0.80 if kind == "count" else 0.88},
          {"exact": 0.92 if kind == "count" else 0.96}) for kind in ANSWER_KINDS),
    Row("everyday questions", "everyday", "everyday", (), exact, {"exact": 0.90}, {"exact": 0.97}),
    Row("everyday captions", "everyday", "caption", (), exact, {"exact": 0.90}, {"exact": 0.97}),
    Row("spatial", "geometric", "spatial", (), exact, {"exact": 0.85}, {"exact": 0.95}),
    Row("ocr", "text", "ocr", (), reading, {"word exact": 0.70, "CER": 0.10}, {"word exact": 0.92, "CER": 0.02}),
    Row("detect", "geometric", "detect", (), detection, {"AP50": 0.80, "IoU": 0.70, "absent rejected": 0.90},
        {"AP50": 0.95, "IoU": 0.85, "absent rejected": 0.97}),
    Row("segment", "geometric", "segment", ("segment",), segmentation, {"mIoU": 0.65}, {"mIoU": 0.85}),
]


def score_row(row: Row, model: PaliGemma, words: Vocabulary, codec: MaskCodec, device: str, amount: int,
              seed: int, most: int = 160) -> Values:
    found = cases(row, amount, seed)
    pictures = np.stack([pixels(case.scene, model.config.image_size) for case in found])
    ids = answers(model, words, pictures, [case.example.prompt for case in found], device, most)
    return row.score(found, [words.decode(line) for line in ids], codec)


def quick_scores(model: PaliGemma, words: Vocabulary, codec: MaskCodec, device: str, amount: int = 24) -> str:
    """A line for progress reports: every measure on few cases."""
    model.eval()
    codec = codec.cpu() if device != "cpu" else codec
    parts = []
    for row in TABLE:
        values = score_row(row, model, words, codec, device, amount, 1, most=48)
        parts.append(f"{row.name} " + "/".join(f"{value:.2f}" for value in values.values()))
    codec.to(device)
    model.train()
    return ", ".join(parts)


def table(model: PaliGemma, words: Vocabulary, codec: MaskCodec, device: str, amount: int, seed: int,
          output: Path | None = None) -> int:
    """Prints the table of `amount` cases for each row and returns how many floors are missed."""
    model.eval()
    missed, results = 0, []
    print("| prompt | measure | measured | floor | goal |\n|---|---|---|---|---|", flush=True)
    for row in TABLE:
        values = score_row(row, model, words, codec, device, amount, seed)
        for measure, value in values.items():
            floor, goal = row.floors[measure], row.goals[measure]
            good = value <= floor if measure == "CER" else value >= floor
            missed += not good
            mark = "" if good else " (missed)"
            print(f"| {row.name} | {measure} | {value:.3f}{mark} | {floor:.2f} | {goal:.2f} |", flush=True)
            results.append({"prompt": row.name, "measure": measure, "value": None if np.isnan(value) else value,
                            "floor": floor, "goal": goal})
    if output is not None:
        output.write_text(json.dumps({"cases": amount, "seed": seed, "rows": results}, indent=1) + "\n")
    return missed
