# SPDX-License-Identifier: Apache-2.0
"""Random checkpoints of the true shapes that exercise the model.

With the usual initialisation of 0.02 attention is nearly uniform, dropping a soft-cap changes nothing and every output
is one repeated token. So q and k are scaled for attention logits with a standard deviation near 40, embeddings are
small beside the image rows, and the final norm is large enough for the final soft-cap to bite.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from paligemma_export.architecture import Architecture
from paligemma_export.scratch import Scratch
from paligemma_export.source import slabs

ATTENTION_LOGIT_STD = 40.0
EMBEDDING_STD = 0.03  # an upper bound, see embedding_std
FINAL_LOGIT_STD = 9.0
EOS, EOS_FACTOR = 1, 1.6  # the end comes now and then, so that both ways to finish are seen


def embedding_std(numbers: Architecture) -> float:
    """Small enough that a token does not predict itself through the tied table.

    Its own logit is hidden * std / |residual| standard deviations; 2 * layers branches of about 1 make the residual.
    """
    return min(EMBEDDING_STD, 1.5 * math.sqrt(2 * numbers.layers) / numbers.hidden)


class RandomSource:
    """Every tensor depends on the seed and its own name only, so that any order of reading gives the same model."""

    def __init__(
        self,
        architecture: Architecture,
        seed: int,
        dtype: str,
        scratch: Scratch,
        attention_std: float = ATTENTION_LOGIT_STD,
    ):
        self.architecture, self.dtype = architecture, dtype
        self.description = f"random weights, seed {seed}"
        self.digest = hashlib.sha256(f"{architecture}/{seed}/{dtype}".encode()).hexdigest()
        self._seed, self._scratch, self._attention_std = seed, scratch, attention_std
        self._shapes = architecture.tensors()

    def tensor(self, name: str) -> Tensor:
        shape = self._shapes[name]
        target = self._scratch.tensor(shape, getattr(torch, self.dtype))
        generator = torch.Generator()
        word = hashlib.sha256(f"{self._seed}/{name}".encode()).digest()[:7]
        generator.manual_seed(int.from_bytes(word, "little"))
        mean, deviation = self._distribution(name, shape)
        for rows in slabs(shape[0], math.prod(shape[1:])):
            part = torch.randn((rows.stop - rows.start, *shape[1:]), generator=generator)
            target[rows] = part.mul_(deviation).add_(mean).to(target.dtype)
        if name == "language_model.embed_tokens.weight":
            target[EOS] = (target[EOS].float() * EOS_FACTOR).to(target.dtype)
        return target

    def _distribution(self, name: str, shape: tuple[int, ...]) -> tuple[float, float]:
        """Returns mean and standard deviation."""
        numbers = self.architecture
        fan_in = math.prod(shape[1:])
        if name == "language_model.embed_tokens.weight":
            return 0.0, embedding_std(numbers)
        if name == "language_model.norm.weight":
            return FINAL_LOGIT_STD / (embedding_std(numbers) * math.sqrt(numbers.hidden)) - 1, 0.3
        if name.startswith("language_model.") and len(shape) == 1:
            return 0.0, 0.3
        if "norm" in name:
            return (1.0, 0.2) if name.endswith("weight") else (0.0, 0.1)
        if len(shape) == 1:
            return 0.0, 0.1
        if name.endswith("position_embedding.weight"):
            return 0.0, 0.3
        if name.startswith("language_model.") and name.endswith(("q_proj.weight", "k_proj.weight")):
            element = math.sqrt(self._attention_std / (math.sqrt(numbers.head_dim) * numbers.query_scale))
            return 0.0, element / math.sqrt(fan_in)
        return 0.0, 1 / math.sqrt(fan_in)
