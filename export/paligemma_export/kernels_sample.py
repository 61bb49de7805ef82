# SPDX-License-Identifier: Apache-2.0
"""Reference kernel of the sampler, in plain PyTorch, one row at a time.

Noise is a stateless function of seed, counter and token id, so that every device, batch and tiling draws the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from paligemma_export import kernels_decoder

# Columns of params (f32 [R,4]) and controls (i32 [R,8]).
TEMPERATURE, TOP_P, MIN_P, REPETITION = range(4)
TOP_K, MASK_LINE, SEEN_LINE, FORCED, SEED_LOW, SEED_HIGH, COUNTER = range(7)
LOGPROBS_OF_ALLOWED = 1  # bit 0 of flags
_WORD = 0xFFFFFFFF


def _mix(x: Tensor) -> Tensor:
    """Returns the hash lowbias32 of int64 tensors that hold uint32 values."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _WORD
    return x ^ (x >> 16)


def gumbel_noise(seed_low: int, seed_high: int, counter: int, vocab: int) -> Tensor:
    """Returns f32 [vocab]: standard Gumbel noise for every token id."""
    first = _mix((seed_low & _WORD) ^ _mix(torch.tensor((counter + 0x9E3779B9) & _WORD)))
    second = _mix((seed_high & _WORD) ^ first)
    ids = torch.arange(vocab, dtype=torch.int64)
    bits = _mix((_mix(ids ^ first) + second) & _WORD)
    uniform = (bits.double() + 0.5).float() * 2.0**-32
    return -torch.log(-torch.log1p(-uniform))


def unpack_bits(words: Tensor, vocab: int) -> Tensor:
    """Returns bool [vocab] of i32 [ceil(vocab/32)]. Bit i%32 of word i//32 belongs to id i."""
    ids = torch.arange(vocab)
    return ((words[ids // 32].long() >> (ids % 32)) & 1).bool()


def _mark_seen(words: Tensor, token: int) -> None:
    bit = 1 << (token % 32)
    words[token // 32] |= torch.tensor(bit - (1 << 32) if bit == 1 << 31 else bit, dtype=torch.int32)


def _truncate(scores: Tensor, top_k: int, top_p: float, min_p: float) -> Tensor:
    """Sets to -inf what top-k excludes, then what min-p and top-p exclude. The scores are already divided by the
    temperature."""
    if top_k > 0:
        smallest = scores.topk(min(top_k, scores.numel())).values[-1]
        scores = scores.masked_fill(scores < smallest, -math.inf)
    if min_p > 0:
        scores = scores.masked_fill(scores < scores.max() + math.log(min_p), -math.inf)
    if top_p < 1:
        ordered, ids = scores.sort(descending=True, stable=True)
        probabilities = ordered.softmax(0)
        excluded = probabilities.cumsum(0) - probabilities >= top_p
        scores = scores.clone()
        scores[ids[excluded]] = -math.inf
    return scores


def _choose(row: Tensor, allowed: Tensor, params: list[float], controls: list[int], seen: Tensor) -> int:
    """Returns the token of one row. The order is repetition, mask, temperature, truncation, then the largest score with
    noise; of equal scores the lowest id wins."""
    if controls[FORCED] >= 0:
        return controls[FORCED]
    if params[REPETITION] != 1 and controls[SEEN_LINE] >= 0:
        penalised = torch.where(row > 0, row / params[REPETITION], row * params[REPETITION])
        row = torch.where(unpack_bits(seen[controls[SEEN_LINE]], row.numel()), penalised, row)
    row = row.masked_fill(~allowed, -math.inf)
    if params[TEMPERATURE] <= 0:
        return int(row.argmax())
    row = _truncate(row / params[TEMPERATURE], controls[TOP_K], params[TOP_P], params[MIN_P])
    return int(
        (row + gumbel_noise(controls[SEED_LOW], controls[SEED_HIGH], controls[COUNTER], row.numel())).argmax()
    )


def sample(hidden, table, table_scale, table_aux, vocab, softcap, params, controls, masks, seen, flags, top):
    """hidden f32 [R,H] -> ids i32 [R], logprob f32 [R], top ids i32 [R,top], top logprobs f32 [R,top] (top -1: none).

    Log-probabilities are of the soft-capped logits before penalties and temperature, over the whole vocabulary or,
    with flag bit 0, over the allowed ids.
    """
    raw = kernels_decoder.logits(hidden, table, table_scale, table_aux, vocab, softcap)
    count = raw.size(0)
    ids = torch.empty(count, dtype=torch.int32)
    logprobs = torch.empty(count if top >= 0 else 0)
    top_ids = torch.empty(count, max(top, 0), dtype=torch.int32)
    top_logprobs = torch.empty(count, max(top, 0))
    everything = torch.ones(vocab, dtype=torch.bool)
    for index in range(count):
        settings = controls[index].tolist()
        line = settings[MASK_LINE]
        allowed = unpack_bits(masks[line], vocab) if line >= 0 else everything
        token = _choose(raw[index], allowed, params[index].tolist(), settings, seen)
        ids[index] = token
        if settings[SEEN_LINE] >= 0:
            _mark_seen(seen[settings[SEEN_LINE]], token)
        if top < 0:
            continue
        row = raw[index].masked_fill(~allowed, -math.inf) if flags & LOGPROBS_OF_ALLOWED else raw[index]
        row = row.log_softmax(0)
        logprobs[index] = row[token]
        if top > 0:
            values, order = row.sort(descending=True, stable=True)
            top_ids[index], top_logprobs[index] = order[:top].int(), values[:top]
    return ids, logprobs, top_ids, top_logprobs
