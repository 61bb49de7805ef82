# SPDX-License-Identifier: Apache-2.0
"""How the published evaluator of segmentation reads an output: strictly, and with pixels of its own.

For who compares with published numbers. The server reads more (text before an object, several objects) and rounds
otherwise: bin / 1024 of the side to the nearest, where the evaluator takes bin / 1023 and cuts.
"""

from __future__ import annotations

from dataclasses import dataclass

LOCATIONS, CODES, BINS, CODEBOOK = 4, 16, 1024, 128


@dataclass(frozen=True)
class Strict:
    """The one object of a valid output."""

    bins: tuple[int, ...]  # y0, x0, y1, x1
    codes: tuple[int, ...]


def read(ids: list[int], loc_first: int, seg_first: int) -> Strict | None:
    """The first twenty tokens: four locations, sixteen codes, a box that is not empty; else None."""
    bins = tuple(token - loc_first for token in ids[:LOCATIONS])
    codes = tuple(token - seg_first for token in ids[LOCATIONS : LOCATIONS + CODES])
    whole = len(bins) == LOCATIONS and len(codes) == CODES
    if not whole or not all(0 <= bin_ < BINS for bin_ in bins) or not all(0 <= code < CODEBOOK for code in codes):
        return None
    return Strict(bins, codes) if bins[2] > bins[0] and bins[3] > bins[1] else None


def pixels(bins: tuple[int, ...], width: int, height: int) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 by the evaluator's rule."""
    y0, x0, y1, x1 = (int(bin_ / (BINS - 1) * side) for bin_, side in zip(bins, (height, width) * 2, strict=True))
    return x0, y0, x1, y1
