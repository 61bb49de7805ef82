# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as trainers leave them: wrappers in names, buffers, types, training states, tokenizer.json alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import script_corpus
import sentencepiece
import torch
from checkpoints import (
    QUERY,
    TABLE,
    Tensors,
    assert_refused,
    assert_same_weights,
    export,
    npz_flags,
    rewrite,
    shard,
    weights,
)
from conftest import Tiny
from npz_layout import as_npz
from paligemma_export import bundle, cli, tokenizer
from paligemma_export.huggingface import HuggingFaceSource, canonical
from tokenizer_json_files import as_json, with_added


def wrapped(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {prefix + name: value for name, value in tensors.items()}


def wrapped_newer(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {f"{prefix}model.{canonical(name)}": value for name, value in tensors.items()}


def compiled_layers(tensors: Tensors) -> Tensors:
    """torch.compile of each layer, checkpointing and FSDP put their names in the middle."""
    names = {".layers.": ".layers.", ".self_attn.": "._checkpoint_wrapped_module.self_attn."}
    changed = {}
    for name, value in tensors.items():
        for old, new in names.items():
            name = name.replace(old, new)
        changed[name.replace(".mlp.", "._orig_mod.mlp.").replace("multi_modal", "_fsdp_wrapped_module.multi_modal")] = (
            value
        )
    return changed


def peft_leftovers(tensors: Tensors) -> Tensors:
    """What PEFT leaves around layers after unload() without a rename, and its copy of a replaced module."""
    changed = {name.replace("q_proj.", "q_proj.base_layer."): value for name, value in tensors.items()}
    changed["language_model.model.norm.modules_to_save.default.weight"] = changed.pop(
        "language_model.model.norm.weight"
    )
    changed["language_model.model.norm.original_module.weight"] = torch.zeros(3)
    return changed


def with_buffers(tensors: Tensors) -> Tensors:
    return tensors | {
        "language_model.model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(12),
        "language_model.model.rotary_emb.inv_freq": torch.zeros(12),
        "vision_tower.vision_model.embeddings.position_ids": torch.arange(9)[None],
        "vision_tower.vision_model.head.probe": torch.zeros(1, 1, 48),
        "vision_tower.vision_model.head.attention.in_proj_weight": torch.zeros(3, 48),
    }


FORMS = {
    "torch.compile": wrapped("_orig_mod."),
    "DDP": wrapped("module."),
    "DDP of torch.compile": wrapped("module._orig_mod."),
    "FSDP": wrapped("_fsdp_wrapped_module."),
    "DeepSpeed": wrapped("_forward_module."),
    "PEFT, merged by hand": wrapped("base_model.model."),
    "model.": wrapped("model."),
    "DDP, newer names": wrapped_newer("module."),
    "PEFT, newer names": wrapped_newer("base_model.model."),
    "torch.compile, newer names": wrapped_newer("_orig_mod."),
    "wrappers in the middle": compiled_layers,
    "PEFT's leftovers": peft_leftovers,
    "buffers": with_buffers,
}


@pytest.mark.parametrize("form", FORMS)
def test_names_of_wrappers_and_buffers_give_the_same_bundle(tinies: dict[str, Tiny], tmp_path: Path, form: str) -> None:
    checkpoint = rewrite(tinies["tiny-a"], tmp_path / "checkpoint", FORMS[form])
    assert export(checkpoint, tmp_path / "bundle") == 0
    assert_same_weights(tmp_path / "bundle", tinies["tiny-a"].bundle)


def test_shards_without_their_index_are_read(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "checkpoint")
    shard(tmp_path / "checkpoint")
    (tmp_path / "checkpoint/model.safetensors.index.json").unlink()
    assert export(tmp_path / "checkpoint", tmp_path / "bundle") == 0
    assert_same_weights(tmp_path / "bundle", tinies["tiny-a"].bundle)


def unmerged(tensors: Tensors) -> Tensors:
    return tensors | {QUERY.replace("weight", "lora_A.default.weight"): torch.zeros(4, 64)}


def in_fp8(tensors: Tensors) -> Tensors:
    return tensors | {QUERY: tensors[QUERY].to(torch.float8_e4m3fn)}


@pytest.mark.parametrize(
    ("change", "words"),
    [(unmerged, ["lora_A", "not merged", "merge_and_unload"]), (in_fp8, ["F8_E4M3", "quantised (fp8)", "--quantize"])],
)
def test_tensors_that_say_too_little_are_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, change: Callable, words: list[str]
) -> None:
    checkpoint = rewrite(tinies["tiny-a"], tmp_path / "checkpoint", change)
    assert_refused(checkpoint, tmp_path / "out" / "bundle", capsys, words)


def test_a_head_that_is_said_to_be_there_and_is_not_is_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "checkpoint")
    config = json.loads((tmp_path / "checkpoint/config.json").read_text()) | {"tie_word_embeddings": False}
    (tmp_path / "checkpoint/config.json").write_text(json.dumps(config))
    assert_refused(tmp_path / "checkpoint", tmp_path / "out" / "bundle", capsys, ["tie_word_embeddings", "lm_head"])


