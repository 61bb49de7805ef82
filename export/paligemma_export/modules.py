# SPDX-License-Identifier: Apache-2.0
"""The TorchScript modules of a bundle. They only call paligemma:: operators; architecture numbers are Final
attributes, which the server compares with the manifest (as module constants they are found by `module.attr(name)`).

Arguments are described in kernels_decoder.py and kernels_vision.py; T rows, S prompts, D cached rows, R kept rows.
"""

import torch
from torch import Tensor, nn
from torch.jit import Final

from paligemma_export import operators as _operators  # noqa: F401  (declares torch.ops.paligemma)
from paligemma_export.architecture import Architecture


class Matrix(nn.Module):
    """A weight matrix in one of the encodings of quantization.py; operators take its three buffers."""

    def __init__(self, data: Tensor, scale: Tensor | None = None):
        super().__init__()
        self.register_buffer("data", data)
        self.register_buffer("scale", torch.empty(0) if scale is None else scale)
        self.register_buffer("aux", torch.empty(0))


class DecoderLayer(nn.Module):
    layer: Final[int]
    heads: Final[int]
    kv_heads: Final[int]
    head_dim: Final[int]
    intermediate: Final[int]
    eps: Final[float]
    scale: Final[float]
    softcap: Final[float]
    window: Final[int]

    def __init__(
        self, numbers: Architecture, layer: int, norms: dict[str, Tensor], matrices: dict[str, Matrix]
    ):
        super().__init__()
        self.layer, self.window = layer, numbers.windows[layer]
        self.heads, self.kv_heads, self.head_dim = numbers.heads, numbers.kv_heads, numbers.head_dim
        self.intermediate, self.eps = numbers.intermediate, numbers.eps
        self.scale, self.softcap = numbers.query_scale, numbers.attention_softcap
        for name in ("input_norm", "post_attention_norm", "pre_mlp_norm", "post_mlp_norm"):
            self.register_buffer(name, norms[name])
        self.qkv, self.out = matrices["qkv"], matrices["out"]
        self.gate_up, self.down = matrices["gate_up"], matrices["down"]

    def forward(
        self,
        h: Tensor,
        y: Tensor,
        y_norm: Tensor,
        rope: Tensor,
        kv: Tensor,
        kv_scale: Tensor,
        slots: Tensor,
        prefill_start: Tensor,
        prefill_lengths: list[int],
        block_table: Tensor,
        context: Tensor,
        rows: Tensor,
        adapters: list[Tensor],
        adapter_index: Tensor,
        kept_adapter_index: Tensor,
    ) -> tuple[Tensor, Tensor]:
        h, y = torch.ops.paligemma.attention(
            h,
            y,
            y_norm,
            self.input_norm,
            self.qkv.data,
            self.qkv.scale,
            self.qkv.aux,
            self.out.data,
            self.out.scale,
            self.out.aux,
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
            self.layer,
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.eps,
            self.scale,
            self.softcap,
            self.window,
        )
        h, y = torch.ops.paligemma.mlp(
            h,
            y,
            self.post_attention_norm,
            self.pre_mlp_norm,
            self.gate_up.data,
            self.gate_up.scale,
            self.gate_up.aux,
            self.down.data,
            self.down.scale,
            self.down.aux,
            adapters,
            kept_adapter_index,
            self.layer,
            self.intermediate,
            self.eps,
        )
        return h, y


class Decoder(nn.Module):
    vocab: Final[int]
    hidden: Final[int]
    num_layers: Final[int]
    heads: Final[int]
    kv_heads: Final[int]
    head_dim: Final[int]
    theta: Final[float]
    first_position: Final[int]
    eps: Final[float]
    embed_scale: Final[float]
    final_softcap: Final[float]

    def __init__(
        self,
        numbers: Architecture,
        embed_scale: float,
        embedding: Matrix,
        layers: list[DecoderLayer],
        norm: Tensor,
    ):
        super().__init__()
        self.vocab, self.hidden, self.num_layers = numbers.vocab, numbers.hidden, numbers.layers
        self.heads, self.kv_heads, self.head_dim = numbers.heads, numbers.kv_heads, numbers.head_dim
        self.theta, self.eps = numbers.rope_theta, numbers.eps
        self.first_position = numbers.first_position
        self.embed_scale, self.final_softcap = embed_scale, numbers.final_softcap
        self.embedding = embedding
        self.layers = nn.ModuleList(layers)
        self.register_buffer("norm", norm)
        self.register_buffer("none", torch.empty(0))
        self.register_buffer("none_index", torch.empty(0, dtype=torch.int32))

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        image_rows: Tensor,
        kv: Tensor,
        kv_scale: Tensor,
        prefill_start: Tensor,
        prefill_lengths: list[int],
        block_table: Tensor,
        context: Tensor,
        rows: Tensor,
        adapters: list[Tensor],
        adapter_index: Tensor,
    ) -> Tensor:
        """Returns f32 [R,H] after the final norm: the rows that `rows` names, or all of them."""
        h = torch.ops.paligemma.embed(
            ids,
            image_rows,
            self.embedding.data,
            self.embedding.scale,
            self.embedding.aux,
            self.embed_scale,
            self.vocab,
        )
        rope = torch.ops.paligemma.rope(positions + self.first_position, self.head_dim, self.theta)
        y, y_norm = self.none, self.none
        kept_adapter_index = adapter_index
        if rows.numel() > 0 and adapter_index.numel() > 0:
            kept_adapter_index = adapter_index.index_select(0, rows)
        for i, layer in enumerate(self.layers):
            if i < self.num_layers - 1:
                h, y = layer(
                    h,
                    y,
                    y_norm,
                    rope,
                    kv,
                    kv_scale,
                    slots,
                    prefill_start,
                    prefill_lengths,
                    block_table,
                    context,
                    self.none_index,
                    adapters,
                    adapter_index,
                    adapter_index,
                )
            else:
                h, y = layer(
                    h,
                    y,
                    y_norm,
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
                    kept_adapter_index,
                )
            y_norm = layer.post_mlp_norm
        return torch.ops.paligemma.finish(h, y, y_norm, self.norm, self.eps)

    @torch.jit.export
    def trace(
        self,
        ids: Tensor,
        positions: Tensor,
        slots: Tensor,
        image_rows: Tensor,
        kv: Tensor,
        kv_scale: Tensor,
        prefill_start: Tensor,
        prefill_lengths: list[int],
        block_table: Tensor,
        context: Tensor,
        rows: Tensor,
        adapters: list[Tensor],
        adapter_index: Tensor,
    ) -> list[Tensor]:
        """Returns the embedding and the residual stream of every layer, each f32 [T,H] with all rows. For parity
        tests."""
        h = torch.ops.paligemma.embed(
            ids,
            image_rows,
            self.embedding.data,
            self.embedding.scale,
            self.embedding.aux,
            self.embed_scale,
            self.vocab,
        )
        rope = torch.ops.paligemma.rope(positions + self.first_position, self.head_dim, self.theta)
        y, y_norm = self.none, self.none
        states = [h]
        for layer in self.layers:
            h, y = layer(
                h,
                y,
                y_norm,
                rope,
                kv,
                kv_scale,
                slots,
                prefill_start,
                prefill_lengths,
                block_table,
                context,
                self.none_index,
                adapters,
                adapter_index,
                adapter_index,
            )
            y_norm = layer.post_mlp_norm
            states.append(torch.ops.paligemma.residual(h, y, y_norm, self.eps))
        return states

    @torch.jit.export
    def logits(self, hidden: Tensor) -> Tensor:
        """Returns soft-capped logits f32 [R,vocab] of f32 [R,H]. For parity tests: the server samples without it."""
        return torch.ops.paligemma.logits(
            hidden,
            self.embedding.data,
            self.embedding.scale,
            self.embedding.aux,
            self.vocab,
            self.final_softcap,
        )


