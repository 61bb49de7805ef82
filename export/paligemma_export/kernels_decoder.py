# SPDX-License-Identifier: Apache-2.0
"""Reference kernels of the decoder's operators, in plain PyTorch. Names and order follow operators.txt.

Rows are T = prefill rows, prompt after prompt, then one row per cached sequence. Between operators flow `h` f32 [T,H],
the residual stream, and `y` f32 [T,H], the last branch before its post-norm (empty before the first layer).
"""

from __future__ import annotations

import torch
from torch import Tensor

from paligemma_export.quantization import linear


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Returns Gemma's norm of x: x / rms(x) * (1 + weight)."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * (1.0 + weight)


def add_branch(h: Tensor, y: Tensor, y_norm: Tensor, eps: float) -> Tensor:
    """Returns the residual stream with the pending branch added, or `h` itself if no branch is pending."""
    return h if y.numel() == 0 else h + rms_norm(y.float(), y_norm, eps)


def lora(x: Tensor, a: Tensor, b: Tensor, index: Tensor, bounds: list[int]) -> Tensor:
    """Returns the low-rank update [T,N] of a [n,s,r,K] and b [n,N,r]. Each pair of bounds is a segment. Rows whose
    index
    is -1 are zero."""
    update = torch.zeros(x.size(0), b.size(1), device=x.device)
    for adapter in index.unique().tolist():
        if adapter < 0:
            continue
        rows = (index == adapter).nonzero().flatten()
        for segment in range(len(bounds) - 1):
            low, high = bounds[segment], bounds[segment + 1]
            inner = x[rows] @ a[adapter, segment].float().t()
            update[rows, low:high] += inner @ b[adapter, low:high].float().t()
    return update


def apply_rope(x: Tensor, rope: Tensor) -> Tensor:
    """Returns x [T,heads,D] rotated by split halves. rope [T,D] holds D/2 cosines, then D/2 sines."""
    half = x.size(-1) // 2
    cos, sin = rope[:, None, :half], rope[:, None, half:]
    first, second = x[..., :half], x[..., half:]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, softcap: float) -> Tensor:
    """Returns [m,heads*D] of q [m,heads,D] and of k and v [n,kv_heads,D]. Every query sees every key."""
    group = q.size(1) // k.size(1)
    k = k.repeat_interleave(group, 1)
    v = v.repeat_interleave(group, 1)
    scores = torch.einsum("mhd,nhd->hmn", q, k) * scale
    if softcap > 0:
        scores = torch.tanh(scores / softcap) * softcap
    return torch.einsum("hmn,nhd->mhd", torch.softmax(scores, -1), v).flatten(1)


def embed(ids, image_rows, table, table_scale, table_aux, scale, vocab):
    """Returns f32 [T,H] of ids i32 [T]. Token rows are scaled. A negative id names image row -(id+1), copied bit
    by bit."""
    rows = ids.clamp(0, vocab - 1).long()
    text = table[rows]
    if table_scale.numel():
        text = text.float() * table_scale[rows][:, None] * scale
    else:
        text = (text * torch.tensor(scale, dtype=text.dtype, device=text.device)).float()
    if image_rows.size(0) == 0:
        return text
    image = image_rows[(-ids - 1).clamp(0, image_rows.size(0) - 1).long()].float()
    return torch.where((ids < 0)[:, None], image, text)


def rope(positions, head_dim, theta):
    """Returns f32 [T,head_dim] of positions i32 [T]: cosines, then sines."""
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
    angles = positions.float()[:, None] * (1.0 / (theta**exponent))
    return torch.cat((angles.cos(), angles.sin()), -1)


