# SPDX-License-Identifier: Apache-2.0
"""Stage 2: the whole model on the tasks, with a curriculum from few things to six. Resumable."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paligemma_train import checkpoint, tower, vqvae
from paligemma_train.batches import Batch, Rows, fill_codes, make_batch
from paligemma_train.evaluate import quick_scores
from paligemma_train.feed import Feed
from paligemma_train.model import Config, PaliGemma, smooth_locations
from paligemma_train.vocabulary import LOC_COUNT, PAD, Vocabulary
from paligemma_train.vqvae import MaskCodec

FILE, TOKENIZER = "model.pt", "tokenizer.model"
_REACH, _SPREAD = 9, 3.0  # soft targets of coordinates: bins either way, deviation


@dataclass(frozen=True)
class Plan:
    """How stage 2 runs. `examples` is the whole length, which the rate and the curriculum follow."""

    examples: int
    pictures: int = 24
    prompts: int = 4
    groups: int = 3
    rate: float = 2e-3
    workers: int = 1
    seed: int = 0
    report_every: float = 300
    stop_after: float = 1e9

    def most_things(self, part: float) -> int:
        return 2 if part < 0.08 else 4 if part < 0.25 else 6

    def dense_weight(self, part: float) -> float:
        """The tower goes on with its dense labels, less and less."""
        return 0.4 - 0.3 * min(1, part)

    def rate_at(self, step: int, part: float) -> float:
        """Warm-up, then half a cosine down to a fiftieth."""
        return self.rate * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * min(1, part))))


class AnswerLoss(nn.Module):
    """Cross-entropy of the answers; coordinates are judged by their distance too. Long answers do not drown short
    ones: each weighs as the root of its length."""

    def __init__(self, words: Vocabulary):
        super().__init__()
        self.first = words.loc_first
        offsets = torch.arange(-_REACH, _REACH + 1)
        kernel = torch.exp(-((offsets / _SPREAD) ** 2) / 2)
        self.register_buffer("offsets", offsets)
        self.register_buffer("kernel", kernel / kernel.sum())

    def forward(self, model: PaliGemma, hidden: Tensor, ids: Tensor, prefix: Tensor) -> Tensor:
        """hidden [R,T,H], ids [R,T] -> the summed loss of the group."""
        position = torch.arange(ids.size(1), device=ids.device)
        wanted = (position[None] >= prefix[:, None]) & (ids != PAD)
        weight = (1 / wanted.sum(1).float().sqrt())[:, None].expand_as(ids)[wanted]
        row, column = wanted.nonzero(as_tuple=True)
        targets = ids[row, column]
        likely = F.log_softmax(model.logits(hidden[row, column - 1]), -1)
        plain = -likely.gather(1, targets[:, None]).squeeze(1)
        place = targets - self.first
        is_place = (place >= 0) & (place < LOC_COUNT)
        near = (place[:, None] + self.offsets).clamp(0, LOC_COUNT - 1) + self.first
        soft = -(likely.gather(1, near) * self.kernel).sum(1)
        return (torch.where(is_place, soft, plain) * weight).sum()


class Learner:
    """Everything that a checkpoint holds."""

    def __init__(self, config: Config, work: Path, device: str, plan: Plan):
        torch.manual_seed(plan.seed)
        self.work, self.device, self.plan = work, device, plan
        self.words = Vocabulary(work / TOKENIZER)
        self.model = PaliGemma(config)
        smooth_locations(self.model, self.words.loc_first)
        self.heads = tower.DenseHeads(config.vision_hidden)
        self.step = self.examples = 0
        state = checkpoint.load(work / FILE)
        if state is None:
            self._start_from_tower()
        else:
            self.model.load_state_dict(state["model"])
            self.step, self.examples = state["step"], state["examples"]
            if "heads" in state:
                self.heads.load_state_dict(state["heads"])
        self.model.to(device)
        self.heads.to(device)
        self.loss = AnswerLoss(self.words).to(device)
        codec = vqvae.load(work)
        assert codec is not None, "train the masks first"
        self.codec: MaskCodec = codec.to(device)
        self.optimizer = self._make_optimizer()
        if state is not None and "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])

    def _start_from_tower(self) -> None:
        state = checkpoint.load(self.work / tower.FILE)
        if state is None:
            print("no tower.pt: the tower starts from nothing", flush=True)
            return
        self.model.vision_tower.load_state_dict(state["tower"])
        self.heads.load_state_dict(state["heads"])

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """The tower moves at half the rate; norms, biases and the table do not decay."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in [*self.model.named_parameters(), *self.heads.named_parameters()]:
            factor = 0.5 if name.startswith("vision_tower") else 1.0
            decay = 0.0 if parameter.dim() < 2 or "embed" in name else 0.05
            groups.setdefault((factor, decay), []).append(parameter)
        return torch.optim.AdamW(
            [{"params": parameters, "factor": factor, "weight_decay": decay, "lr": self.plan.rate}
             for (factor, decay), parameters in groups.items()], betas=(0.9, 0.98), fused=True)

    def save(self) -> None:
        checkpoint.save(self.work / FILE, {
            "model": self.model.state_dict(), "heads": self.heads.state_dict(), "step": self.step,
            "optimizer": self.optimizer.state_dict(), "examples": self.examples})

    def train_on(self, batch: Batch) -> float:
        """One step; returns the mean loss of an example."""
        part = self.examples / self.plan.examples
        rate = self.plan.rate_at(self.step, part)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        truth = {key: value.to(self.device) for key, value in tower.stack_labels(batch.labels).items()}
        count = sum(len(rows.prefix) for rows in batch.groups)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            features, image_rows = self.model.see(torch.from_numpy(batch.pictures).to(self.device))
            found = self.heads(features)
        seen = image_rows.float().detach().requires_grad_()
        total = 0.0
        for rows in batch.groups:
            loss = self._group_loss(rows, seen) / count
            loss.backward()
            total += loss.item()
        # the groups are done one by one, which keeps memory small; the tower gets their gradients at once
        seen_loss = self.plan.dense_weight(part) * tower.dense_loss(found, truth)
        torch.autograd.backward([image_rows, seen_loss], [seen.grad.to(image_rows.dtype), None])
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.examples += count
        return total

    def _group_loss(self, rows: Rows, image_rows: Tensor) -> Tensor:
        ids = torch.from_numpy(rows.ids).to(self.device)
        prefix = torch.from_numpy(rows.prefix).to(self.device)
        fill_codes(ids, rows, self.codec, self.words.seg_first)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            hidden = self.model.hidden(image_rows[torch.from_numpy(rows.picture).to(self.device)], ids, prefix)
            return self.loss(self.model, hidden, ids, prefix)


