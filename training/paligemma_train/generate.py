# SPDX-License-Identifier: Apache-2.0
"""Greedy answers in plain PyTorch, with a cache of keys and values."""

from __future__ import annotations

import numpy as np
import torch

from paligemma_train.model import PaliGemma
from paligemma_train.vocabulary import EOS, Vocabulary


@torch.no_grad()
def answers(model: PaliGemma, words: Vocabulary, pictures: np.ndarray, prompts: list[str], device: str,
            most: int = 96, batch: int = 64) -> list[list[int]]:
    """pictures uint8 [n,S,S,3] -> the ids of each answer without eos. Prompts of one length go together."""
    encoded = [words.prompt(prompt) for prompt in prompts]
    results: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]))
    start = 0
    while start < len(order):
        length = len(encoded[order[start]])
        chosen = [index for index in order[start:start + batch] if len(encoded[index]) == length]
        start += len(chosen)
        ids = torch.tensor([encoded[index] for index in chosen], device=device)
        for index, answer in zip(chosen, _greedy(model, pictures[chosen], ids, device, most), strict=True):
            results[index] = answer
    return results


def _greedy(model: PaliGemma, pictures: np.ndarray, ids: torch.Tensor, device: str, most: int) -> list[list[int]]:
    caches: list[list[torch.Tensor]] = [[] for _ in model.language_model.layers]
    with torch.autocast(device.split(":")[0], torch.bfloat16):
        image_rows = model.encode_images(torch.from_numpy(pictures).to(device))[1]
        prefix = torch.full((len(ids),), ids.size(1), device=device)
        hidden = model.hidden(image_rows, ids, prefix, caches)[:, -1:]
        position = image_rows.size(1) + ids.size(1)
        produced = []
        done = torch.zeros(len(ids), dtype=torch.bool, device=device)
        for step in range(most):
            token = model.logits(hidden)[:, 0].argmax(-1)
            token = token.masked_fill(done, EOS)
            produced.append(token)
            done |= token == EOS
            if done.all():
                break
            hidden = model.step(token[:, None], position + step, None, caches)
    rows = torch.stack(produced, 1).tolist()
    return [row[:row.index(EOS)] if EOS in row else row for row in rows]
