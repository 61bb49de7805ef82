# SPDX-License-Identifier: Apache-2.0
"""The accuracy table, on freshly rendered scenes of streams that training never uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
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
class Reply:
    """What a model said, and bool [H,W] for every mask in it."""

    text: str
    masks: list[np.ndarray] = field(default_factory=list)


Asker = Callable[[list[Case]], list[Reply]]


@dataclass
class Row:
    """One line of the table: which scenes and examples, how they are scored, floors and goals by measure."""

    name: str
    world: str
    task: str
    kinds: tuple[str, ...]
    score: Callable[[list[Case], list[Reply]], Values]
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


def exact(found: list[Case], replies: list[Reply]) -> Values:
    return {"exact": _mean([reply.text == case.example.answer for case, reply in zip(found, replies, strict=True)])}


def captions(found: list[Case], replies: list[Reply]) -> Values:
    return {"right": _mean([metrics.caption_right(reply.text, case.example.answer, case.scene)
                            for case, reply in zip(found, replies, strict=True)])}


def descriptions(found: list[Case], replies: list[Reply]) -> Values:
    pairs = [metrics.described(reply.text, case.scene) for case, reply in zip(found, replies, strict=True)]
    return {"objects right": sum(right for right, _ in pairs) / max(1, sum(total for _, total in pairs))}


def reading(found: list[Case], replies: list[Reply]) -> Values:
    words = right = errors = length = 0
    for case, reply in zip(found, replies, strict=True):
        truth, said = case.scene.lines, reply.text.split("\n")
        words += len(truth)
        right += sum(a == b for a, b in zip(truth, said, strict=False))
        errors += metrics.edit_distance("\n".join(truth), reply.text)
        length += len("\n".join(truth))
    return {"word exact": right / max(1, words), "CER": errors / max(1, length)}


def detection(found: list[Case], replies: list[Reply]) -> Values:
    hits: list[bool] = []
    overlaps: list[float] = []
    rejected: list[bool] = []
    total = 0
    for case, reply in zip(found, replies, strict=True):
        regions = metrics.regions(reply.text)
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


def segmentation(found: list[Case], replies: list[Reply]) -> Values:
    """mIoU over the true things; a thing without a matching region counts 0."""
    values = []
    for case, reply in zip(found, replies, strict=True):
        for thing in case.example.things:
            truth = case.scene.mask(thing)
            values.append(max((metrics.mask_iou(mask, truth) for mask in reply.masks), default=0.0))
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


class Plain:
    """Asks the model in this process."""

    def __init__(self, model: PaliGemma, words: Vocabulary, codec: MaskCodec, device: str, most: int = 160):
        self._model, self._words, self._codec, self._device, self._most = model, words, codec, device, most

    def __call__(self, found: list[Case]) -> list[Reply]:
        pictures = np.stack([pixels(case.scene, self._model.config.image_size) for case in found])
        prompts = [case.example.prompt for case in found]
        lines = answers(self._model, self._words, pictures, prompts, self._device, self._most)
        return [self._reply(case, self._words.decode(line)) for case, line in zip(found, lines, strict=True)]

    @torch.no_grad()
    def _reply(self, case: Case, text: str) -> Reply:
        regions = [region for region in metrics.regions(text) if region.codes]
        if not regions:
            return Reply(text)
        codes = torch.tensor([region.codes for region in regions], device=self._device)
        height, width = case.scene.numbers.shape
        return Reply(text, [metrics.paste(mask, region.box, width, height) for mask, region in
                            zip(self._codec.decode(codes).cpu().numpy(), regions, strict=True)])


def quick_scores(model: PaliGemma, words: Vocabulary, codec: MaskCodec, device: str, amount: int = 24) -> str:
    """A line for progress reports: every measure on few cases."""
    model.eval()
    ask, parts = Plain(model, words, codec, device, most=48), []
    for row in TABLE:
        found = cases(row, amount, 1)
        values = row.score(found, ask(found))
        parts.append(f"{row.name} " + "/".join(f"{value:.2f}" for value in values.values()))
    model.train()
    return ", ".join(parts)


def table(ask: Asker, amount: int, seed: int, output: Path | None = None, asked_through: str = "") -> int:
    """Prints the table of `amount` cases for each row and returns how many floors are missed. The output
    names how the model was asked, `asked_through`."""
    missed, results = 0, []
    print("| prompt | measure | measured | floor | goal |\n|---|---|---|---|---|", flush=True)
    for row in TABLE:
        found = cases(row, amount, seed)
        for measure, value in row.score(found, ask(found)).items():
            floor, goal = row.floors[measure], row.goals[measure]
            good = value <= floor if measure == "CER" else value >= floor
            missed += not good
            mark = "" if good else " (missed)"
            print(f"| {row.name} | {measure} | {value:.3f}{mark} | {floor:.2f} | {goal:.2f} |", flush=True)
            results.append({"prompt": row.name, "measure": measure, "value": None if np.isnan(value) else value,
                            "floor": floor, "goal": goal, "reached": bool(good)})
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        content = {"asked": asked_through, "cases": amount, "seed": seed, "rows": results}
        output.write_text(json.dumps(content, indent=1) + "\n")
    return missed
