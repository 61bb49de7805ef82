# SPDX-License-Identifier: Apache-2.0
"""Other processes that learn beside the trainer: a small model gains nothing from a second thread of PyTorch, but a
second batch at the same time nearly doubles what is seen.

A replica reads the parameters as they are, computes gradients on pictures of its own and leaves them; the trainer takes
what is there when it makes a step and never waits. So a gradient is a step or two old, a run with replicas is not the
same twice, and a replica whose core is wanted elsewhere only comes less often.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Called in the replica with the arguments given: its parameters, and what leaves the mean gradient in them at a part of
# the run and returns of how many examples.
MakeWork = Callable[..., tuple[list[nn.Parameter], Callable[[float], int]]]


@dataclass
class _Mailbox:
    """Between trainer and one replica. `examples` is 0 while the replica computes, which `taken` tells it to begin."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    part: Any
    examples: Any
    taken: Any


class Replicas:
    """Owns `count` processes, each of which calls `make_work(*arguments, number)` once; parameters lie on the CPU."""

    def __init__(self, count: int, parameters: list[nn.Parameter], make_work: MakeWork, arguments: tuple[Any, ...]):
        context = multiprocessing.get_context("spawn")
        self._parameters = parameters
        self._shared = [parameter.detach().clone().share_memory_() for parameter in parameters] if count else []
        self._part = context.Value("d", 0.0)
        self._boxes = [_Mailbox(self._shared, [torch.zeros_like(shared).share_memory_() for shared in self._shared],
                                self._part, context.Value("q", 0), context.Event()) for _ in range(count)]
        self._processes = [context.Process(target=_work, args=(make_work, (*arguments, number), box), daemon=True)
                           for number, box in enumerate(self._boxes, 1)]
        for process in self._processes:
            process.start()

    def add_gradients(self, examples: int) -> int:
        """Joins what is there with the trainer's own gradients, the mean of `examples`; returns of how many they are
        the mean now."""
        ready = [box for box in self._boxes if box.examples.value]
        total = examples + sum(box.examples.value for box in ready)
        for index, parameter in enumerate(self._parameters):
            if ready and parameter.grad is not None:
                parameter.grad.mul_(examples / total)
                for box in ready:
                    parameter.grad.add_(box.gradients[index], alpha=box.examples.value / total)
        for box in ready:
            box.examples.value = 0
            box.taken.set()
        return total

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
        box.taken.clear()
        examples = compute(box.part.value)
        for parameter, gradient in zip(parameters, box.gradients, strict=True):
            gradient.zero_() if parameter.grad is None else gradient.copy_(parameter.grad)
        box.examples.value = examples
        while not box.taken.wait(5) and trainer.is_alive():
            pass
