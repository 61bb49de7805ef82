# SPDX-License-Identifier: Apache-2.0
"""Each fault of a checkpoint, in each format: one clear line, exit code 1, no partial bundle left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import QUERY, TABLE, Tensors, assert_refused, npz_flags, rewrite, shard
from conftest import Tiny
from npz_layout import as_npz
from paligemma_export import mask_decoder
from paligemma_export.huggingface import HuggingFaceSource
from safetensors.torch import load_file, save_file

LINEAR = "params/llm/layers/mlp/linear"
TINY_FILES = ["model.safetensors", "config.json", "tokenizer.model"]


def truncate(path: Path, keep: float) -> None:
    """Leaves the first part of a file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


# ---------------------------------------------------------------------------------------------- Hugging Face


def wrong_shape(tensors: Tensors) -> Tensors:
    return tensors | {QUERY: tensors[QUERY][:-1].contiguous()}


def wrong_rank(tensors: Tensors) -> Tensors:
    return tensors | {QUERY: tensors[QUERY].flatten()}


def too_few_rows(tensors: Tensors) -> Tensors:
    return tensors | {TABLE: tensors[TABLE][:1663].contiguous()}


def missing(tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if name != QUERY}


def extra(tensors: Tensors) -> Tensors:
    return tensors | {"language_model.model.layers.1.self_attn.q_proj.bias": torch.zeros(3)}


def twice(tensors: Tensors) -> Tensors:
    return tensors | {QUERY.replace("language_model.model.", "model.language_model."): tensors[QUERY].clone()}


def with_nan(tensors: Tensors) -> Tensors:
    tensors[QUERY][3, 4] = float("nan")
    return tensors


def with_infinity_in_a_vector(tensors: Tensors) -> Tensors:
    tensors["vision_tower.vision_model.post_layernorm.bias"][0] = float("inf")
    return tensors


def of_integers(tensors: Tensors) -> Tensors:
    return tensors | {QUERY: tensors[QUERY].int()}


def other_head(tensors: Tensors) -> Tensors:
    return tensors | {"lm_head.weight": tensors[TABLE] + 1}


@pytest.mark.parametrize("sharded", [False, True], ids=["single", "sharded"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (wrong_shape, [QUERY, "shape [95, 64]", "expected [96, 64]"]),
        (wrong_rank, [QUERY, "shape [6144]", "expected [96, 64]"]),
        (too_few_rows, [TABLE, "shape [1663, 64]", "expected [1664, 64]"]),
        (missing, ["missing", "layers.1.self_attn.q_proj.weight"]),
        (extra, ["unexpected language_model.model.layers.1.self_attn.q_proj.bias"]),
        (twice, ["layers.1.self_attn.q_proj.weight appears twice"]),
        (with_nan, ["layers.1.self_attn.q_proj.weight", "NaN"]),
        (with_infinity_in_a_vector, ["post_layernorm.bias", "infinity"]),
        (of_integers, ["type I32"]),
        (other_head, ["lm_head.weight differs"]),
    ],
)
def test_a_damaged_tensor_of_safetensors_is_named(
    tinies: dict[str, Tiny],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    change: Callable,
    words: list[str],
    sharded: bool,
) -> None:
    checkpoint = rewrite(tinies["tiny-a"], tmp_path / "bad", change)
    if sharded:
        shard(checkpoint)
    assert_refused(checkpoint, tmp_path / "out" / "bundle", capsys, words)


@pytest.mark.parametrize("name", TINY_FILES)
@pytest.mark.parametrize("how", ["half", "almost whole", "empty", "absent"])
def test_a_broken_file_is_named(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, name: str, how: str
) -> None:
    broken = tmp_path / "bad" / name
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "bad")
    if how == "absent":
        broken.unlink()
    else:
        truncate(broken, {"half": 0.5, "almost whole": 0.999, "empty": 0}[how])
    assert_refused(tmp_path / "bad", tmp_path / "out" / "bundle", capsys, [name.split(".")[0].replace("model", "")])


@pytest.mark.parametrize("how", ["truncated", "absent"])
def test_a_broken_shard_is_named(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, how: str
) -> None:
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "bad")
    name = shard(tmp_path / "bad")[1]
    if how == "absent":
        (tmp_path / "bad" / name).unlink()
    else:
        truncate(tmp_path / "bad" / name, 0.9)
    assert_refused(tmp_path / "bad", tmp_path / "out" / "bundle", capsys, [name])


