# SPDX-License-Identifier: Apache-2.0
"""The numbers of a PaliGemma 2 model and the tensors that they imply."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from paligemma_export.errors import ExportError


@dataclass(frozen=True)
class VisionArchitecture:
    """The numbers of SigLIP, a pre-norm ViT with biases and a learned table of (image_size // patch) squared
    positions."""

    hidden: int = 1152
    layers: int = 27
    heads: int = 16
    intermediate: int = 4304
    patch: int = 14
    image_size: int = 224
    eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def tokens(self) -> int:
        return (self.image_size // self.patch) ** 2


@dataclass(frozen=True)
class Architecture:
    """The numbers of Gemma 2 and its vision tower. `vocab` counts the ids that may come out, not the padding rows."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int = 257152
    query_scale: float = 1 / 16
    attention_softcap: float = 50.0
    final_softcap: float = 30.0
    eps: float = 1e-6
    rope_theta: float = 10000.0
    max_positions: int = 8192
    sliding_window: int = 4096
    sliding_layers: tuple[int, ...] | None = None  # None: the even ones, as Gemma 2 was trained
    window_mode: str = "none"
    first_position: int = 0
    vision: VisionArchitecture = VisionArchitecture()

    @property
    def query_rows(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_rows(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def windows(self) -> list[int]:
        """Returns for each layer the number of keys that a generated token sees, 0 for all of them."""
        if self.window_mode == "none":
            return [0] * self.layers
        sliding = range(0, self.layers, 2) if self.sliding_layers is None else self.sliding_layers
        return [self.sliding_window if layer in sliding else 0 for layer in range(self.layers)]

    def embed_scale(self, dtype: str) -> float:
        """Returns sqrt(hidden), rounded to the dtype of the parameters as the reference does."""
        import torch

        return float(torch.tensor(math.sqrt(self.hidden), dtype=getattr(torch, dtype)))

    def replace(self, **changes: object) -> Architecture:
        return dataclasses.replace(self, **changes)

    def check(self) -> None:
        """Raises ExportError if the numbers contradict each other."""
        problems = []
        if self.heads % self.kv_heads:
            problems.append(f"{self.heads} heads do not divide into {self.kv_heads} key-value heads")
        if self.head_dim % 2:
            problems.append(f"head_dim {self.head_dim} is odd")
        if self.vision.hidden % self.vision.heads:
            problems.append(
                f"vision hidden {self.vision.hidden} does not divide into {self.vision.heads} heads"
            )
        if self.vision.image_size % self.vision.patch:
            problems.append(
                f"image size {self.vision.image_size} is no multiple of patch {self.vision.patch}"
            )
        if self.window_mode not in ("none", "hf"):
            problems.append(f"window mode {self.window_mode!r} is neither none nor hf")
        if self.first_position not in (0, 1):
            problems.append(f"first position {self.first_position} is neither 0 nor 1")
        if problems:
            raise ExportError("architecture: " + "; ".join(problems))

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Returns the canonical name and the shape of every tensor of a checkpoint, without padding of the
        vocabulary."""
        shapes: dict[str, tuple[int, ...]] = {"language_model.embed_tokens.weight": (self.vocab, self.hidden)}
        for layer in range(self.layers):
            prefix = f"language_model.layers.{layer}."
            for norm in DECODER_NORMS:
                shapes[f"{prefix}{norm}.weight"] = (self.hidden,)
            shapes[prefix + "self_attn.q_proj.weight"] = (self.query_rows, self.hidden)
            shapes[prefix + "self_attn.k_proj.weight"] = (self.key_rows, self.hidden)
            shapes[prefix + "self_attn.v_proj.weight"] = (self.key_rows, self.hidden)
            shapes[prefix + "self_attn.o_proj.weight"] = (self.hidden, self.query_rows)
            shapes[prefix + "mlp.gate_proj.weight"] = (self.intermediate, self.hidden)
            shapes[prefix + "mlp.up_proj.weight"] = (self.intermediate, self.hidden)
            shapes[prefix + "mlp.down_proj.weight"] = (self.hidden, self.intermediate)
        shapes["language_model.norm.weight"] = (self.hidden,)
        shapes.update(self._vision_tensors())
        shapes["multi_modal_projector.linear.weight"] = (self.hidden, self.vision.hidden)
        shapes["multi_modal_projector.linear.bias"] = (self.hidden,)
        return shapes

    def _vision_tensors(self) -> dict[str, tuple[int, ...]]:
        vision = self.vision
        width, inner = vision.hidden, vision.intermediate
        shapes: dict[str, tuple[int, ...]] = {
            "vision_tower.embeddings.patch_embedding.weight": (width, 3, vision.patch, vision.patch),
            "vision_tower.embeddings.patch_embedding.bias": (width,),
            "vision_tower.embeddings.position_embedding.weight": (vision.tokens, width),
        }
        for layer in range(vision.layers):
            prefix = f"vision_tower.encoder.layers.{layer}."
            for norm in ("layer_norm1", "layer_norm2"):
                shapes[f"{prefix}{norm}.weight"] = shapes[f"{prefix}{norm}.bias"] = (width,)
            for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
                shapes[f"{prefix}self_attn.{projection}.weight"] = (width, width)
                shapes[f"{prefix}self_attn.{projection}.bias"] = (width,)
            shapes[prefix + "mlp.fc1.weight"], shapes[prefix + "mlp.fc1.bias"] = (inner, width), (inner,)
            shapes[prefix + "mlp.fc2.weight"], shapes[prefix + "mlp.fc2.bias"] = (width, inner), (width,)
        shapes["vision_tower.post_layernorm.weight"] = shapes["vision_tower.post_layernorm.bias"] = (width,)
        return shapes


DECODER_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)

_SIZES = {
    "3b": Architecture(hidden=2304, layers=26, heads=8, kv_heads=4, head_dim=256, intermediate=9216),
    "10b": Architecture(hidden=3584, layers=42, heads=16, kv_heads=8, head_dim=256, intermediate=14336),
    "28b": Architecture(
        hidden=4608, layers=46, heads=32, kv_heads=16, head_dim=128, intermediate=36864, query_scale=1 / 12
    ),
}

# The tiny ones keep every structural trait: grouped heads, head_dim that is not hidden / heads, a query scale that
# is not head_dim ** -0.5, soft-caps that bite, odd sizes, a window.
_TINY = {
    "tiny-a": Architecture(
        hidden=64,
        layers=3,
        heads=4,
        kv_heads=2,
        head_dim=24,
        intermediate=112,
        vocab=1664,
        query_scale=18**-0.5,
        max_positions=512,
        vision=VisionArchitecture(hidden=48, layers=2, heads=3, intermediate=80, image_size=42),
    ),
    "tiny-b": Architecture(
        hidden=96,
        layers=3,
        heads=4,
        kv_heads=2,
        head_dim=40,
        intermediate=160,
        vocab=1664,
        query_scale=24**-0.5,
        max_positions=512,
        vision=VisionArchitecture(hidden=72, layers=2, heads=4, intermediate=100, image_size=56),
    ),
    "tiny-c": Architecture(
        hidden=65,
        layers=3,
        heads=5,
        kv_heads=1,
        head_dim=14,
        intermediate=94,
        vocab=1664,
        query_scale=11**-0.5,
        max_positions=512,
        sliding_window=8,
        window_mode="hf",
        vision=VisionArchitecture(hidden=51, layers=3, heads=3, intermediate=77, image_size=42),
    ),
}

# The published sizes in small: the proportions of heads, key-value heads and head_dim, the query scale that is
# head_dim ** -0.5 in two and (hidden / heads) ** -0.5 in the third, windows on even layers, and every image token.
_SCALED_VISION = VisionArchitecture(hidden=72, layers=2, heads=4, intermediate=270)
_SCALED = {
    "scaled-3b": Architecture(
        hidden=72, layers=4, heads=4, kv_heads=2, head_dim=16, intermediate=288, query_scale=1 / 4
    ),
    "scaled-10b": Architecture(
        hidden=112, layers=4, heads=8, kv_heads=4, head_dim=16, intermediate=448, query_scale=1 / 4
    ),
    "scaled-28b": Architecture(
        hidden=72, layers=4, heads=8, kv_heads=4, head_dim=8, intermediate=576, query_scale=1 / 3
    ),
}


def geometries() -> dict[str, Architecture]:
    """Returns architectures by name: the nine published, the same in small, their widths with few layers, tiny ones.

    And a middle one, for memory tests.
    """
    result = {}
    for size, base in _SIZES.items():
        for pixels in (224, 448, 896):
            result[f"{size}-{pixels}"] = base.replace(vision=VisionArchitecture(image_size=pixels))
    for size, base in _SCALED.items():
        for pixels in (224, 448, 896):
            vision = dataclasses.replace(_SCALED_VISION, image_size=pixels)
            result[f"{size}-{pixels}"] = base.replace(vision=vision, vocab=1664, window_mode="hf")
    for size, base in _SIZES.items():  # true widths, few layers, a small vocabulary
        vision = VisionArchitecture(layers=2)
        result[f"shallow-{size}"] = base.replace(layers=1 if size == "28b" else 2, vocab=1664, vision=vision)
    result.update(_TINY)
    result["tiny"] = _TINY["tiny-a"]
    result["middle"] = Architecture(
        hidden=1024,
        layers=3,
        heads=8,
        kv_heads=4,
        head_dim=96,
        intermediate=3072,
        query_scale=1 / 8,
        vocab=33024,
        vision=VisionArchitecture(hidden=288, layers=3, heads=4, intermediate=640),
    )
    return result


def geometry(name: str) -> Architecture:
    known = geometries()
    if name not in known:
        raise ExportError(f"unknown geometry {name!r}; known: {', '.join(known)}")
    return known[name]


def geometry_of_shape(hidden: int, layers: int) -> Architecture | None:
    """Returns the published size with these numbers, for checkpoints that carry no configuration."""
    for base in _SIZES.values():
        if (base.hidden, base.layers) == (hidden, layers):
            return base
    return None
