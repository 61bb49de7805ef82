# SPDX-License-Identifier: Apache-2.0
"""Other processes that learn beside the trainer: a small model gains nothing from a second thread of PyTorch, but a
second batch at the same time nearly doubles what is seen.

A replica reads the parameters as they are, computes gradients on pictures of its own and leaves them; the trainer takes
what is there when it makes a step, and neither waits for the other. So a gradient is a step or two old, a run with
replicas is not the same twice, and a replica whose core is wanted elsewhere only comes less often.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Called in the replica with the arguments given: its parameters, and what leaves the mean gradient in them at a part of
# the run and returns of how many examples.
MakeWork = Callable[..., tuple[list[nn.Parameter], Callable[[float], int]]]


@dataclass
class _Mailbox:
    """Between trainer and one replica. `gradients`, the mean over so many `examples`, belong to who holds `lock`; the
    replica joins what it finds to what was not taken yet."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    part: Any
    examples: Any
    lock: Any


class Replicas:
    """Owns `count` processes, each of which calls `make_work(*arguments, number)` once; parameters lie on the CPU."""

    def __init__(self, count: int, parameters: list[nn.Parameter], make_work: MakeWork, arguments: tuple[Any, ...]):
        context = multiprocessing.get_context("spawn")
        self._parameters = parameters
        self._shared = [parameter.detach().clone().share_memory_() for parameter in parameters] if count else []
        self._part = context.Value("d", 0.0)
        self._boxes = [_Mailbox(self._shared, [torch.zeros_like(shared).share_memory_() for shared in self._shared],
                                self._part, context.Value("q", 0), context.Lock()) for _ in range(count)]
        self._processes = [context.Process(target=_work, args=(make_work, (*arguments, number), box), daemon=True)
                           for number, box in enumerate(self._boxes, 1)]
        for process in self._processes:
            process.start()

    def add_gradients(self, examples: int) -> int:
        """Joins what is there with the trainer's own gradients, the mean of `examples`; returns of how many they are
        the mean now."""
        own = [parameter.grad for parameter in self._parameters]
        for box in self._boxes:
            with box.lock:
                examples = _join(own, examples, box.gradients, box.examples.value)
                box.examples.value = 0
        return examples

    @torch.no_grad()
    def publish(self, part: float) -> None:
        """Shows the parameters after a step, at `part` of the run."""
        self._part.value = part
        for shared, parameter in zip(self._shared, self._parameters, strict=False):
            shared.copy_(parameter)

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
            process.join()


def _join(mine: Sequence[Tensor | None], examples: int, others: Sequence[Tensor | None], more: int) -> int:
    """Makes `mine`, the mean over `examples`, the mean over those and `more`, in place; returns of how many it is. What
    mine lacks stays so."""
    total = examples + more
    if more:
        for gradient, other in zip(mine, others, strict=True):
            if gradient is not None:
                gradient.mul_(examples / total)
                if other is not None:
                    gradient.add_(other, alpha=more / total)
    return total


def _work(make_work: MakeWork, arguments: tuple[Any, ...], box: _Mailbox) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer stops, then stops its replicas
    parameters, compute = make_work(*arguments)
    trainer = multiprocessing.parent_process()
    while trainer is not None and trainer.is_alive():
        with torch.no_grad():
            for parameter, shared in zip(parameters, box.parameters, strict=True):
                parameter.copy_(shared)
                parameter.grad = None
        examples = compute(box.part.value)
        with box.lock:
            box.examples.value = _join(box.gradients, box.examples.value, [p.grad for p in parameters], examples)