class VisionLayer(nn.Module):
    tokens: Final[int]
    heads: Final[int]
    head_dim: Final[int]
    intermediate: Final[int]
    eps: Final[float]

    def __init__(self, numbers: Architecture, vectors: dict[str, Tensor], matrices: dict[str, Matrix]):
        super().__init__()
        vision = numbers.vision
        self.tokens, self.heads, self.head_dim = vision.tokens, vision.heads, vision.head_dim
        self.intermediate, self.eps = vision.intermediate, vision.eps
        for name in (
            "norm1",
            "norm1_bias",
            "norm2",
            "norm2_bias",
            "qkv_bias",
            "out_bias",
            "fc1_bias",
            "fc2_bias",
        ):
            self.register_buffer(name, vectors[name])
        self.qkv, self.out, self.fc1, self.fc2 = (matrices[name] for name in ("qkv", "out", "fc1", "fc2"))

    def forward(self, h: Tensor) -> Tensor:
        h = torch.ops.paligemma.vision_attention(
            h,
            self.norm1,
            self.norm1_bias,
            self.qkv.data,
            self.qkv.scale,
            self.qkv.aux,
            self.qkv_bias,
            self.out.data,
            self.out.scale,
            self.out.aux,
            self.out_bias,
            self.tokens,
            self.heads,
            self.head_dim,
            self.eps,
        )
        return torch.ops.paligemma.vision_mlp(
            h,
            self.norm2,
            self.norm2_bias,
            self.fc1.data,
            self.fc1.scale,
            self.fc1.aux,
            self.fc1_bias,
            self.fc2.data,
            self.fc2.scale,
            self.fc2.aux,
            self.fc2_bias,
            self.intermediate,
            self.eps,
        )


class Vision(nn.Module):
    patch: Final[int]
    tokens: Final[int]
    hidden: Final[int]
    eps: Final[float]

    def __init__(
        self,
        numbers: Architecture,
        vectors: dict[str, Tensor],
        patches: Matrix,
        layers: list[VisionLayer],
        projector: Matrix,
    ):
        super().__init__()
        vision = numbers.vision
        self.patch, self.tokens, self.eps = vision.patch, vision.tokens, vision.eps
        self.hidden = numbers.hidden
        for name in ("patch_bias", "position", "norm", "norm_bias", "projector_bias"):
            self.register_buffer(name, vectors[name])
        self.register_buffer("lut", normalisation_table())
        self.patches, self.projector = patches, projector
        self.layers = nn.ModuleList(layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns f32 [B*tokens,hidden] of RGB pixels uint8 [B,S,S,3]. The rows stand in the place of image tokens."""
        h = torch.ops.paligemma.patch_embed(
            pixels,
            self.lut,
            self.patches.data,
            self.patches.scale,
            self.patches.aux,
            self.patch_bias,
            self.position,
            self.patch,
        )
        for layer in self.layers:
            h = layer(h)
        return torch.ops.paligemma.project(
            h,
            self.norm,
            self.norm_bias,
            self.projector.data,
            self.projector.scale,
            self.projector.aux,
            self.projector_bias,
            self.hidden,
            self.eps,
        )


def normalisation_table() -> Tensor:
    """Returns f32 [256]: (byte / 255 - 0.5) / 0.5 of every byte, rounded in the same order as the reference rounds."""
    return (torch.arange(256, dtype=torch.float64) / 255).float().sub(0.5).div(0.5)
