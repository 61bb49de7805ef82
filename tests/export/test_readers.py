# SPDX-License-Identifier: Apache-2.0
"""Checkpoint readers: both namings, shards, padding, npz; and one clear line for each kind of damage."""

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
from paligemma_export.huggingface import HuggingFaceSource, canonical
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


def weights(bundle: Path) -> Tensors:
    result = {}
    for name in ("decoder.pt", "vision.pt"):
        result |= {f"{name}/{key}": value for key, value in load_module(bundle, name).state_dict().items()}
    return result


def assert_same_weights(left: Path, right: Path) -> None:
    found, expected = weights(left), weights(right)
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def newer_names(tensors: Tensors) -> Tensors:
    return {f"model.{canonical(name)}": value for name, value in tensors.items()}


def without_padding(tensors: Tensors) -> Tensors:
    return tensors | {TABLE: tensors[TABLE][:1664].contiguous()}


def with_head(tensors: Tensors) -> Tensors:
    return tensors | {"language_model.lm_head.weight": tensors[TABLE].clone()}


@pytest.mark.parametrize("change", [newer_names, without_padding, with_head])
def test_layouts_give_the_same_bundle(tinies: dict[str, Tiny], tmp_path: Path, change: Callable) -> None:
    tiny = tinies["tiny-a"]
    checkpoint = rewrite(tiny, tmp_path / "checkpoint", change)
    assert export(checkpoint, tmp_path / "bundle") == 0
    assert_same_weights(tmp_path / "bundle", tiny.bundle)
    content = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert "segment" not in content["methods"] and content["tokens"] == tiny.manifest["tokens"]


def test_names_saved_by_transformers_itself(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    tiny = tinies["tiny-c"]
    tiny.reference.model.save_pretrained(tmp_path / "saved", max_shard_size="300KB")
    assert (tmp_path / "saved" / "model.safetensors.index.json").exists()
    shutil.copy(tiny.checkpoint / "tokenizer.model", tmp_path / "saved")
    assert export(tmp_path / "saved", tmp_path / "bundle", "--window-mode=hf") == 0
    assert_same_weights(tmp_path / "bundle", tiny.bundle)
    content = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert content["architecture"] == tiny.manifest["architecture"]


def test_bfloat16_checkpoint_stays_bfloat16(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    tiny = tinies["tiny-b"]
    half = rewrite(tiny, tmp_path / "half", lambda t: {name: value.bfloat16() for name, value in t.items()})
    assert export(half, tmp_path / "bundle") == 0
    content = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert content["dtype"] == "bfloat16"
    assert content["architecture"]["embed_scale"] == float(torch.tensor(96**0.5, dtype=torch.bfloat16))
    decoder = load_module(tmp_path / "bundle", "decoder.pt")
    assert decoder.embedding.data.dtype == torch.bfloat16 and decoder.norm.dtype == torch.float32
    assert cli.main(["verify", str(tmp_path / "bundle")]) == 0


def wrong_shape(tensors: Tensors) -> Tensors:
    return tensors | {QUERY: tensors[QUERY][:-1].contiguous()}


def missing(tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if name != QUERY}


def extra(tensors: Tensors) -> Tensors:
    return tensors | {"language_model.model.layers.1.self_attn.q_proj.bias": torch.zeros(3)}


def with_nan(tensors: Tensors) -> Tensors:
    tensors[QUERY][3, 4] = float("nan")
    return tensors


def other_head(tensors: Tensors) -> Tensors:
    return tensors | {"lm_head.weight": tensors[TABLE] + 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (wrong_shape, [QUERY, "shape [95, 64]", "expected [96, 64]"]),
        (missing, ["missing", "layers.1.self_attn.q_proj.weight"]),
        (extra, ["unexpected language_model.model.layers.1.self_attn.q_proj.bias"]),
        (with_nan, ["layers.1.self_attn.q_proj.weight", "NaN"]),
        (other_head, ["lm_head.weight differs"]),
    ],
)
def test_damage_gives_one_line(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, change: Callable, words: list[str]
) -> None:
    checkpoint = rewrite(tinies["tiny-a"], tmp_path / "bad", change)
    assert_refused(checkpoint, tmp_path / "out" / "bundle", capsys, words)


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


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.model"])
@pytest.mark.parametrize("how", ["truncated", "absent"])
def test_broken_files(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, name: str, how: str
) -> None:
    broken = tmp_path / "bad" / name
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "bad")
    if how == "absent":
        broken.unlink()
    else:
        broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    assert_refused(
        tmp_path / "bad", tmp_path / "out" / "bundle", capsys, [name.split(".")[0].replace("model", "")]
    )


def test_existing_output_is_kept(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "bundle").mkdir()
    assert export(tinies["tiny-a"].checkpoint, tmp_path / "bundle") == 1
    assert "already exists" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ big_vision


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


@pytest.fixture(scope="module")
def arrays(tinies: dict[str, Tiny]) -> dict[str, np.ndarray]:
    return as_npz(HuggingFaceSource(tinies["tiny-a"].checkpoint))


def npz_flags(tiny: Tiny) -> list[str]:
    scale = tiny.manifest["architecture"]["query_scale"]
    return [f"--tokenizer={tiny.checkpoint / 'tokenizer.model'}", f"--query-scale={scale}"]


@pytest.mark.parametrize("how", ["plain", "compressed", "parts"])
def test_npz_gives_the_same_bundle(
    tinies: dict[str, Tiny], arrays: dict[str, np.ndarray], tmp_path: Path, how: str
) -> None:
    tiny, path = tinies["tiny-a"], tmp_path / "pt.npz"
    (np.savez_compressed if how == "compressed" else np.savez)(path, **arrays)
    if how == "parts":
        data = path.read_bytes()
        (tmp_path / "pt.npz.part0").write_bytes(data[:500_000])
        (tmp_path / "pt.npz.part1").write_bytes(data[500_000:])
        path.unlink()
        path = tmp_path / "pt.npz.part0"
    assert export(path, tmp_path / "bundle", *npz_flags(tiny)) == 0
    assert_same_weights(tmp_path / "bundle", tiny.bundle)


def test_npz_with_bfloat16_as_void(
    tinies: dict[str, Tiny], arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    tiny = tinies["tiny-a"]
    halves = {
        key: torch.from_numpy(value.copy()).bfloat16().view(torch.int16).numpy().view("V2")
        for key, value in arrays.items()
    }
    np.savez(tmp_path / "pt.npz", **halves)
    assert export(tmp_path / "pt.npz", tmp_path / "bundle", *npz_flags(tiny)) == 0
    found = load_module(tmp_path / "bundle", "decoder.pt").embedding.data
    assert torch.equal(found, tiny.decoder.embedding.data.bfloat16())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", ["missing params/img/head/bias"]),
        ("shape", ["params/llm/layers/mlp/linear", "shape"]),
        ("extra", ["unexpected params/llm/new"]),
        ("truncated", ["pt.npz"]),
    ],
)
def test_damaged_npz_gives_one_line(
    tinies: dict[str, Tiny],
    arrays: dict[str, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    how: str,
    words: list[str],
) -> None:
    changed, path = dict(arrays), tmp_path / "pt.npz"
    if how == "missing":
        del changed["params/img/head/bias"]
    elif how == "shape":
        changed["params/llm/layers/mlp/linear"] = changed["params/llm/layers/mlp/linear"][:, :, :-1]
    elif how == "extra":
        changed["params/llm/new"] = np.zeros(3, np.float32)
    np.savez(path, **changed)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-3000])
    assert_refused(path, tmp_path / "out" / "bundle", capsys, words, *npz_flags(tinies["tiny-a"]))
