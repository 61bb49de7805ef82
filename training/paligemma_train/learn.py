# SPDX-License-Identifier: Apache-2.0
"""Stage 2: the whole model on the tasks, with a curriculum from few things to six. Resumable."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paligemma_train import checkpoint, schedule, tower, vqvae, warm_start, worlds
from paligemma_train.batches import Batch, Rows, fill_codes, make_batch
from paligemma_train.evaluate import quick_scores
from paligemma_train.feed import Feed
from paligemma_train.model import Config, PaliGemma
from paligemma_train.optimizer import Optimizer
from paligemma_train.replicas import Replicas
from paligemma_train.schedule import Progress
from paligemma_train.vocabulary import LOC_COUNT, PAD, Vocabulary
from paligemma_train.vqvae import MaskCodec

FILE, TOKENIZER = "model.pt", "tokenizer.model"
_READING_WEIGHT = 0.15  # weight of the reading loss relative to the loss of the answers
_WHOLE_STEP_STRIDE = 4  # a step whose image rows attend to the prompt takes one row of so many


@dataclass(frozen=True)
class Plan:
    """The settings of stage 2. It runs to `examples` in all, or for `budget` seconds; learning rate and curriculum
    follow the one that is set."""

    examples: int
    budget: float | None = None
    held: float = schedule.HELD
    pictures: int = 12
    pages: int = 32
    prompts: int = 8
    groups: int = 4
    text_share: float = worlds.TEXT_SHARE
    everyday_share: float = worlds.EVERYDAY_SHARE
    matrix_rate: float = 0.02
    rate: float = 1.5e-3
    tower_rate: float = 0.25
    without: Sequence[str] = ()
    coordinate_step: int = 8
    things_at_start: int = 2
    workers: int = 1
    replicas: int = 0
    seed: int = 0
    report_every: float = 300
    report_cases: int = 24
    stop_after: float = 1e9

    def most_things(self, part: float) -> int:
        return max(self.things_at_start, 2 if part < 0.08 else 4 if part < 0.25 else 6)

    def dense_weight(self, part: float) -> float:
        """Returns the weight of the tower's dense labels, which falls over the run."""
        return 0.4 - 0.2 * part

    def whole_every(self, part: float) -> int:
        """Returns n such that every nth step computes the image rows with the prompt, as the server does. Such a step
        costs three to four times as much for an example. What is learned without the prompt transfers, so that few
        such steps suffice until the end."""
        return 8 if part < 0.7 else 4 if part < 0.9 else 2

    def batch_settings(self, config: Config, work: Path, part: float) -> dict[str, Any]:
        return {"tokenizer": str(work / TOKENIZER), "side": config.image_size, "grid": config.grid,
                "pictures": self.pictures, "pages": self.pages, "prompts": self.prompts, "groups": self.groups,
                "most_things": self.most_things(part), "text_share": self.text_share,
                "everyday_share": self.everyday_share, "without": self.without}


def config_of(work: Path) -> Config | None:
    """The numbers of the model in work/model.pt or work/tower.pt; None if there is neither. Only the resolution can
    differ between models; it follows from the number of positions."""
    for file, key, name in ((FILE, "model", "vision_tower."), (tower.FILE, "tower", "")):
        state = checkpoint.load(work / file)
        if state is not None:
            positions = state[key][f"{name}embeddings.position_embedding.weight"].size(0)
            return Config(image_size=math.isqrt(positions) * Config.patch)
    return None


