# SPDX-License-Identifier: Apache-2.0
"""A source whose pictures are normalised in another way than the tower computes: folded into the patch embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from paligemma_export.architecture import Architecture
from paligemma_export.checkpoint_files import PictureRule
from paligemma_export.source import Source

_PATCH = "vision_tower.embeddings.patch_embedding."


class NormalizedSource:
    """The tower computes W x + b of x = (level / 255 - 0.5) / 0.5. The checkpoint wants W (scale * x + offset) + b,
    which is (W * scale) x + (b + W offset): the patches have no padding, so that this is exact but for rounding."""

    def __init__(self, source: Source, rule: PictureRule):
        self._source, self._rule = source, rule
        self.architecture: Architecture = source.architecture
        self.dtype, self.description, self.digest = source.dtype, source.description, source.digest

    def tensor(self, name: str) -> Tensor:
        values = self._source.tensor(name)
        if not name.startswith(_PATCH):
            return values
        kernel = self._source.tensor(_PATCH + "weight").double()  # [width, 3, patch, patch]
        if name == _PATCH + "weight":
            scale = torch.tensor(self._rule.scale, dtype=torch.float64)
            return (kernel * scale.view(1, 3, 1, 1)).float()
        offset = torch.tensor(self._rule.offset, dtype=torch.float64)
        return (values.double() + (kernel * offset.view(1, 3, 1, 1)).sum((1, 2, 3))).float()
