# SPDX-License-Identifier: Apache-2.0
"""Every published layout of a checkpoint gives the same bundle: namings, shards, heads, padding, dtypes, npz."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import TABLE, Tensors, assert_same_weights, export, npz_flags, rewrite, shard, weights
from conftest import Tiny
from npz_layout import as_npz
from paligemma_export import bundle, checkpoint_writer, cli, tokenizer
from paligemma_export.architecture import geometry
from paligemma_export.bundle_source import load_module
from paligemma_export.huggingface import HuggingFaceSource, canonical
from paligemma_export.random_weights import RandomSource
from paligemma_export.runner import Runner
from paligemma_export.scratch import Scratch


def older_names(tensors: Tensors) -> Tensors:
    assert all(name.startswith(("language_model.model.", "vision_tower.", "multi_modal_")) for name in tensors)
    return tensors


def newer_names(tensors: Tensors) -> Tensors:
    return {f"model.{canonical(name)}": value for name, value in tensors.items()}


def without_padding(tensors: Tensors) -> Tensors:
    return tensors | {TABLE: tensors[TABLE][:1664].contiguous()}


def with_head(tensors: Tensors) -> Tensors:
    return tensors | {"language_model.lm_head.weight": tensors[TABLE].clone()}


def with_newer_head(tensors: Tensors) -> Tensors:
    return newer_names(tensors) | {"lm_head.weight": tensors[TABLE].clone()}


def with_head_without_padding(tensors: Tensors) -> Tensors:
    return tensors | {"language_model.lm_head.weight": tensors[TABLE][:1664].clone()}


def head_instead_of_table(tensors: Tensors) -> Tensors:
    rest = {name: value for name, value in tensors.items() if name != TABLE}
    return rest | {"language_model.lm_head.weight": tensors[TABLE]}


LAYOUTS = [
    older_names, newer_names, without_padding, with_head, with_newer_head, with_head_without_padding,
    head_instead_of_table,
]


@pytest.mark.parametrize("sharded", [False, True], ids=["single", "sharded"])
@pytest.mark.parametrize("change", LAYOUTS)
def test_layouts_give_the_same_bundle(
    tinies: dict[str, Tiny], tmp_path: Path, change: Callable, sharded: bool
) -> None:
    tiny = tinies["tiny-a"]
    checkpoint = rewrite(tiny, tmp_path / "checkpoint", change)
    if sharded:
        assert len(shard(checkpoint)) == 3
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


def test_positions_counted_from_one_turn_every_row_on_and_change_no_token(
    tinies: dict[str, Tiny], tmp_path: Path
) -> None:
    tiny = tinies["tiny-a"]
    assert export(tiny.checkpoint, tmp_path / "bundle", "--first-position=1") == 0
    assert bundle.read_manifest(tmp_path / "bundle")["architecture"]["first_position"] == 1
    assert cli.main(["verify", str(tmp_path / "bundle")]) == 0
    from_one, case = load_module(tmp_path / "bundle", "decoder.pt"), tiny.cases[0]
    features = tiny.vision(tiny.pixels[case["image"]])
    found, expected = (decoder.forward(*tiny.runner().prompt_arguments(features, case["prompt_ids"]))
                       for decoder in (from_one, tiny.decoder))
    assert not torch.equal(found, expected) and torch.allclose(found, expected, atol=1e-4 * expected.abs().max())
    runner = Runner.of_manifest(from_one, tiny.manifest)
    assert runner.generate(features, case["prompt_ids"], case["max_tokens"]).token_ids == case["token_ids"]


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


def test_mixed_and_half_types_become_float32(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    """Norms in float32 beside bfloat16 matrices, and a table in float16, lose nothing."""

    def mixed(tensors: Tensors) -> Tensors:
        matrices = {name: value.bfloat16() if value.dim() > 1 else value for name, value in tensors.items()}
        return matrices | {TABLE: tensors[TABLE].half()}

    checkpoint = rewrite(tinies["tiny-a"], tmp_path / "mixed", mixed)
    assert export(checkpoint, tmp_path / "bundle") == 0
    assert bundle.read_manifest(tmp_path / "bundle")["dtype"] == "float32"
    decoder = load_module(tmp_path / "bundle", "decoder.pt")
    assert torch.equal(decoder.embedding.data, tinies["tiny-a"].decoder.embedding.data.half().float())
    assert torch.equal(decoder.norm, tinies["tiny-a"].decoder.norm)


def test_rows_behind_the_real_vocabulary_are_left_out(tmp_path: Path) -> None:
    """257216 rows are stored, 257152 count: the last of them is <seg127>, and no id behind it can come out."""
    numbers = geometry("tiny-a").replace(hidden=16, layers=1, vocab=257152)
    source = RandomSource(numbers, 3, "bfloat16", Scratch(tmp_path / "scratch"))
    (tmp_path / "checkpoint").mkdir()
    checkpoint_writer.write(tmp_path / "checkpoint", source, tokenizer.train(257152), quiet=True)
    assert HuggingFaceSource(tmp_path / "checkpoint").tensor("language_model.embed_tokens.weight").size(0) == 257216
    assert export(tmp_path / "checkpoint", tmp_path / "bundle") == 0
    content = bundle.read_manifest(tmp_path / "bundle")
    assert content["tokens"] == {
        "pad": 0, "eos": 1, "bos": 2, "newline": 108, "loc_first": 256000, "loc_count": 1024,
        "seg_first": 257024, "seg_count": 128, "vocab": 257152,
    }  # fmt: skip
    decoder = load_module(tmp_path / "bundle", "decoder.pt")
    assert decoder.embedding.data.shape == (257152, 16)
    assert decoder.logits(torch.ones(1, 16)).shape == (1, 257152)


def test_existing_output_is_kept(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "bundle").mkdir()
    assert export(tinies["tiny-a"].checkpoint, tmp_path / "bundle") == 1
    assert "already exists" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ big_vision


@pytest.fixture(scope="module")
def arrays(tinies: dict[str, Tiny]) -> dict[str, np.ndarray]:
    return as_npz(HuggingFaceSource(tinies["tiny-a"].checkpoint))


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


def test_stacked_and_packed_arrays_go_to_their_places(
    tinies: dict[str, Tiny], arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Layers on axis 0; keys before values; of the two gates, the first goes through the activation."""
    tiny = tinies["tiny-a"]
    changed = dict(arrays)
    for key, first, second in (
        ("params/llm/layers/attn/kv_einsum/w", 2.0, 3.0),
        ("params/llm/layers/mlp/gating_einsum", 5.0, 7.0),
    ):
        changed[key] = arrays[key].copy()
        changed[key][1, 0], changed[key][1, 1] = first, second
    np.savez(tmp_path / "pt.npz", **changed)
    assert export(tmp_path / "pt.npz", tmp_path / "bundle", *npz_flags(tiny)) == 0
    found, expected = weights(tmp_path / "bundle"), weights(tiny.bundle)
    numbers = tiny.manifest["architecture"]
    queries, keys, inner = numbers["heads"] * numbers["head_dim"], numbers["kv_heads"] * numbers["head_dim"], 112
    expected["decoder.pt/layers.1.qkv.data"][queries : queries + keys] = 2
    expected["decoder.pt/layers.1.qkv.data"][queries + keys :] = 3
    expected["decoder.pt/layers.1.gate_up.data"][:inner] = 5
    expected["decoder.pt/layers.1.gate_up.data"][inner:] = 7
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
