# SPDX-License-Identifier: Apache-2.0
"""Tensors in memory-mapped scratch files, so that a model of any size converts in little resident memory."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor


class Scratch:
    """Allocates file-backed tensors below a directory. The caller that made the directory removes it."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._count = 0
        directory.mkdir(parents=True, exist_ok=True)

    def tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Returns a zero tensor of the shape. Small tensors live in memory."""
        size = math.prod(shape)
        if size < 4096:
            return torch.zeros(shape, dtype=dtype)
        self._count += 1
        path = self._directory / f"{self._count:05d}"
        stored = torch.uint8 if dtype.itemsize == 1 else dtype
        mapped = torch.from_file(str(path), shared=True, size=size, dtype=stored)
        path.unlink()  # the mapping keeps the file until the tensor dies
        return mapped.view(dtype).view(shape)
