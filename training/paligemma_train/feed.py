# SPDX-License-Identifier: Apache-2.0
"""Worker processes that render ahead of the trainer. What comes out depends on the stream's name and the index
only, and comes in the order of the indices, however many workers there are."""

from __future__ import annotations

import multiprocessing
import queue
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from paligemma_train.scene import Scene

Maker = Callable[[str, int, dict[str, Any]], Any]


def pixels(scene: Scene, side: int) -> np.ndarray:
    """uint8 [side,side,3], squashed as the server does."""
    return np.asarray(scene.picture.resize((side, side), Image.Resampling.BICUBIC))


class Feed:
    """`make(stream, batch_index, settings)` runs in `workers` processes; settings may change on the way."""

    def __init__(self, make: Maker, stream: str, settings: dict[str, Any], workers: int, start: int = 0,
                 ahead: int = 6):
        context = multiprocessing.get_context("spawn")
        self._results = context.Queue(ahead)
        self._orders = context.Queue()
        self._settings, self._ordered, self._next = settings, start, start
        self._early: dict[int, Any] = {}
        self._workers = [context.Process(target=_work, args=(make, stream, self._orders, self._results), daemon=True)
                         for _ in range(workers)]
        for worker in self._workers:
            worker.start()
        for _ in range(ahead + workers):
            self._order()

    def change(self, **settings: Any) -> None:
        self._settings = {**self._settings, **settings}

    def get(self) -> tuple[int, Any]:
        """The next batch with its index."""
        self._order()
        while self._next not in self._early:
            try:
                index, batch = self._results.get(timeout=60)
                self._early[index] = batch
            except queue.Empty:
                if not any(worker.is_alive() for worker in self._workers):
                    raise RuntimeError("every rendering worker has died") from None
        self._next += 1
        return self._next - 1, self._early.pop(self._next - 1)

    def close(self) -> None:
        for worker in self._workers:
            worker.terminate()

    def _order(self) -> None:
        self._orders.put((self._ordered, self._settings))
        self._ordered += 1


def _work(make: Maker, stream: str, orders: Any, results: Any) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer stops, then stops its workers
    trainer = multiprocessing.parent_process()
    while trainer is not None and trainer.is_alive():
        try:
            index, settings = orders.get(timeout=5)
        except queue.Empty:
            continue
        results.put((index, make(stream, index, settings)))