def write_pages(kv, kv_scale, layer, which, slots, values):
    """Stores values f32 [T,kv_heads,D] at their slots (a slot of -1 stores nothing). Pages in
    int8 and fp8 have one scale for each head."""
    kept = (slots >= 0).nonzero().flatten()
    size = kv.size(4)
    blocks, offsets = (slots[kept] // size).long()[:, None], (slots[kept] % size).long()[:, None]
    heads = torch.arange(kv.size(3), device=kv.device)[None]
    values = values[kept]
    if kv_scale.numel():
        largest = 127.0 if kv.dtype == torch.int8 else 448.0
        scales = values.abs().amax(-1).clamp_min(1e-12) / largest
        values = values / scales[..., None]
        if kv.dtype == torch.int8:
            values = torch.round(values)
        kv_scale[layer, which].index_put_((blocks, heads, offsets), scales)
    if kv.dtype == torch.float8_e4m3fn:
        bits = values.to(kv.dtype).view(torch.uint8)
        kv.view(torch.uint8)[layer, which].index_put_((blocks, heads, offsets), bits)
    else:
        kv[layer, which].index_put_((blocks, heads, offsets), values.to(kv.dtype))


def read_pages(kv, kv_scale, layer, which, table):
    """Returns the pages of one sequence as f32 [len(table)*B,kv_heads,D]."""
    if kv.dtype == torch.float8_e4m3fn:
        pages = kv.view(torch.uint8)[layer, which, table].view(kv.dtype).float()
    else:
        pages = kv[layer, which, table].float()
    if kv_scale.numel():
        pages = pages * kv_scale[layer, which, table][..., None]
    return pages.transpose(1, 2).reshape(-1, kv.size(3), kv.size(5))


def attention(
    h,
    y,
    y_norm,
    norm,
    qkv,
    qkv_scale,
    qkv_aux,
    out,
    out_scale,
    out_aux,
    rope,
    kv,
    kv_scale,
    slots,
    prefill_start,
    prefill_lengths,
    block_table,
    context,
    rows,
    adapters,
    adapter_index,
    layer,
    heads,
    kv_heads,
    head_dim,
    eps,
    scale,
    softcap,
    window,
):
    """Returns (h, y) of one layer's attention branch, both f32 [T,H], or [R,H] if `rows` keeps R rows.

    All writes to the pages precede all reads, so that cached rows may continue a prompt of the same step.
    """
    h = h.clone() if y.numel() == 0 else add_branch(h, y, y_norm, eps)
    x = rms_norm(h, norm, eps)
    projected = linear(x, qkv, qkv_scale, qkv_aux)
    queries, keys = heads * head_dim, kv_heads * head_dim
    if len(adapters):
        bounds = [0, queries, queries + keys, queries + 2 * keys]
        projected = projected + lora(x, adapters[0][layer], adapters[1][layer], adapter_index, bounds)
    q = apply_rope(projected[:, :queries].reshape(-1, heads, head_dim), rope)
    k = apply_rope(projected[:, queries : queries + keys].reshape(-1, kv_heads, head_dim), rope)
    v = projected[:, queries + keys :].reshape(-1, kv_heads, head_dim)
    write_pages(kv, kv_scale, layer, 0, slots, k)
    write_pages(kv, kv_scale, layer, 1, slots, v)
    if kv.dtype == torch.bfloat16:
        k, v = k.bfloat16().float(), v.bfloat16().float()
    prefilled = attend_prompts(q, k, v, prefill_lengths, scale, softcap)
    cached = attend_cached(
        q[sum(prefill_lengths) :], kv, kv_scale, layer, block_table, context, scale, softcap, window
    )
    mixed = torch.cat((prefilled, cached))
    if rows.numel():
        h, mixed = h.index_select(0, rows), mixed.index_select(0, rows)
        if adapter_index.numel():
            adapter_index = adapter_index.index_select(0, rows)
    branch = linear(mixed, out, out_scale, out_aux)
    if len(adapters):
        branch = branch + lora(
            mixed, adapters[2][layer], adapters[3][layer], adapter_index, [0, branch.size(1)]
        )
    return h, branch


def attend_prompts(q, k, v, lengths, scale, softcap):
    """Computes prefill rows. Each row sees the whole of its own prompt, whose keys are rows of this step."""
    pieces = [q.new_empty(0, q.size(1) * q.size(2))]
    start = 0
    for length in lengths:
        own = slice(start, start + length)
        pieces.append(attend(q[own], k[own], v[own], scale, softcap))
        start += length
    return torch.cat(pieces)


def attend_cached(q, kv, kv_scale, layer, block_table, context, scale, softcap, window):
    """Computes cached rows. Row i sees the last `window` (0: all) of its first context[i] keys. A context of 0 gives
    zeros."""
    result = torch.zeros(block_table.size(0), q.size(1) * q.size(2), device=q.device)
    size = kv.size(4)
    for row in range(block_table.size(0)):
        count = int(context[row])
        if count == 0:
            continue
        first = max(0, count - window) if window > 0 else 0
        table = block_table[row, : (count + size - 1) // size].long()
        k = read_pages(kv, kv_scale, layer, 0, table)[first:count]
        v = read_pages(kv, kv_scale, layer, 1, table)[first:count]
        result[row] = attend(q[row : row + 1], k, v, scale, softcap)[0]
    return result


def mlp(
    h,
    y,
    y_norm,
    norm,
    gate_up,
    gate_up_scale,
    gate_up_aux,
    down,
    down_scale,
    down_aux,
    adapters,
    adapter_index,
    layer,
    intermediate,
    eps,
):
    """Returns (h, y) of one layer's GeGLU branch, both f32 [T,H]."""
    h = h.clone() if y.numel() == 0 else add_branch(h, y, y_norm, eps)
    x = rms_norm(h, norm, eps)
    both = linear(x, gate_up, gate_up_scale, gate_up_aux)
    if len(adapters):
        bounds = [0, intermediate, 2 * intermediate]
        both = both + lora(x, adapters[4][layer], adapters[5][layer], adapter_index, bounds)
    gated = torch.nn.functional.gelu(both[:, :intermediate], approximate="tanh") * both[:, intermediate:]
    branch = linear(gated, down, down_scale, down_aux)
    if len(adapters):
        branch = branch + lora(
            gated, adapters[6][layer], adapters[7][layer], adapter_index, [0, branch.size(1)]
        )
    return h, branch


def residual(h, y, y_norm, eps):
    """Returns the residual stream with the pending branch added, f32 [T,H]."""
    return add_branch(h, y, y_norm, eps).clone()


def finish(h, y, y_norm, norm, eps):
    """Adds the last branch and returns the final norm, f32 [R,H]."""
    return rms_norm(add_branch(h, y, y_norm, eps), norm, eps)


def logits(hidden, table, table_scale, table_aux, vocab, softcap):
    """Returns logits f32 [R,vocab] of hidden f32 [R,H], soft-capped if a final soft-cap is set."""
    raw = linear(hidden, table, table_scale, table_aux)[:, :vocab]
    return torch.tanh(raw / softcap) * softcap if softcap > 0 else raw


def copy_blocks(kv, kv_scale, source, target):
    """Copies whole blocks of every layer. source and target are i32 [n]."""
    pages = kv.view(torch.uint8) if kv.dtype == torch.float8_e4m3fn else kv
    pages[:, :, target.long()] = pages[:, :, source.long()]
    if kv_scale.numel():
        kv_scale[:, :, target.long()] = kv_scale[:, :, source.long()]
