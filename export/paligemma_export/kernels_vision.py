# SPDX-License-Identifier: Apache-2.0
"""Reference kernels of the vision tower's operators, in plain PyTorch. `h` is f32 [B*N,hidden] throughout."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import gelu

from paligemma_export import kernels_decoder
from paligemma_export.quantization import linear


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return torch.nn.functional.layer_norm(x, (x.size(-1),), weight, bias, eps)


def patch_embed(pixels, lut, w, w_scale, w_aux, bias, position, patch):
    """pixels uint8 [B,S,S,3] through the table `lut` f32 [256], or f32 taken as normalised -> f32 [B*N,hidden]."""
    x = lut[pixels.long()] if pixels.dtype == torch.uint8 else pixels.float()
    batch, grid = x.size(0), x.size(1) // patch
    x = x.view(batch, grid, patch, grid, patch, 3).permute(0, 1, 3, 2, 4, 5).reshape(batch * grid * grid, -1)
    patches = linear(x, w, w_scale, w_aux) + bias
    return (patches.view(batch, grid * grid, -1) + position).flatten(0, 1)


def vision_attention(
    h,
    norm,
    norm_bias,
    qkv,
    qkv_scale,
    qkv_aux,
    qkv_bias,
    out,
    out_scale,
    out_aux,
    out_bias,
    tokens,
    heads,
    head_dim,
    eps,
):
    """Returns h plus full self-attention within each image of `tokens` rows."""
    x = layer_norm(h, norm, norm_bias, eps)
    projected = (linear(x, qkv, qkv_scale, qkv_aux) + qkv_bias).view(-1, tokens, 3, heads, head_dim)
    mixed = torch.cat(
        [
            kernels_decoder.attend(image[:, 0], image[:, 1], image[:, 2], head_dim**-0.5, 0.0)
            for image in projected
        ]
    )
    return h + (linear(mixed, out, out_scale, out_aux) + out_bias)


def vision_mlp(
    h,
    norm,
    norm_bias,
    fc1,
    fc1_scale,
    fc1_aux,
    fc1_bias,
    fc2,
    fc2_scale,
    fc2_aux,
    fc2_bias,
    intermediate,
    eps,
):
    """Returns h plus the two-layer perceptron with tanh-GELU."""
    x = layer_norm(h, norm, norm_bias, eps)
    inner = gelu(linear(x, fc1, fc1_scale, fc1_aux) + fc1_bias, approximate="tanh")
    return h + (linear(inner, fc2, fc2_scale, fc2_aux) + fc2_bias)


def project(h, norm, norm_bias, w, w_scale, w_aux, bias, hidden, eps):
    """Applies the last LayerNorm and the projection to the decoder; returns f32 [B*N,hidden]."""
    return linear(layer_norm(h, norm, norm_bias, eps), w, w_scale, w_aux) + bias
