# SPDX-License-Identifier: Apache-2.0
"""Turns a source into the Decoder and Vision modules, one slab of rows at a time, in scratch files."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from paligemma_export.errors import ExportError
from paligemma_export.manifest import RECIPE_PARTS
from paligemma_export.modules import Decoder, DecoderLayer, Matrix, Vision, VisionLayer
from paligemma_export.progress import Progress
from paligemma_export.quantization import INT4_GROUP, encode, scale_dtype, storage
from paligemma_export.scratch import Scratch
from paligemma_export.source import Source, check_finite, slabs

QUANTIZATIONS = ("none", "int8", "int4", "fp8", "mixed")
VISION_ENCODINGS = ("bfloat16", "int8")

# The encoding of each part's matrices. The embedding is the matrix of the logits, too. The vision tower suffers first
# from quantisation, and it is read once an image and not once a token, so that it stays bfloat16 by default.
_RECIPES = {
    "int8": {"embedding": "int8", "attention": "int8", "mlp": "int8", "vision": "bfloat16"},
    "int4": {"embedding": "int8", "attention": "int4", "mlp": "int4", "vision": "bfloat16"},
    "fp8": {"embedding": "fp8", "attention": "fp8", "mlp": "fp8", "vision": "bfloat16"},
    "mixed": {"embedding": "int8", "attention": "int8", "mlp": "int4", "vision": "bfloat16"},
}


def recipe(dtype: str, quantization: str, vision: str | None = None) -> dict[str, str]:
    """Returns the encoding of each part's matrices, as the manifest names it. Everything else stays float32.

    `vision` replaces what the quantisation has for the tower.
    """
    encodings = dict(_RECIPES.get(quantization) or dict.fromkeys(RECIPE_PARTS, dtype))
    if vision is not None:
        encodings["vision"] = vision
    return encodings


@dataclass
class Converter:
    """Builds the modules of a source. `dtype` is the plain encoding of what is not quantised; `vision_encoding` is
    the tower's, if not the quantisation's own."""

    source: Source
    dtype: str
    quantization: str
    scratch: Scratch
    progress: Progress
    vision_encoding: str | None = None

    def __post_init__(self) -> None:
        self.encodings = recipe(self.dtype, self.quantization, self.vision_encoding)
        numbers = self.source.architecture
        numbers.check()
        for part, widths in (
            ("attention", (numbers.hidden, numbers.query_rows)),
            ("mlp", (numbers.hidden, numbers.intermediate)),
        ):
            if self.encodings[part] == "int4" and any(width % INT4_GROUP for width in widths):
                raise ExportError(
                    f"--quantize={self.quantization}: int4 needs widths that are multiples of "
                    f"{INT4_GROUP}, the {part} matrices have {widths}"
                )

    def decoder(self) -> Decoder:
        numbers = self.source.architecture
        embedding = self._matrix(["language_model.embed_tokens.weight"], "embedding", rows=numbers.vocab)
        layers = [self._decoder_layer(layer) for layer in range(numbers.layers)]
        norm = self._vector("language_model.norm.weight")
        return Decoder(numbers, numbers.embed_scale(self.dtype), embedding, layers, norm).eval()

    def _decoder_layer(self, layer: int) -> DecoderLayer:
        prefix = f"language_model.layers.{layer}."
        norms = {
            "input_norm": self._vector(prefix + "input_layernorm.weight"),
            "post_attention_norm": self._vector(prefix + "post_attention_layernorm.weight"),
            "pre_mlp_norm": self._vector(prefix + "pre_feedforward_layernorm.weight"),
            "post_mlp_norm": self._vector(prefix + "post_feedforward_layernorm.weight"),
        }
        attention, mlp = prefix + "self_attn.", prefix + "mlp."
        matrices = {
            "qkv": self._matrix([f"{attention}{name}_proj.weight" for name in "qkv"], "attention"),
            "out": self._matrix([attention + "o_proj.weight"], "attention"),
            "gate_up": self._matrix([mlp + "gate_proj.weight", mlp + "up_proj.weight"], "mlp"),
            "down": self._matrix([mlp + "down_proj.weight"], "mlp"),
        }
        return DecoderLayer(self.source.architecture, layer, norms, matrices)

    def vision(self) -> Vision:
        numbers = self.source.architecture
        tower, projector = "vision_tower.", "multi_modal_projector.linear."
        patch = "embeddings.patch_embedding."
        vectors = {
            "patch_bias": self._vector(f"{tower}{patch}bias"),
            "position": self._vector(tower + "embeddings.position_embedding.weight"),
            "norm": self._vector(tower + "post_layernorm.weight"),
            "norm_bias": self._vector(tower + "post_layernorm.bias"),
            "projector_bias": self._vector(projector + "bias"),
        }
        patches = self._matrix([f"{tower}{patch}weight"], "vision")
        layers = [self._vision_layer(layer) for layer in range(numbers.vision.layers)]
        return Vision(
            numbers, vectors, patches, layers, self._matrix([projector + "weight"], "vision")
        ).eval()

    def _vision_layer(self, layer: int) -> VisionLayer:
        prefix = f"vision_tower.encoder.layers.{layer}."
        attention, mlp = prefix + "self_attn.", prefix + "mlp."
        vectors = {
            "norm1": self._vector(prefix + "layer_norm1.weight"),
            "norm1_bias": self._vector(prefix + "layer_norm1.bias"),
            "norm2": self._vector(prefix + "layer_norm2.weight"),
            "norm2_bias": self._vector(prefix + "layer_norm2.bias"),
            "qkv_bias": torch.cat([self._vector(f"{attention}{name}_proj.bias") for name in "qkv"]),
            "out_bias": self._vector(attention + "out_proj.bias"),
            "fc1_bias": self._vector(mlp + "fc1.bias"),
            "fc2_bias": self._vector(mlp + "fc2.bias"),
        }
        matrices = {
            "qkv": self._matrix([f"{attention}{name}_proj.weight" for name in "qkv"], "vision"),
            "out": self._matrix([attention + "out_proj.weight"], "vision"),
            "fc1": self._matrix([mlp + "fc1.weight"], "vision"),
            "fc2": self._matrix([mlp + "fc2.weight"], "vision"),
        }
        return VisionLayer(self.source.architecture, vectors, matrices)

    def _vector(self, name: str) -> Tensor:
        """Returns a small tensor as f32, in memory of its own."""
        values = self.source.tensor(name).float().clone(memory_format=torch.contiguous_format)
        check_finite(values, name, self.source.description)
        return values

    def _matrix(self, names: list[str], part: str, rows: int | None = None) -> Matrix:
        """Returns the named tensors below each other, encoded. `rows` cuts padding of the vocabulary off."""
        pieces = [_as_matrix(self.source.tensor(name)) for name in names]
        counts = [rows or piece.size(0) for piece in pieces]
        columns = pieces[0].size(1)
        shape, dtype, scale_shape = storage(self.encodings[part], sum(counts), columns)
        data = self.scratch.tensor(shape, dtype)
        scale = self.scratch.tensor(scale_shape, scale_dtype(self.encodings[part]))
        start = 0
        for name, piece, count in zip(names, pieces, counts, strict=True):
            for part_rows in slabs(count, columns):
                values = piece[part_rows].float().contiguous()
                check_finite(values, name, self.source.description)
                target = slice(start + part_rows.start, start + part_rows.stop)
                encoded, encoded_scale = encode(values, self.encodings[part])
                data[target] = encoded
                if scale.numel():
                    scale[target] = encoded_scale
                self.progress.advance(values.numel())
            start += count
        return Matrix(data, scale)


def _as_matrix(weight: Tensor) -> Tensor:
    """Returns a matrix [N,K] as it is, and a patch kernel [N,3,P,P] as [N,(y,x,rgb)]."""
    return weight.permute(0, 2, 3, 1).flatten(1) if weight.dim() == 4 else weight