def test_a_shard_without_a_tensor_of_the_index_is_found(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "bad")
    first = tmp_path / "bad" / shard(tmp_path / "bad")[0]
    tensors = load_file(first)
    lost = next(iter(tensors))
    save_file({name: value for name, value in tensors.items() if name != lost}, first)
    assert_refused(tmp_path / "bad", tmp_path / "out" / "bundle", capsys, [f"the index names {lost}, no shard"])


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("{", ["not JSON"]),
        ("[]", ["no weight_map"]),
        ('{"weight_map": {}}', ["no weight_map"]),
        ('{"weight_map": {"a": "../model.safetensors"}}', ["'../model.safetensors' is no file of the folder"]),
        ('{"weight_map": {"a": 3}}', ["3 is no file of the folder"]),
    ],
)
def test_a_broken_index_is_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, index: str, words: list[str]
) -> None:
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "bad")
    (tmp_path / "bad" / "model.safetensors.index.json").write_text(index)
    assert_refused(tmp_path / "bad", tmp_path / "out" / "bundle", capsys, ["model.safetensors.index.json", *words])


# ------------------------------------------------------------------------------------------------ big_vision


@pytest.fixture(scope="module")
def arrays(tinies: dict[str, Tiny]) -> dict[str, np.ndarray]:
    return as_npz(HuggingFaceSource(tinies["tiny-a"].checkpoint))


def damaged(arrays: dict[str, np.ndarray], how: str) -> dict[str, Any]:
    """The arrays with one fault."""
    changed = {key: value.copy() for key, value in arrays.items()}
    if how == "missing":
        del changed["params/img/head/bias"]
    elif how == "missing, of those that tell the numbers":
        del changed["params/llm/embedder/input_embedding"]
    elif how == "shape":
        changed[LINEAR] = changed[LINEAR][:, :, :-1]
    elif how == "rank":
        changed["params/llm/layers/attn/q_einsum/w"] = changed["params/llm/layers/attn/q_einsum/w"][0]
    elif how == "extra":
        changed["params/llm/new"] = np.zeros(3, np.float32)
    elif how == "NaN":
        changed[LINEAR][1, 2, 3] = np.nan
    elif how == "type":
        changed[LINEAR] = changed[LINEAR].astype(np.float64)
    elif how == "objects":
        changed[LINEAR] = np.array([{}], dtype=object)
    return changed


NPZ_FAULTS = [
    ("missing", ["missing params/img/head/bias"]),
    ("missing, of those that tell the numbers", ["missing params/llm/embedder/input_embedding"]),
    ("shape", [LINEAR, "shape [3, 112, 63]", "expected [3, 112, 64]"]),
    ("rank", ["wrong number of dimensions"]),
    ("extra", ["unexpected params/llm/new"]),
    ("NaN", ["layers.1.mlp.down_proj.weight", "NaN"]),
    ("type", ["llm/layers/mlp/linear has type float64"]),
    ("objects", ["linear", "objects"]),
]


