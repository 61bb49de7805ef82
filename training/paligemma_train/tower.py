# SPDX-License-Identifier: Apache-2.0
"""Stage 1: the vision tower alone on dense labels that the renderer knows exactly."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paligemma_train import checkpoint, dense, lettering, schedule, worlds
from paligemma_train.feed import Feed, pixels
from paligemma_train.model import CURVE, Config, VisionTower, location_curve
from paligemma_train.optimizer import Optimizer
from paligemma_train.schedule import Progress

FILE = "tower.pt"
_PARTS = {"color": dense.COLOR_CLASSES, "name": dense.NAME_CLASSES, "left": dense.CHARACTER_CLASSES,
          "right": dense.CHARACTER_CLASSES, "box": 4, "inside": dense.INSIDE**2, "crop": dense.CROP**2,
          "left_line": dense.LINE_CLASSES, "right_line": dense.LINE_CLASSES,
          "left_char_index": dense.CHAR_INDEX_CLASSES, "right_char_index": dense.CHAR_INDEX_CLASSES}
EDGES, _EDGE_STEPS = 4, 128
_CLASSES = ("color", "name", "left", "right", "left_line", "right_line", "left_char_index", "right_char_index")
_NONE_WEIGHT = 0.3  # weight of patches without a thing or a character, which would drown the few that have one
# Suffix of a part: the label that the part holds for each half of a patch.
_HALVES = {"": "characters", "_line": "lines", "_char_index": "char_indices"}


class DenseHeads(nn.Module):
    """[B,N,W] -> what dense.DenseLabels says of every patch, and the place of the picture as a whole."""

    parts = _PARTS  # rows of `patches`, in this order

    def __init__(self, width: int):
        super().__init__()
        self.patches = nn.Linear(width, sum(_PARTS.values()))
        self.place = nn.Linear(width, dense.PLACE_CLASSES)
        self.edges = nn.Linear(width, EDGES * CURVE)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        parts = self.patches(features).float().split(list(_PARTS.values()), -1)
        return {**dict(zip(_PARTS, parts, strict=True)), "place": self.place(features.mean(1)).float(),
                "edges": self.edges(features).float().unflatten(-1, (EDGES, CURVE))}


def stack_labels(items: list[dense.DenseLabels]) -> dict[str, Tensor]:
    return {
        "color": torch.from_numpy(np.stack([item.color for item in items])).long(),
        "name": torch.from_numpy(np.stack([item.name for item in items])).long(),
        **{part: torch.from_numpy(np.stack([getattr(item, part) for item in items]))
           for part in ("box", "inside", "crop")},
        **{half + end: torch.from_numpy(np.stack([getattr(item, label)[:, side] for item in items])).long()
           for side, half in enumerate(("left", "right")) for end, label in _HALVES.items()},
        "place": torch.tensor([item.place for item in items]),
    }


def dense_loss(found: dict[str, Tensor], truth: dict[str, Tensor]) -> Tensor:
    """Cross-entropies, and on patches with a thing the distance of box edges and the cross-entropy of outlines, which
    teach shapes long before their names can be learned."""
    loss = F.cross_entropy(found["place"], truth["place"])
    for part in _CLASSES:
        weight = torch.ones(found[part].size(-1), device=found[part].device)
        weight[0] = _NONE_WEIGHT
        loss = loss + F.cross_entropy(found[part].flatten(0, 1), truth[part].flatten(), weight,
                                      ignore_index=dense.IGNORED)
    on = truth["name"] > 0
    if on.any():
        loss = loss + 5 * F.l1_loss(found["box"][on], truth["box"][on])
        loss = loss + 0.5 * edge_loss(found["edges"][on], truth["box"][on])
        for part in ("inside", "crop"):
            loss = loss + F.binary_cross_entropy_with_logits(found[part][on], truth[part][on])
    return loss


def edge_scores(edges: Tensor) -> Tensor:
    """[n,4,CURVE] -> [n,4,steps + 1]: how likely each place is, by its likeness to the curve there. The decoder's
    answers are made the same way, so what is learned here is a coordinate that it can read."""
    places = torch.arange(_EDGE_STEPS + 1, device=edges.device) / _EDGE_STEPS
    return edges @ location_curve(places).T


def edge_loss(edges: Tensor, box: Tensor) -> Tensor:
    """Cross-entropy against the true edge [n,4], shared between the two steps around it."""
    likely = F.log_softmax(edge_scores(edges), -1)
    place = (box * _EDGE_STEPS).clamp(0, _EDGE_STEPS - 1e-3)
    below = place.long()
    share = place - below
    gained = likely.gather(-1, torch.stack((below, below + 1), -1))
    return -(gained[..., 0] * (1 - share) + gained[..., 1] * share).mean()


@torch.no_grad()
def dense_scores(found: dict[str, Tensor], truth: dict[str, Tensor]) -> dict[str, float]:
    """Accuracy on the patches that show something of the kind; read: pictures with text of which every character is
    right; box, edge: mean distance of an edge."""
    on, scores = truth["name"] > 0, {}
    for part in _CLASSES:
        shown = truth[part] > 0
        scores[part] = (found[part].argmax(-1) == truth[part])[shown].float().mean().item()
    read = torch.stack([(found[part].argmax(-1) == truth[part]).all(1) for part in ("left", "right")]).all(0)
    scores["read"] = read[((truth["left"] > 0) | (truth["right"] > 0)).any(1)].float().mean().item()
    scores["box"] = (found["box"] - truth["box"])[on].abs().mean().item()
    edges = edge_scores(found["edges"][on]).argmax(-1) / _EDGE_STEPS
    scores["edge"] = (edges - truth["box"][on]).abs().mean().item()
    scores["place"] = (found["place"].argmax(-1) == truth["place"]).float().mean().item()
    return scores


def make_batch(stream: str, index: int, settings: dict[str, Any]) -> tuple[np.ndarray, list[dense.DenseLabels]]:
    side, grid, full = settings["side"], settings["grid"], round(settings["batch"] * settings["page_share"])
    scenes = lettering.pages(worlds.random_of(f"{stream}-pages", index), full)
    for number in range(settings["batch"] - full):
        rng = worlds.random_of(stream, index * settings["batch"] + number)
        scenes.append(worlds.render(rng, text_share=settings["text_share"]))
    return np.stack([pixels(scene, side) for scene in scenes]), [dense.labels(scene, grid) for scene in scenes]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How stage 1 runs: to `images` pictures, or for `budget` seconds from where it stands."""

    images: int
    budget: float | None = None
    held: float = schedule.HELD
    batch: int = 32
    text_share: float = worlds.TEXT_SHARE
    page_share: float = 0.5
    matrix_rate: float = 0.02
    rate: float = 1.5e-3
    workers: int = 1
    seed: int = 0
    report_every: float = 60
    stop_after: float = 1e9


