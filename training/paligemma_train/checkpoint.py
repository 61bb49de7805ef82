# SPDX-License-Identifier: Apache-2.0
"""Resumable state: written beside and renamed, so that a machine that goes away leaves the last whole one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch


def default_work() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "paligemma-serving" / "train-demo"


def save(path: Path, state: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".growing")
    torch.save(state, beside)
    os.replace(beside, path)


def load(path: Path) -> dict[str, Any] | None:
    """Returns None if there is no such file yet."""
    if not path.exists():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)


class Clock:
    """Reports when so many seconds have passed since its last report."""

    def __init__(self, seconds: float):
        self._seconds, self._last = seconds, time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


class Deadline:
    """Reports when to stop: after so many seconds, or soon after SIGTERM or SIGINT, so that the last state is saved."""

    stop_requested = False  # for the whole process

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_stop)

    def passed(self) -> bool:
        return Deadline.stop_requested or time.monotonic() > self._end

    def _request_stop(self, number: int, frame: object) -> None:
        Deadline.stop_requested = True
        signal.signal(number, signal.SIG_DFL)  # a second one ends at once