@pytest.mark.parametrize(("how", "words"), NPZ_FAULTS)
def test_a_damaged_array_of_an_npz_is_named(
    tinies: dict[str, Tiny],
    arrays: dict[str, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    how: str,
    words: list[str],
) -> None:
    np.savez(tmp_path / "pt.npz", **damaged(arrays, how))
    assert_refused(
        tmp_path / "pt.npz", tmp_path / "out" / "bundle", capsys, ["pt.npz", *words], *npz_flags(tinies["tiny-a"])
    )


def test_nan_among_bfloat16_stored_as_void_is_found(
    tinies: dict[str, Tiny], arrays: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    halves = {
        key: torch.from_numpy(value).bfloat16().view(torch.int16).numpy().view("V2")
        for key, value in damaged(arrays, "NaN").items()
    }
    np.savez(tmp_path / "pt.npz", **halves)
    words = ["layers.1.mlp.down_proj.weight", "NaN"]
    assert_refused(tmp_path / "pt.npz", tmp_path / "out" / "bundle", capsys, words, *npz_flags(tinies["tiny-a"]))


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_npz_is_refused(
    tinies: dict[str, Tiny],
    arrays: dict[str, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    keep: float,
    compressed: bool,
) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "pt.npz", **arrays)
    truncate(tmp_path / "pt.npz", keep)
    flags = npz_flags(tinies["tiny-a"])
    assert_refused(tmp_path / "pt.npz", tmp_path / "out" / "bundle", capsys, ["pt.npz", "truncated"], *flags)


def test_parts_without_the_last_are_refused(
    tinies: dict[str, Tiny], arrays: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    np.savez(tmp_path / "pt.npz", **arrays)
    data = (tmp_path / "pt.npz").read_bytes()
    (tmp_path / "pt.npz").unlink()
    (tmp_path / "pt.npz.part0").write_bytes(data[: len(data) // 2])
    flags = npz_flags(tinies["tiny-a"])
    assert_refused(tmp_path / "pt.npz.part0", tmp_path / "out" / "bundle", capsys, ["truncated"], *flags)


def test_an_absent_npz_is_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = npz_flags(tinies["tiny-a"])
    assert_refused(tmp_path / "no.npz", tmp_path / "out" / "bundle", capsys, ["no.npz", "No such file"], *flags)


# ---------------------------------------------------------------------------------------------- mask decoder

MASK_FAULTS = [
    ("missing", ["missing decoder.12.bias"]),
    ("shape", ["decoder.2.net.0.bias has shape [3]"]),
    ("extra", ["unexpected decoder.13.weight"]),
    ("NaN", ["decoder.6.weight holds NaN"]),
    ("truncated", ["not a readable npz"]),
    ("no archive", ["masks.npz"]),
    ("absent", ["No such file"]),
]


@pytest.mark.parametrize(("how", "words"), MASK_FAULTS)
def test_a_damaged_mask_decoder_is_named(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, how: str, words: list[str]
) -> None:
    path = tmp_path / "masks.npz"
    mask_decoder.write_random(path, 3)
    arrays = dict(np.load(path))
    if how == "missing":
        del arrays["decoder.12.bias"]
    elif how == "shape":
        arrays["decoder.2.net.0.bias"] = arrays["decoder.2.net.0.bias"][:3]
    elif how == "extra":
        arrays["decoder.13.weight"] = np.zeros((1, 1, 1, 1), np.float32)
    elif how == "NaN":
        arrays["decoder.6.weight"][0] = np.nan
    np.savez(path, **arrays)
    if how == "truncated":
        truncate(path, 0.9)
    elif how == "no archive":
        path.write_bytes(b"no archive")
    elif how == "absent":
        path.unlink()
    flag = f"--mask-decoder={path}"
    assert_refused(tinies["tiny-a"].checkpoint, tmp_path / "out" / "bundle", capsys, ["mask decoder", *words], flag)


# --------------------------------------------------------------------------------------------- configuration

CONFIG_FAULTS: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("no object", lambda config: [config], "the whole is no object"),
    ("no text", lambda config: config | {"text_config": None}, "text_config is missing"),
    ("text is a list", lambda config: config | {"text_config": []}, "text_config is no object"),
    ("first generation", lambda c: c | {"text_config": {"model_type": "gemma"}}, "only gemma2 (PaliGemma 2)"),
    ("words", lambda c: c | {"text_config": {"hidden_size": "64"}}, "text_config.hidden_size is '64'"),
    ("fraction", lambda c: c | {"text_config": {"num_hidden_layers": 2.5}}, "num_hidden_layers is 2.5, not a whole"),
    ("nothing", lambda c: c | {"text_config": {"num_key_value_heads": 0}}, "num_key_value_heads is 0"),
    ("other numbers", lambda c: c | {"text_config": c["text_config"] | {"hidden_size": 65}}, "expected [1664, 65]"),
    ("more layers", lambda c: c | {"text_config": c["text_config"] | {"num_hidden_layers": 4}}, "missing"),
    ("fewer layers", lambda c: c | {"text_config": c["text_config"] | {"num_hidden_layers": 2}}, "unexpected"),
    ("heads", lambda c: c | {"text_config": c["text_config"] | {"num_key_value_heads": 3}}, "expected [72, 64]"),
    ("patches", lambda c: c | {"vision_config": c["vision_config"] | {"patch_size": 13}}, "shape"),
]


@pytest.mark.parametrize(("change", "words"), [fault[1:] for fault in CONFIG_FAULTS], ids=[f[0] for f in CONFIG_FAULTS])
def test_a_wrong_configuration_is_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, change: Callable, words: str
) -> None:
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "bad")
    path = tmp_path / "bad" / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert_refused(tmp_path / "bad", tmp_path / "out" / "bundle", capsys, [words])
