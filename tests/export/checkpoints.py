# SPDX-License-Identifier: Apache-2.0
"""Shared by the tests of checkpoint readers: exporting, changing a checkpoint, its twin as npz, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Tiny
from paligemma_export import cli
from paligemma_export.architecture import DECODER_NORMS, Architecture
from paligemma_export.bundle_source import load_module
from paligemma_export.huggingface import HuggingFaceSource
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]
TABLE = "language_model.model.embed_tokens.weight"
QUERY = "language_model.model.layers.1.self_attn.q_proj.weight"


def export(checkpoint: Path, output: Path, *flags: str) -> int:
    return cli.main(["export", f"--checkpoint={checkpoint}", f"--output={output}", "--quiet", *flags])


def rewrite(tiny: Tiny, target: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """A copy of the checkpoint with changed tensors."""
    shutil.copytree(tiny.checkpoint, target)
    save_file(change(load_file(target / "model.safetensors")), target / "model.safetensors")
    return target


def shard(checkpoint: Path, files: int = 3) -> list[str]:
    """Splits model.safetensors into several files and their index; returns their names."""
    whole = checkpoint / "model.safetensors"
    tensors = load_file(whole)
    names = [f"model-{index + 1:05d}-of-{files:05d}.safetensors" for index in range(files)]
    weight_map = {key: names[index % files] for index, key in enumerate(tensors)}
    for name in names:
        save_file({key: tensors[key] for key, where in weight_map.items() if where == name}, checkpoint / name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    whole.unlink()
    return names


def weights(bundle: Path) -> Tensors:
    result = {}
    for name in ("decoder.pt", "vision.pt"):
        result |= {f"{name}/{key}": value for key, value in load_module(bundle, name).state_dict().items()}
    return result


def assert_same_weights(left: Path, right: Path) -> None:
    found, expected = weights(left), weights(right)
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def assert_refused(
    checkpoint: Path, output: Path, capsys: pytest.CaptureFixture, words: list[str], *flags: str
) -> None:
    """Exit code 1, one line with the words, nothing left behind."""
    assert export(checkpoint, output, *flags) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.startswith("error: ")
    for word in words:
        assert word in captured.err
    assert not output.parent.exists() or list(output.parent.iterdir()) == []


def as_npz(source: HuggingFaceSource) -> dict[str, np.ndarray]:
    """The inverse of big_vision.py, written from the table of the published layout."""
    numbers: Architecture = source.architecture

    def read(name: str) -> np.ndarray:
        return source.tensor(name).numpy()

    def stack(
        pattern: str, layers: int, change: Callable[[np.ndarray], np.ndarray] = lambda x: x
    ) -> np.ndarray:
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
    result[attention + "out/kernel"] = stack(
        out + "weight", depth, lambda x: x.T.reshape(*shape, vision.hidden)
    )
    result[attention + "out/bias"] = stack(out + "bias", depth)
    for index in (0, 1):
        dense, norm = f"{block}MlpBlock_0/Dense_{index}/", f"{block}LayerNorm_{index}/"
        result[dense + "kernel"] = stack(f"{layer}mlp.fc{index + 1}.weight", depth, np.transpose)
        result[dense + "bias"] = stack(f"{layer}mlp.fc{index + 1}.bias", depth)
        result[norm + "scale"] = stack(f"{layer}layer_norm{index + 1}.weight", depth)
        result[norm + "bias"] = stack(f"{layer}layer_norm{index + 1}.bias", depth)
    return result


def npz_flags(tiny: Tiny) -> list[str]:
    scale = tiny.manifest["architecture"]["query_scale"]
    return [f"--tokenizer={tiny.checkpoint / 'tokenizer.model'}", f"--query-scale={scale}"]