class AnswerLoss(nn.Module):
    """The cross-entropy of the answers. Each answer is weighted by the square root of its length, so that long answers
    do not drown short ones.

    Coordinates are answered in steps of several bins. The target is shared between the two steps around the true place.
    If it were spread over all 1024 bins, no bin would beat the end of the answer until the place is known to a bin."""

    def __init__(self, words: Vocabulary, coordinate_step: int):
        super().__init__()
        self.first, self.spacing = words.loc_first, coordinate_step

    def rounded_coordinates(self, ids: Tensor) -> Tensor:
        """Returns ids with every coordinate moved to the nearest step, as the model reads its own answers."""
        place = ids - self.first
        nearest = ((place + self.spacing // 2) // self.spacing * self.spacing).clamp_max(LOC_COUNT - 1)
        return torch.where(self._is_place(place), nearest + self.first, ids)

    def forward(self, model: PaliGemma, hidden: Tensor, ids: Tensor, prefix: Tensor) -> Tensor:
        """hidden [R,T,H], ids [R,T] -> the summed loss of the group."""
        position = torch.arange(ids.size(1), device=ids.device)
        wanted = (position[None] >= prefix[:, None]) & (ids != PAD)
        weight = (1 / wanted.sum(1).float().sqrt())[:, None].expand_as(ids)[wanted]
        row, column = wanted.nonzero(as_tuple=True)
        targets = ids[row, column]
        likely = F.log_softmax(model.logits(hidden[row, column - 1]), -1)
        place = targets - self.first
        is_place = self._is_place(place)
        below = torch.where(is_place, place // self.spacing * self.spacing + self.first, targets)
        above = torch.where(is_place, (below + self.spacing).clamp_max(self.first + LOC_COUNT - 1), targets)
        share = torch.where(is_place & (above > below), (targets - below) / (above - below).clamp_min(1), 0.0)
        gained = likely.gather(1, torch.stack((below, above), 1))
        return -((gained[:, 0] * (1 - share) + gained[:, 1] * share) * weight).sum()

    @staticmethod
    def _is_place(place: Tensor) -> Tensor:
        return (place >= 0) & (place < LOC_COUNT)


class GradientWorker:
    """Owns a model with its dense heads and computes the gradients of a batch."""

    def __init__(self, config: Config, work: Path, device: str, plan: Plan):
        self.device, self.plan = device, plan
        self.words = Vocabulary(work / TOKENIZER)
        self.model, self.heads = PaliGemma(config).to(device), tower.DenseHeads(config.vision_hidden).to(device)
        self.loss = AnswerLoss(self.words, plan.coordinate_step)
        codec = vqvae.load(work)
        assert codec is not None, "train the masks first"
        self.codec: MaskCodec = codec.to(device)

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        return [*self.model.named_parameters(), *self.heads.named_parameters()]

    def gradients(self, batch: Batch, step: int, part: float) -> tuple[float, int]:
        """Leaves the gradients in the parameters. Returns the mean loss of an example and the number of examples."""
        whole = step % self.plan.whole_every(part) == 0
        groups = [rows.every_nth(step, _WHOLE_STEP_STRIDE) for rows in batch.groups] if whole else batch.groups
        truth = {key: value.to(self.device) for key, value in tower.stack_labels(batch.labels).items()}
        count = sum(len(rows.prefix) for rows in groups)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16):
            features = self.model.vision_tower(torch.from_numpy(batch.pictures).to(self.device))
            found = self.heads(features)
            image_rows = self.model.project(features[:len(features) - batch.pages])
            caches = None if whole else self.model.image_caches(image_rows)
            loss = sum(self._group_loss(rows, image_rows, caches, truth) for rows in groups) / count
        (loss + self.plan.dense_weight(part) * tower.dense_loss(found, truth)).backward()
        return loss.item(), count

    def _group_loss(self, rows: Rows, image_rows: Tensor, caches: list[list[Tensor]] | None,
                    truth: dict[str, Tensor]) -> Tensor:
        ids, prefix, picture = (torch.from_numpy(part).to(self.device)
                                for part in (rows.ids, rows.prefix, rows.picture))
        fill_codes(ids, rows, self.codec, self.words.seg_first)
        rounded = self.loss.rounded_coordinates(ids)
        if caches is None:
            hidden = self.model.hidden(image_rows[picture], rounded, prefix)
            return self.loss(self.model, hidden, ids, prefix)
        hidden, attention = self.model.hidden_with_caches(caches, picture, rounded, prefix)
        return self.loss(self.model, hidden, ids, prefix) + _READING_WEIGHT * reading_loss(attention, rows, truth)


def reading_loss(attention: Tensor, rows: Rows, truth: dict[str, Tensor]) -> Tensor:
    """attention [R,kv,group,T,N+T] -> the summed loss of the group.

    Before each character of a text the first head of the first group should attend to the patches whose left half shows
    that character, and the second head to those whose right half does. A head should attend to no patch where none
    shows the character."""
    row, column = rows.lines.nonzero()
    loss = attention.new_zeros(())
    if len(row) == 0:
        return loss
    picture, line, char_index = (torch.from_numpy(part).to(attention.device) for part in (
        rows.picture[row], rows.lines[row, column, None], rows.char_indices[row, column, None]))
    for head, half in enumerate(("left", "right")):
        shown = (truth[f"{half}_line"][picture] == line) & (truth[f"{half}_char_index"][picture] == char_index)
        seen = attention[row, 0, head, column - 1, :shown.size(1)]
        right = torch.where(shown.any(1), (seen * shown).sum(1), 1 - seen.sum(1))
        loss = loss - right.clamp_min(1e-6).log().sum()
    return loss


class Trainer(GradientWorker):
    """Trains the model of a work folder; holds everything that its checkpoint holds."""

    def __init__(self, config: Config, work: Path, device: str, plan: Plan):
        torch.manual_seed(plan.seed)
        super().__init__(config, work, device, plan)
        self.work, self.step, self.examples = work, 0, 0
        self.optimizer = Optimizer(self.named_parameters(), plan.matrix_rate, plan.rate)
        self.progress = Progress(plan.examples, plan.budget, plan.held)
        state = checkpoint.load(work / FILE)
        if state is None:
            self._start_from_tower()
            return
        self.model.load_state_dict(state["model"])
        self.step, self.examples = state["step"], state["examples"]
        if "heads" in state:
            self.heads.load_state_dict(state["heads"])
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])

    def _start_from_tower(self) -> None:
        state = checkpoint.load(self.work / tower.FILE)
        if state is None:
            print("no tower.pt: the tower starts from nothing", flush=True)
        else:
            self.model.vision_tower.load_state_dict(state["tower"])
            self.heads.load_state_dict(state["heads"])
        warm_start.prepare(self.model, self.heads if state is not None else None, self.words)

    def save(self) -> None:
        checkpoint.save(self.work / FILE, {
            "model": self.model.state_dict(), "heads": self.heads.state_dict(), "step": self.step,
            "optimizer": self.optimizer.state_dict(), "examples": self.examples})

    def part(self) -> float:
        return self.progress.part(self.examples)

    def train_on(self, batch: Batch, replicas: Replicas | None = None) -> float:
        """Makes one step. Returns the mean loss of an example."""
        loss, count = self.gradients(batch, self.step, self.part())
        if replicas is not None:
            count = replicas.add_gradients(count)
        rate = self.progress.rate(self.examples)
        self.optimizer.step(rate, self.plan.tower_rate * rate)
        self.step += 1
        self.examples += count
        if replicas is not None:
            replicas.publish(self.part())
        return loss