class _Stage:
    """What tower.pt holds."""

    def __init__(self, config: Config, work: Path, device: str, plan: Plan):
        torch.manual_seed(plan.seed)
        self.path, self.device = work / FILE, device
        self.tower, self.heads = VisionTower(config).to(device), DenseHeads(config.vision_hidden).to(device)
        named = [(f"{kind}.{name}", parameter) for kind, module in (("tower", self.tower), ("heads", self.heads))
                 for name, parameter in module.named_parameters()]
        self.optimizer = Optimizer(named, plan.matrix_rate, plan.rate)
        self.step = self.images = 0
        state = checkpoint.load(self.path)
        if state is not None:
            self.tower.load_state_dict(state["tower"])
            self.heads.load_state_dict(state["heads"])
            if "optimizer" in state:
                self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.images = state["step"], state["images"]

    def save(self) -> None:
        checkpoint.save(self.path, {"tower": self.tower.state_dict(), "heads": self.heads.state_dict(),
                                    "step": self.step, "optimizer": self.optimizer.state_dict(),
                                    "images": self.images})

    def found(self, pictures: np.ndarray) -> dict[str, Tensor]:
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            return self.heads(self.tower(torch.from_numpy(pictures).to(self.device)))

    def truth(self, items: list[dense.DenseLabels]) -> dict[str, Tensor]:
        return {key: value.to(self.device) for key, value in stack_labels(items).items()}


def pretrain(config: Config, work: Path, device: str, plan: Plan) -> None:
    """Trains as planned, resuming from work/tower.pt."""
    stage = _Stage(config, work, device, plan)
    settings = {"side": config.image_size, "grid": config.grid, "batch": plan.batch,
                "text_share": plan.text_share, "page_share": plan.page_share}
    feed = Feed(make_batch, f"tower-{plan.seed}", settings, plan.workers, stage.step)
    progress, deadline = Progress(plan.images, plan.budget, plan.held), checkpoint.Deadline(plan.stop_after)
    began = time.monotonic()
    clock, saver = checkpoint.Clock(plan.report_every), checkpoint.Clock(300)
    held_out = make_batch("held-out-tower", 0, {**settings, "batch": 256, "text_share": worlds.TEXT_SHARE,
                                                   "page_share": 0.0})
    print(f"tower: step {stage.step}, {stage.images} pictures", flush=True)
    while progress.part(stage.images) < 1 and not deadline.passed():
        pictures, items = feed.get()[1]
        loss = dense_loss(stage.found(pictures), stage.truth(items))
        loss.backward()
        stage.optimizer.step(progress.rate(stage.images))
        stage.step += 1
        stage.images += plan.batch
        if clock.due():
            with torch.no_grad():
                scores = dense_scores(stage.found(held_out[0]), stage.truth(held_out[1]))
            text = " ".join(f"{key} {value:.3f}" for key, value in scores.items())
            print(f"tower: {time.monotonic() - began:.0f} s, {stage.images} pictures, loss {loss.item():.3f}, "
                  f"held out {text}", flush=True)
        if saver.due():
            stage.save()
    stage.save()
    feed.close()
