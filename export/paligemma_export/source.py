# SPDX-License-Identifier: Apache-2.0
"""What every kind of checkpoint looks like to the converter: canonical tensor names, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from paligemma_export.architecture import Architecture
from paligemma_export.errors import ExportError

SLAB_BYTES = 64 << 20


class Source(Protocol):
    """A checkpoint. `tensor` may return a mapped or transposed view: read it in slabs of rows."""

    architecture: Architecture
    dtype: str
    description: str
    digest: str

    def tensor(self, name: str) -> Tensor: ...


def slabs(rows: int, columns: int) -> Iterator[slice]:
    """Yields row ranges of at most SLAB_BYTES in f32."""
    step = max(1, SLAB_BYTES // (4 * max(1, columns)))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def check_shapes(
    found: dict[str, tuple[int, ...]],
    expected: dict[str, tuple[int, ...]],
    where: str,
    spell: Callable[[str], str] = str,
) -> None:
    """Raises ExportError with the first few names or shapes that differ. `spell` turns a canonical name into the
    file's."""
    problems = [f"missing {spell(name)}" for name in expected if name not in found]
    problems += [f"unexpected {spell(name)}" for name in found if name not in expected]
    problems += [
        f"{spell(name)} has shape {list(found[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ExportError(f"{where}: " + "; ".join(problems[:3]) + more)


def check_finite(values: Tensor, name: str, where: str) -> None:
    if not bool(torch.isfinite(values).all()):
        raise ExportError(f"{where}: {name} holds NaN or infinity")
