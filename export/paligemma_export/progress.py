# SPDX-License-Identifier: Apache-2.0
"""Progress lines on standard error for whatever takes longer than a second."""

from __future__ import annotations

import sys
import time


class Progress:
    """Counts up to a total. Prints nothing in the first second, then a line that renews itself."""

    def __init__(self, what: str, total: int, enabled: bool = True):
        self._what, self._total, self._enabled = what, max(1, total), enabled
        self._done = 0
        self._started = self._printed = time.monotonic()
        self._shown = False

    def advance(self, amount: int) -> None:
        self._done += amount
        now = time.monotonic()
        if self._enabled and now - self._printed >= (
            0.5 if sys.stderr.isatty() else 5.0 if self._shown else 1.0
        ):
            self._printed, self._shown = now, True
            self._line(end="\r" if sys.stderr.isatty() else "\n")

    def note(self, text: str) -> None:
        """Prints a line about a step that cannot be counted, if the work takes long enough to show progress."""
        if self._shown:
            print(text, file=sys.stderr, flush=True)

    def finish(self) -> None:
        if self._shown:
            self._done = self._total
            self._line(end="\n")

    def _line(self, end: str) -> None:
        seconds = time.monotonic() - self._started
        share = min(1.0, self._done / self._total)
        left = seconds / share - seconds if share > 0 else 0
        print(
            f"{self._what}: {share:4.0%}, {seconds:.0f} s, about {left:.0f} s left ",
            end=end,
            file=sys.stderr,
            flush=True,
        )
