# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as big_vision stores it: the inverse of big_vision.py, written from the table of the published layout.

reference: semantics 1.5.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from paligemma_export.architecture import DECODER_NORMS, Architecture
from paligemma_export.huggingface import HuggingFaceSource


def as_npz(source: HuggingFaceSource) -> dict[str, np.ndarray]:
    """Every array of the npz."""
    numbers: Architecture = source.architecture

    def read(name: str) -> np.ndarray:
        return source.tensor(name).numpy()

    def stack(pattern: str, layers: int, change: Callable[[np.ndarray], np.ndarray] = lambda x: x) -> np.ndarray:
        return np.stack([change(read(pattern.format(layer))) for layer in range(layers)])

    layers, heads, head, hidden = numbers.layers, numbers.heads, numbers.head_dim, numbers.hidden
    text = "language_model.layers.{}."

    def split(count: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: x.reshape(count, head, hidden).transpose(0, 2, 1)

    def pair(left: str, right: str, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return np.stack([stack(text + left, layers, change), stack(text + right, layers, change)], 1)

    result = {
        "llm/embedder/input_embedding": read("language_model.embed_tokens.weight")[: numbers.vocab],
        "llm/final_norm/scale": read("language_model.norm.weight"),
        "llm/layers/attn/q_einsum/w": stack(text + "self_attn.q_proj.weight", layers, split(heads)),
        "llm/layers/attn/kv_einsum/w": pair(
            "self_attn.k_proj.weight", "self_attn.v_proj.weight", split(numbers.kv_heads)
        ),
        "llm/layers/attn/attn_vec_einsum/w": stack(
            text + "self_attn.o_proj.weight",
            layers,
            lambda x: x.reshape(hidden, heads, head).transpose(1, 2, 0),
        ),
        "llm/layers/mlp/gating_einsum": pair("mlp.gate_proj.weight", "mlp.up_proj.weight", np.transpose),
        "llm/layers/mlp/linear": stack(text + "mlp.down_proj.weight", layers, np.transpose),
    }
    keys = ("pre_attention_norm", "post_attention_norm", "pre_ffw_norm", "post_ffw_norm")
    for ours, theirs in zip(DECODER_NORMS, keys, strict=True):
        result[f"llm/layers/{theirs}/scale"] = stack(f"{text}{ours}.weight", layers)
    return {f"params/{key}": value for key, value in (result | vision_arrays(numbers, read, stack)).items()}


def vision_arrays(numbers: Architecture, read: Callable, stack: Callable) -> dict[str, np.ndarray]:
    vision, tower = numbers.vision, "vision_tower."
    depth, shape = vision.layers, (vision.heads, vision.head_dim)
    layer, block = tower + "encoder.layers.{}.", "img/Transformer/encoderblock/"
    kernel = read(tower + "embeddings.patch_embedding.weight")
    result = {
        "img/embedding/kernel": kernel.transpose(2, 3, 1, 0),
        "img/embedding/bias": read(tower + "embeddings.patch_embedding.bias"),
        "img/pos_embedding": read(tower + "embeddings.position_embedding.weight")[None],
        "img/Transformer/encoder_norm/scale": read(tower + "post_layernorm.weight"),
        "img/Transformer/encoder_norm/bias": read(tower + "post_layernorm.bias"),
        "img/head/kernel": read("multi_modal_projector.linear.weight").T,
        "img/head/bias": read("multi_modal_projector.linear.bias"),
    }
    attention = block + "MultiHeadDotProductAttention_0/"
    for ours, theirs in (("q", "query"), ("k", "key"), ("v", "value")):
        name = f"{layer}self_attn.{ours}_proj."
        result[f"{attention}{theirs}/kernel"] = stack(
            name + "weight", depth, lambda x: x.T.reshape(vision.hidden, *shape)
        )
        result[f"{attention}{theirs}/bias"] = stack(name + "bias", depth, lambda x: x.reshape(shape))
    out = layer + "self_attn.out_proj."
    result[attention + "out/kernel"] = stack(out + "weight", depth, lambda x: x.T.reshape(*shape, vision.hidden))
    result[attention + "out/bias"] = stack(out + "bias", depth)
    for index in (0, 1):
        dense, norm = f"{block}MlpBlock_0/Dense_{index}/", f"{block}LayerNorm_{index}/"
        result[dense + "kernel"] = stack(f"{layer}mlp.fc{index + 1}.weight", depth, np.transpose)
        result[dense + "bias"] = stack(f"{layer}mlp.fc{index + 1}.bias", depth)
        result[norm + "scale"] = stack(f"{layer}layer_norm{index + 1}.weight", depth)
        result[norm + "bias"] = stack(f"{layer}layer_norm{index + 1}.bias", depth)
    return result