def train(config: Config, work: Path, device: str, plan: Plan) -> None:
    """Trains to `plan.examples` examples in all, resuming from work/model.pt."""
    learner = Learner(config, work, device, plan)
    settings: dict[str, Any] = {
        "tokenizer": str(work / TOKENIZER), "side": config.image_size, "grid": config.grid, "pictures": plan.pictures,
        "prompts": plan.prompts, "groups": plan.groups, "most_things": 2}
    feed = Feed(make_batch, f"tasks-{plan.seed}", settings, plan.workers, learner.step)
    clock, saver, began = checkpoint.Clock(plan.report_every), checkpoint.Clock(300), time.monotonic()
    average, first, deadline = None, learner.examples, checkpoint.Deadline(plan.stop_after)
    print(f"tasks: {sum(p.numel() for p in learner.model.parameters()):,} parameters, step {learner.step}, "
          f"{learner.examples} of {plan.examples} examples", flush=True)
    while learner.examples < plan.examples and not deadline.passed():
        feed.change(most_things=plan.most_things(learner.examples / plan.examples))
        loss = learner.train_on(feed.get()[1])
        average = loss if average is None else 0.98 * average + 0.02 * loss
        if clock.due():
            seconds = time.monotonic() - began
            pace = (learner.examples - first) / seconds
            print(f"tasks: {seconds:.0f} s, {learner.examples} examples ({pace:.0f}/s), "
                  f"loss {average:.3f}, held out {quick_scores(learner.model, learner.words, learner.codec, device)}",
                  flush=True)
        if saver.due():
            learner.save()
    learner.save()
    feed.close()
