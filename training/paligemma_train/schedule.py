# SPDX-License-Identifier: Apache-2.0
"""The progress of a stage, by examples or by time, and the learning rate that follows from it."""

from __future__ import annotations

import time

_WARM_STEPS = 50
HELD = 0.6  # of a run at the full rate, then straight down to the end


class Progress:
    """Part 0 to 1 of a run. With a budget, the run is as long as its seconds, so that the rate has run out when they
    have; without, it is as long as the stage. The full rate holds for the part `held` of it."""

    def __init__(self, total: int, budget: float | None, held: float = HELD):
        self._total, self._budget, self._held, self._began = total, budget, held, time.monotonic()
        self._steps = 0

    def part(self, seen: int) -> float:
        if self._budget is None:
            return min(1.0, seen / self._total)
        return min(1.0, (time.monotonic() - self._began) / self._budget)

    def rate(self, seen: int) -> float:
        """Returns the rate of the coming step. Call it once for each step, since a resumed run warms up anew."""
        self._steps += 1
        return min(1.0, self._steps / _WARM_STEPS) * held_then_down(self.part(seen), self._held)


def held_then_down(part: float, held: float) -> float:
    return 1.0 if part < held else max(0.01, (1 - part) / (1 - held))
