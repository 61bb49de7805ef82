# SPDX-License-Identifier: Apache-2.0
"""Stage 1: the vision tower alone on dense labels that the renderer knows exactly."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paligemma_train import checkpoint, dense, worlds
from paligemma_train.feed import Feed, pixels
from paligemma_train.model import Config, VisionTower

FILE = "tower.pt"
_PARTS = {"color": dense.COLOR_CLASSES, "name": dense.NAME_CLASSES, "left": dense.CHARACTER_CLASSES,
          "right": dense.CHARACTER_CLASSES, "box": 4}
# how much a patch without a thing or a character counts, so that they do not drown the few with one
_NONE_WEIGHT = {"color": 0.3, "name": 0.3, "left": 0.08, "right": 0.08}


class DenseHeads(nn.Module):
    """[B,N,W] -> what dense.DenseLabels says of every patch, and the place of the picture as a whole."""

    def __init__(self, width: int):
        super().__init__()
        self.patches = nn.Linear(width, sum(_PARTS.values()))
        self.place = nn.Linear(width, dense.PLACE_CLASSES)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        parts = self.patches(features).float().split(list(_PARTS.values()), -1)
        return {**dict(zip(_PARTS, parts, strict=True)), "place": self.place(features.mean(1)).float()}


def stack_labels(items: list[dense.DenseLabels]) -> dict[str, Tensor]:
    return {
        "color": torch.from_numpy(np.stack([item.color for item in items])).long(),
        "name": torch.from_numpy(np.stack([item.name for item in items])).long(),
        "box": torch.from_numpy(np.stack([item.box for item in items])),
        "left": torch.from_numpy(np.stack([item.characters[:, 0] for item in items])).long(),
        "right": torch.from_numpy(np.stack([item.characters[:, 1] for item in items])).long(),
        "place": torch.tensor([item.place for item in items]),
    }


def dense_loss(found: dict[str, Tensor], truth: dict[str, Tensor]) -> Tensor:
    """Cross-entropies and the distance of box edges on patches with a thing."""
    loss = F.cross_entropy(found["place"], truth["place"])
    for part, none_weight in _NONE_WEIGHT.items():
        weight = torch.ones(found[part].size(-1), device=found[part].device)
        weight[0] = none_weight
        loss = loss + F.cross_entropy(found[part].flatten(0, 1), truth[part].flatten(), weight,
                                      ignore_index=dense.IGNORED)
    on = truth["name"] > 0
    if on.any():
        loss = loss + 5 * F.l1_loss(found["box"][on], truth["box"][on])
    return loss


@torch.no_grad()
def dense_scores(found: dict[str, Tensor], truth: dict[str, Tensor]) -> dict[str, float]:
    """Accuracy on the patches that show something of the kind; box: mean distance of an edge."""
    on, scores = truth["name"] > 0, {}
    for part in ("color", "name", "left", "right"):
        shown = truth[part] > 0
        scores[part] = (found[part].argmax(-1) == truth[part])[shown].float().mean().item()
    scores["box"] = (found["box"] - truth["box"])[on].abs().mean().item()
    scores["place"] = (found["place"].argmax(-1) == truth["place"]).float().mean().item()
    return scores


def make_batch(stream: str, index: int, settings: dict[str, Any]) -> tuple[np.ndarray, list[dense.DenseLabels]]:
    side, grid = settings["side"], settings["grid"]
    pictures, items = [], []
    for number in range(settings["batch"]):
        scene = worlds.render(worlds.random_of(stream, index * settings["batch"] + number))
        pictures.append(pixels(scene, side))
        items.append(dense.labels(scene, grid))
    return np.stack(pictures), items


def pretrain(config: Config, work: Path, device: str, images: int, batch: int = 64, rate: float = 2e-3,
             workers: int = 1, seed: int = 0, report_every: float = 60, stop_after: float = 1e9) -> None:
    """Trains to `images` pictures in all, resuming from work/tower.pt; ends early after `stop_after` seconds."""
    torch.manual_seed(seed)
    tower, heads = VisionTower(config).to(device), DenseHeads(config.vision_hidden).to(device)
    parameters = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    state = checkpoint.load(work / FILE)
    step = 0
    if state is not None:
        tower.load_state_dict(state["tower"])
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    settings = {"side": config.image_size, "grid": config.grid, "batch": batch}
    feed = Feed(make_batch, f"tower-{seed}", settings, workers, step)
    steps, began, deadline = images // batch, time.monotonic(), checkpoint.Deadline(stop_after)
    clock, saver = checkpoint.Clock(report_every), checkpoint.Clock(300)
    held_out = make_batch("held-out-tower", 0, {**settings, "batch": 256})
    print(f"tower: {sum(p.numel() for p in parameters):,} parameters, step {step} of {steps}", flush=True)

    def save() -> None:
        checkpoint.save(work / FILE, {"tower": tower.state_dict(), "heads": heads.state_dict(), "step": step,
                                      "optimizer": optimizer.state_dict(), "images": step * batch})

    while step < steps and not deadline.passed():
        part = step / steps
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 200) * max(0.05, 1 - part)
        pictures, items = feed.get()[1]
        truth = {key: value.to(device) for key, value in stack_labels(items).items()}
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            found = heads(tower(torch.from_numpy(pictures).to(device)))
        loss = dense_loss(found, truth)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if clock.due():
            scores = held_out_scores(tower, heads, held_out, device)
            told = " ".join(f"{key} {value:.3f}" for key, value in scores.items())
            print(f"tower: {time.monotonic() - began:.0f} s, {step * batch} pictures, loss {loss.item():.3f}, "
                  f"held out {told}", flush=True)
        if saver.due():
            save()
    save()
    feed.close()


@torch.no_grad()
def held_out_scores(tower: VisionTower, heads: DenseHeads, batch: tuple[np.ndarray, list[dense.DenseLabels]],
                    device: str) -> dict[str, float]:
    with torch.autocast(device.split(":")[0], torch.bfloat16):
        found = heads(tower(torch.from_numpy(batch[0]).to(device)))
    return dense_scores(found, {key: value.to(device) for key, value in stack_labels(batch[1]).items()})