def replica(config: Config, work: Path, plan: Plan, first: int, number: int) -> tuple[
        list[nn.Parameter], Callable[[float], int]]:
    """Returns a replica's parameters and its step, which learns from batches of a stream of its own from `first` on."""
    worker, steps = GradientWorker(config, work, "cpu", plan), itertools.count(first)

    def compute(part: float) -> int:
        step = next(steps)
        batch = make_batch(f"tasks-{plan.seed}-replica-{number}", step, plan.batch_settings(config, work, part))
        return worker.gradients(batch, step, part)[1]

    return [parameter for _, parameter in worker.named_parameters()], compute


def train(config: Config, work: Path, device: str, plan: Plan) -> None:
    """Trains to `plan.examples` examples in all, resuming from work/model.pt."""
    if plan.replicas and device != "cpu":
        raise SystemExit("replicas are for CPUs: one process fills a GPU")
    trainer = Trainer(config, work, device, plan)
    feed = Feed(make_batch, f"tasks-{plan.seed}", plan.batch_settings(config, work, 0), plan.workers, trainer.step)
    replicas = Replicas(plan.replicas, [parameter for _, parameter in trainer.named_parameters()], replica,
                        (config, work, plan, trainer.step))
    clock, saver, began = checkpoint.Clock(plan.report_every), checkpoint.Clock(300), time.monotonic()
    average, first, deadline = None, trainer.examples, checkpoint.Deadline(plan.stop_after)
    print(f"tasks: {sum(p.numel() for p in trainer.model.parameters()):,} parameters, step {trainer.step}, "
          f"{trainer.examples} of {plan.examples} examples", flush=True)
    while trainer.part() < 1 and not deadline.passed():
        feed.change(most_things=plan.most_things(trainer.part()))
        loss = trainer.train_on(feed.get()[1], replicas)
        average = loss if average is None else 0.98 * average + 0.02 * loss
        if clock.due():
            seconds = time.monotonic() - began
            pace = (trainer.examples - first) / seconds
            print(f"tasks: {seconds:.0f} s, {trainer.examples} examples ({pace:.0f}/s), loss {average:.3f}", flush=True)
            if plan.report_cases:
                scores = quick_scores(trainer.model, trainer.words, trainer.codec, device, plan.report_cases)
                print(f"tasks: held out {scores}", flush=True)
        if saver.due():
            trainer.save()
    trainer.save()
    replicas.close()
    feed.close()