def test_bfloat16_with_a_few_float32_tensors_stays_bfloat16_and_says_so(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def mixed(tensors: Tensors) -> Tensors:
        return {
            name: value if value.dim() == 1 or name == QUERY else value.bfloat16() for name, value in tensors.items()
        }

    checkpoint = rewrite(tinies["tiny-a"], tmp_path / "checkpoint", mixed)
    assert cli.main(["export", f"--checkpoint={checkpoint}", f"--output={tmp_path}/bundle"]) == 0
    error = capsys.readouterr().err
    assert "stays so" in error and QUERY in error and "--dtype=float32" in error
    assert bundle.read_manifest(tmp_path / "bundle")["dtype"] == "bfloat16"
    found = weights(tmp_path / "bundle")
    assert found["decoder.pt/layers.0.qkv.data"].dtype == torch.bfloat16
    assert torch.equal(found["decoder.pt/norm"], tinies["tiny-a"].decoder.norm)


# ------------------------------------------------------------------------------------------------ big_vision


@pytest.fixture(scope="module")
def arrays(tinies: dict[str, Tiny]) -> dict[str, np.ndarray]:
    return as_npz(HuggingFaceSource(tinies["tiny-a"].checkpoint))


@pytest.mark.parametrize("which", ["all", "frozen ones"])
def test_an_npz_in_float16_is_widened_exactly(
    tinies: dict[str, Tiny], arrays: dict[str, np.ndarray], tmp_path: Path, which: str
) -> None:
    """big_vision's notebook trains the attention in float32 and keeps the rest in float16."""
    halves = {
        key: value if which != "all" and "attn" in key else value.astype(np.float16) for key, value in arrays.items()
    }
    np.savez(tmp_path / "half.npz", **halves)
    np.savez(tmp_path / "wide.npz", **{key: value.astype(np.float32) for key, value in halves.items()})
    for name in ("half", "wide"):
        assert export(tmp_path / f"{name}.npz", tmp_path / name, *npz_flags(tinies["tiny-a"])) == 0
    assert bundle.read_manifest(tmp_path / "half")["dtype"] == "float32"
    assert_same_weights(tmp_path / "half", tmp_path / "wide")


def test_an_npz_with_its_training_state_gives_the_same_bundle(
    tinies: dict[str, Tiny], arrays: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    state = {f"opt/0/mu/{key.removeprefix('params/')}": np.zeros(2) for key in arrays}
    np.savez(tmp_path / "pt.npz", **arrays, **state, **{"chrono/accum_train_time": np.float64(3)})
    flags = [f"--checkpoint={tmp_path}/pt.npz", f"--output={tmp_path}/bundle", *npz_flags(tinies["tiny-a"])]
    assert cli.main(["export", *flags]) == 0
    assert "arrays beside params/ are a training state and are left out (chrono, opt)" in capsys.readouterr().err
    assert_same_weights(tmp_path / "bundle", tinies["tiny-a"].bundle)


def test_other_archives_are_named(
    tinies: dict[str, Tiny], arrays: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = npz_flags(tinies["tiny-a"])
    np.savez(tmp_path / "one.npz", **{key: value for key, value in arrays.items() if "post_" not in key})
    assert_refused(tmp_path / "one.npz", tmp_path / "out" / "bundle", capsys, ["PaliGemma 1", "PaliGemma 2"], *flags)
    np.savez(tmp_path / "vit.npz", **{key: value for key, value in arrays.items() if "/img/" in key})
    assert_refused(tmp_path / "vit.npz", tmp_path / "out" / "bundle", capsys, ["SigLIP"], *flags)


# ------------------------------------------------------------------------------------------- tokenizer.json alone


@pytest.fixture(scope="module")
def json_only(tinies: dict[str, Tiny], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as transformers 5 saves it: tokenizer.json and no tokenizer.model."""
    folder = tmp_path_factory.mktemp("json") / "checkpoint"
    shutil.copytree(tinies["tiny-a"].checkpoint, folder)
    content = as_json((folder / "tokenizer.model").read_bytes())
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False))
    (folder / "tokenizer.model").unlink()
    return folder


def test_tokenizer_json_alone_has_the_librarys_ids(json_only: Path, tinies: dict[str, Tiny], tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    assert export(json_only, tmp_path / "bundle") == 0
    assert bundle.read_manifest(tmp_path / "bundle")["tokens"] == tinies["tiny-a"].manifest["tokens"]
    ours = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "bundle/tokenizer.model"))
    theirs = Tokenizer.from_file(str(json_only / "tokenizer.json"))
    original = tokenizer.load((tinies["tiny-a"].checkpoint / "tokenizer.model").read_bytes())
    texts = [*script_corpus.prompts(2000), "<loc0100><seg001>x", "       ", "aaaaaaaaaaaaa", "\t\t\t", ""]
    for text in texts:
        expected = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == expected == original.encode(text), repr(text)
        assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=False)
    assert any(token < 300 for token in ours.encode(script_corpus.prompts(60)[55])), "bytes come up"


def test_tokenizer_json_can_be_named(json_only: Path, tinies: dict[str, Tiny], tmp_path: Path) -> None:
    flag = f"--tokenizer={json_only / 'tokenizer.json'}"
    assert export(tinies["tiny-a"].checkpoint, tmp_path / "bundle", flag) == 0
    assert_same_weights(tmp_path / "bundle", tinies["tiny-a"].bundle)


TOKENIZER_FAULTS: list[tuple[Callable[[dict[str, Any]], Any], list[str]]] = [
    (lambda content: content.clear(), ["tokenizer.json", "model.vocab is missing"]),
    (lambda content: content["model"].update(type="Unigram"), ['model.type is "Unigram"']),
    (lambda content: content["model"].update(byte_fallback=False), ["model.byte_fallback is false"]),
    (lambda content: content["model"].update(dropout=0.1), ["model.dropout is 0.1"]),
    (lambda content: content["model"].update(ignore_merges=True), ["model.ignore_merges is true"]),
    (lambda content: content.update(normalizer={"type": "NFKC"}), ["normalizer", "NFKC"]),
    (lambda content: content.update(pre_tokenizer={"type": "ByteLevel"}), ["pre_tokenizer", "ByteLevel"]),
    (lambda content: content["model"]["merges"].pop(), ["are never joined"]),
    (lambda content: content["model"]["merges"].append(content["model"]["merges"][0]), ["do not stand together"]),
    (lambda content: content["added_tokens"][3].update(lstrip=True), ["lstrip"]),
    (lambda content: content["model"]["vocab"].pop("<0x41>"), ["no piece has the id"]),
]


@pytest.mark.parametrize(("damage", "words"), TOKENIZER_FAULTS, ids=[words[-1] for _, words in TOKENIZER_FAULTS])
def test_what_sentencepiece_cannot_express_is_refused(
    json_only: Path, tmp_path: Path, capsys: pytest.CaptureFixture, damage: Callable, words: list[str]
) -> None:
    shutil.copytree(json_only, tmp_path / "given")
    content = json.loads((tmp_path / "given/tokenizer.json").read_text())
    damage(content)
    (tmp_path / "given/tokenizer.json").write_text(json.dumps(content))
    assert_refused(tmp_path / "given", tmp_path / "out" / "bundle", capsys, ["tokenizer.json", *words])


def test_a_tokenizer_json_that_differs_from_the_model_beside_it_is_the_one_that_counts(
    json_only: Path, tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """transformers reads it first; a fine-tune renamed a piece there."""
    shutil.copytree(json_only, tmp_path / "given")
    shutil.copy(tinies["tiny-a"].checkpoint / "tokenizer.model", tmp_path / "given")
    assert cli.main(["export", f"--checkpoint={tmp_path}/given", f"--output={tmp_path}/same"]) == 0
    assert "differs" not in capsys.readouterr().err
    content = json.loads((tmp_path / "given/tokenizer.json").read_text())
    content = with_added(content, 511, "<row>")
    (tmp_path / "given/tokenizer.json").write_text(json.dumps(content))
    assert cli.main(["export", f"--checkpoint={tmp_path}/given", f"--output={tmp_path}/bundle"]) == 0
    assert "tokenizer.json differs from tokenizer.model" in capsys.readouterr().err
    words = tokenizer.load((tmp_path / "bundle/tokenizer.model").read_bytes())
    assert words.encode("a<row>b")[1] == 511


# ------------------------------------------------------------------------------- tokens added behind <image>


def grown(tiny: Tiny, target: Path, tokens: dict[str, int], how: str) -> Path:
    """The checkpoint with tokens behind <image> (1664) in one of the files that hold them. The table has 64 rows more
    than the vocabulary, so that rows for them are there."""
    shutil.copytree(tiny.checkpoint, target)
    if how == "added_tokens.json":
        (target / how).write_text(json.dumps({"<image>": 1664, **tokens}))
    elif how == "tokenizer_config.json":
        entries = {str(index): {"content": text, "special": False} for text, index in tokens.items()}
        (target / how).write_text(json.dumps({"added_tokens_decoder": entries}))
    else:
        content = as_json((target / "tokenizer.model").read_bytes())
        for text, index in {"<image>": 1664, **tokens}.items():
            content = with_added(content, index, text)
        (target / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False))
        if how == "tokenizer.json alone":
            (target / "tokenizer.model").unlink()
    return target


@pytest.mark.parametrize(
    "how", ["added_tokens.json", "tokenizer_config.json", "tokenizer.json", "tokenizer.json alone"]
)
def test_added_tokens_are_served(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, how: str
) -> None:
    tiny = tinies["tiny-a"]
    given = grown(tiny, tmp_path / "given", {"<cell>": 1665, "<end of row>": 1667}, how)
    assert cli.main(["export", f"--checkpoint={given}", f"--output={tmp_path}/bundle"]) == 0
    assert "2 tokens were added behind <image> and are served: <cell>, <end of row>" in capsys.readouterr().err
    content = bundle.read_manifest(tmp_path / "bundle")
    assert content["format"] == 1 and content["tokens"]["vocab"] == content["architecture"]["vocab"] == 1668
    words = tokenizer.load((tmp_path / "bundle/tokenizer.model").read_bytes())
    assert words.encode("a<cell>b<end of row>")[1::2] == [1665, 1667]
    assert 1664 not in words.encode("<image>") and 1666 not in words.encode("<nothing1666>")
    assert words.decode([1665, 1667]) == "<cell><end of row>"
    table = weights(tmp_path / "bundle")["decoder.pt/embedding.data"]
    stored = HuggingFaceSource(given).tensor("language_model.embed_tokens.weight")
    assert torch.equal(table, stored[:1668])
    assert cli.main(["verify", str(tmp_path / "bundle")]) == 0


@pytest.mark.parametrize("named", [["<image>", "<row>"], {"row_token": "<row>"}, [{"content": "<row>"}]], ids=str)
def test_special_tokens_without_an_id_are_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, named: Any
) -> None:
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "given")
    field = "extra_special_tokens" if isinstance(named, dict) else "additional_special_tokens"
    (tmp_path / "given/tokenizer_config.json").write_text(json.dumps({field: named}))
    assert_refused(tmp_path / "given", tmp_path / "out" / "bundle", capsys, [field, "<row>", "no id"])


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ({"<far>": 1750}, [TABLE, "expected [1751, 64]"]),
        ({"<very far>": 1_000_000}, ["shape", "1000001"]),
        ({"<loc0000>": 1665}, ["'<loc0000>' (1665)", "in the vocabulary already"]),
        ({"<other>": 700}, ["700", "<other>", "<loc0188>"]),
    ],
    ids=str,
)
def test_added_tokens_that_cannot_be_served_are_refused_by_name(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, tokens: dict[str, int], words: list[str]
) -> None:
    given = grown(tinies["tiny-a"], tmp_path / "given", tokens, "added_tokens.json")
    assert_refused(given, tmp_path / "out" / "bundle", capsys, words)
