# SPDX-License-Identifier: Apache-2.0
"""Encodings of a weight matrix [N,K] and the reference product with each.

The dtype of `data` names the encoding:
  float32, bfloat16 [N,K]     no scale; x f32 times the weight upcast
  int8              [N,K]     scale f32 [N]; rows of x quantised to int8 too, exact int32 sums
  uint8             [N,K/2]   two 4-bit values a byte (low nibble = even k, value - 8), scale bf16 [N,K/32]; x as int8
  float8_e4m3fn     [N,K]     scale f32 [N]; weight-only
"""

from __future__ import annotations

import torch
from torch import Tensor

INT4_GROUP = 32
_SMALLEST = 1e-12
# int4 scales are the largest value of a group (with its sign, since -8 reaches further than 7) over minus one of these,
# whichever leaves the smallest squared error: above 8 the largest value is cut for the others' sake.
_INT4_REACHES = (7.5, 8.0, 8.5, 9.0)
_SMALLEST_ACTIVATION = 1e-30


def scale_dtype(encoding: str) -> torch.dtype:
    return torch.bfloat16 if encoding == "int4" else torch.float32


def storage(encoding: str, rows: int, columns: int) -> tuple[tuple[int, ...], torch.dtype, tuple[int, ...]]:
    """Returns shape and dtype of `data`, and the shape of `scale`."""
    if encoding in ("float32", "bfloat16"):
        return (rows, columns), getattr(torch, encoding), (0,)
    if encoding == "int8":
        return (rows, columns), torch.int8, (rows,)
    if encoding == "int4":
        if columns % INT4_GROUP:
            raise ValueError(f"int4 needs a multiple of {INT4_GROUP} columns, not {columns}")
        return (rows, columns // 2), torch.uint8, (rows, columns // INT4_GROUP)
    if encoding == "fp8":
        return (rows, columns), torch.float8_e4m3fn, (rows,)
    raise ValueError(f"unknown encoding {encoding!r}")


def encode(weight: Tensor, encoding: str) -> tuple[Tensor, Tensor]:
    """Returns (data, scale) of weight f32 [n,K]. Rows are independent, so that a matrix may be encoded in slabs."""
    if encoding in ("float32", "bfloat16"):
        return weight.to(getattr(torch, encoding)), torch.empty(0)
    if encoding == "int8":
        scale = weight.abs().amax(1).clamp_min(_SMALLEST) / 127
        return torch.round(weight / scale[:, None]).to(torch.int8), scale
    if encoding == "fp8":
        scale = weight.abs().amax(1).clamp_min(_SMALLEST) / 448
        return (weight / scale[:, None]).to(torch.float8_e4m3fn), scale
    if encoding == "int4":
        rows, columns = weight.shape
        values, scale = _encode_int4(weight.reshape(rows, columns // INT4_GROUP, INT4_GROUP))
        values = (values + 8).to(torch.uint8).view(rows, columns)
        return values[:, 0::2] | (values[:, 1::2] << 4), scale
    raise ValueError(f"unknown encoding {encoding!r}")


def _encode_int4(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Returns whole numbers in [-8,7] of the shape of f32 [n,groups,INT4_GROUP], and their scale bf16 [n,groups]."""
    largest = groups.gather(-1, groups.abs().argmax(-1, keepdim=True)).squeeze(-1)
    largest = torch.where(largest.abs() < _SMALLEST, torch.full_like(largest, _SMALLEST), largest)
    best: tuple[Tensor, Tensor, Tensor] | None = None
    for reach in _INT4_REACHES:
        scale = (largest / -reach).to(torch.bfloat16)
        wide = scale.float()[..., None]
        values = torch.round(groups / wide).clamp_(-8, 7)
        error = (values * wide - groups).square_().sum(-1)
        if best is None:
            best = values, scale, error
            continue
        better = error < best[2]
        best = (
            torch.where(better[..., None], values, best[0]),
            torch.where(better, scale, best[1]),
            torch.where(better, error, best[2]),
        )
    assert best is not None
    return best[0], best[1]


def unpack_int4(data: Tensor) -> Tensor:
    """Returns int8 [N,K] in [-8,7] of uint8 [N,K/2]."""
    low = (data & 15).to(torch.int8) - 8
    high = (data >> 4).to(torch.int8) - 8
    return torch.stack((low, high), -1).flatten(-2)


def decode(data: Tensor, scale: Tensor) -> Tensor:
    """Returns the matrix as f32 [N,K]."""
    if data.dtype in (torch.float32, torch.bfloat16):
        return data.float()
    if data.dtype == torch.uint8:
        values = unpack_int4(data).float()
        return values * scale.float().repeat_interleave(values.size(1) // scale.size(1), 1)
    return data.float() * scale[:, None]


def linear(x: Tensor, data: Tensor, scale: Tensor, aux: Tensor) -> Tensor:
    """Returns x f32 [M,K] times the transposed matrix, f32 [M,N]. `aux` belongs to packed forms; canonical ones have
    none."""
    if data.dtype in (torch.float32, torch.bfloat16):
        return x @ data.float().t()
    if data.dtype == torch.float8_e4m3fn:
        return (x @ data.float().t()) * scale
    row_scale = x.abs().amax(-1, keepdim=True).clamp_min(_SMALLEST_ACTIVATION) / 127.0
    quantized = torch.round(x / row_scale).to(torch.int8)
    if data.dtype == torch.int8:
        return _exact_product(quantized, data) * row_scale * scale
    if data.dtype == torch.uint8:
        values = unpack_int4(data)
        size = values.size(1) // scale.size(1)
        result = torch.zeros(x.size(0), values.size(0), device=x.device)
        for group in range(scale.size(1)):
            columns = slice(group * size, (group + 1) * size)
            result += _exact_product(quantized[:, columns], values[:, columns]) * scale[:, group].float()
        return result * row_scale
    raise ValueError(f"no encoding has dtype {data.dtype}")


def _exact_product(left: Tensor, right: Tensor) -> Tensor:
    """Returns the exact integers int8 [M,K] x int8 [N,K] as f32 [M,N]. float64 holds every int32 sum."""
    return (left.double() @ right.double().t()).float()
