# SPDX-License-Identifier: Apache-2.0
"""Generates greedily with a bundle's modules in plain PyTorch, one sequence at a time, over a paged KV cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

BLOCK = 4


def int32(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


@dataclass
class Answer:
    token_ids: list[int] = field(default_factory=list)
    finish: str = "length"
    logits: list[Tensor] = field(default_factory=list)  # f32 [vocab] of each step


class Runner:
    """Runs one prompt: image rows first, then text ids, then greedy tokens until EOS or the limit."""

    def __init__(
        self,
        decoder: nn.Module,
        layers: int,
        kv_heads: int,
        head_dim: int,
        positions: int = 256,
        kv_dtype: torch.dtype = torch.float32,
        more_eos: list[int] | None = None,
        suppressed: list[int] | None = None,
    ):
        """`more_eos` end an answer as EOS does, `suppressed` never come out."""
        self._more_eos, self._suppressed = more_eos or [], suppressed or []
        self.decoder = decoder
        self._blocks = -(-positions // BLOCK)
        shape = (layers, 2, self._blocks, kv_heads, BLOCK, head_dim)
        self._kv = torch.zeros(shape).to(kv_dtype)
        scaled = kv_dtype in (torch.int8, torch.float8_e4m3fn)
        self._kv_scale = torch.zeros(shape[:-1]) if scaled else torch.empty(0)
        generator = torch.Generator().manual_seed(1)
        self._table = torch.randperm(self._blocks, generator=generator).tolist()

    @classmethod
    def of_manifest(cls, decoder: nn.Module, content: dict[str, Any], **options: Any) -> Runner:
        """Makes a runner for the decoder of the bundle whose manifest is `content`."""
        numbers = content["architecture"]
        for name in ("more_eos", "suppressed"):
            options.setdefault(name, content["tokens"].get(name, []))
        return cls(decoder, numbers["layers"], numbers["kv_heads"], numbers["head_dim"], **options)

    def _slot(self, position: int) -> int:
        return self._table[position // BLOCK] * BLOCK + position % BLOCK

    def prompt_arguments(self, image_rows: Tensor, text_ids: list[int], last_only: bool = True) -> tuple:
        """Returns the arguments of forward or trace for the prefill of one prompt that begins with all image rows."""
        ids = [-(row + 1) for row in range(image_rows.size(0))] + text_ids
        count = len(ids)
        rows = int32([count - 1]) if last_only else int32([])
        return (
            int32(ids),
            int32(list(range(count))),
            int32([self._slot(p) for p in range(count)]),
            image_rows,
            self._kv,
            self._kv_scale,
            int32([0, count]),
            [count],
            torch.empty(0, 0, dtype=torch.int32),
            int32([]),
            rows,
            [],
            int32([]),
        )

    def step_arguments(self, image_rows: Tensor, token: int, position: int) -> tuple:
        """Returns the arguments of forward for one generated token."""
        return (
            int32([token]),
            int32([position]),
            int32([self._slot(position)]),
            image_rows,
            self._kv,
            self._kv_scale,
            int32([0]),
            [],
            int32([self._table]),
            int32([position + 1]),
            int32([]),
            [],
            int32([]),
        )

    def generate(
        self, image_rows: Tensor, text_ids: list[int], limit: int, eos: int = 1, keep_logits: bool = False
    ) -> Answer:
        answer = Answer()
        hidden = self.decoder.forward(*self.prompt_arguments(image_rows, text_ids))
        position = image_rows.size(0) + len(text_ids)
        while True:
            row = self.decoder.logits(hidden)[0]
            if keep_logits:
                answer.logits.append(row)
            if self._suppressed:
                row = row.index_fill(0, torch.tensor(self._suppressed), float("-inf"))
            token = int(row.argmax())
            if token == eos or token in self._more_eos:
                answer.finish = "stop"
                return answer
            answer.token_ids.append(token)
            if len(answer.token_ids) == limit:
                return answer
            hidden = self.decoder.forward(*self.step_arguments(image_rows, token, position))
            position += 1
