# SPDX-License-Identifier: Apache-2.0
"""Prompts and limits of an operator's own: long answers, special pieces in templates, the format that they need."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from checkpoints import assert_refused, export
from conftest import Tiny
from paligemma_export import bundle, cli, manifest
from paligemma_export.architecture import geometry
from paligemma_export.errors import ExportError
from sentencepiece import sentencepiece_model_pb2

LONG = {"generate": {"default_tokens": 2048, "max_tokens": 4096}}
SPECIAL = {
    "answer": {"prompt": "<unused7> {question}", "languages": ["en"], "default_tokens": 8, "max_tokens": 64},
    "generate": {"default_tokens": 8, "max_tokens": 64},
}


def methods_file(folder: Path, methods: Any) -> str:
    (folder / "methods.json").write_text(json.dumps(methods))
    return f"--methods={folder / 'methods.json'}"


def with_positions(tiny: Tiny, target: Path, positions: int) -> Path:
    """The checkpoint with another max_position_embeddings; no weight depends on it."""
    shutil.copytree(tiny.checkpoint, target)
    config = json.loads((target / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = positions
    (target / "config.json").write_text(json.dumps(config))
    return target


def with_pieces(tiny: Tiny, target: Path) -> Path:
    """The checkpoint with a tokenizer that has <unused7> and <start_of_turn>, as the real one."""
    shutil.copytree(tiny.checkpoint, target)
    model = sentencepiece_model_pb2.ModelProto.FromString((target / "tokenizer.model").read_bytes())
    for index, name in ((510, "<unused7>"), (511, "<start_of_turn>")):
        model.pieces[index].piece, model.pieces[index].score, model.pieces[index].type = name, 0.0, 4
    (target / "tokenizer.model").write_bytes(model.SerializeToString())
    return target


@pytest.mark.parametrize("flags", [[], ["--max-output-tokens=4096"]])
def test_answers_of_4096_tokens_are_a_limit_like_any_other(
    tinies: dict[str, Tiny], tmp_path: Path, flags: list[str]
) -> None:
    given = with_positions(tinies["tiny-a"], tmp_path / "given", 8192)
    assert export(given, tmp_path / "bundle", methods_file(tmp_path, LONG), *flags) == 0
    content = bundle.read_manifest(tmp_path / "bundle")
    assert content["format"] == 1, "servers of format 1 read it: its limit is theirs, too"
    assert content["limits"] == {"max_input_tokens": 7168, "max_output_tokens": 4096, "max_labels": 32}
    assert content["methods"]["generate"]["max_tokens"] == 4096


def test_the_flag_alone_raises_the_limit_of_the_usual_methods_nowhere(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    given = with_positions(tinies["tiny-a"], tmp_path / "given", 8192)
    assert export(given, tmp_path / "bundle", "--max-output-tokens=2048") == 0
    content = bundle.read_manifest(tmp_path / "bundle")
    assert content["limits"]["max_output_tokens"] == content["methods"]["generate"]["max_tokens"] == 2048
    assert content["methods"]["caption"]["max_tokens"] == 256


def test_answers_beyond_the_positions_are_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """tiny-a has 512 positions, of which its image takes 9, <bos> and the newline 2."""
    checkpoint, target = tinies["tiny-a"].checkpoint, tmp_path / "out" / "bundle"
    assert_refused(checkpoint, target, capsys, ["4096 output tokens", "1 and 502", "512"], methods_file(tmp_path, LONG))
    for number in (0, 503, 4097):
        assert_refused(checkpoint, target, capsys, [f"{number} output tokens"], f"--max-output-tokens={number}")
    assert export(checkpoint, tmp_path / "bundle", "--max-output-tokens=502") == 0


@pytest.mark.parametrize("name", ["3b-224", "3b-448", "3b-896"])
def test_limits_of_the_published_sizes(name: str) -> None:
    numbers = geometry(name)
    assert manifest.token_limits(numbers, None, None) == (1024, 7168)
    if name == "3b-896":  # 4096 of 8192 positions are the image's
        with pytest.raises(ExportError, match="between 1 and 4095"):
            manifest.token_limits(numbers, LONG, None)
    else:
        assert manifest.token_limits(numbers, LONG, None) == (4096, 7168)


def test_special_pieces_of_a_template_need_format_2(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    given = with_pieces(tinies["tiny-a"], tmp_path / "given")
    assert export(given, tmp_path / "special", methods_file(tmp_path, SPECIAL)) == 0
    assert bundle.read_manifest(tmp_path / "special")["format"] == 2
    assert export(given, tmp_path / "plain") == 0
    assert bundle.read_manifest(tmp_path / "plain")["format"] == 1
    command = ["quantize", str(tmp_path / "special"), "--quantize=int8", f"--output={tmp_path}/int8", "--quiet"]
    assert cli.main(command) == 0
    assert bundle.read_manifest(tmp_path / "int8")["format"] == 2


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("<unused8> {question}", ["methods.answer", "<unused8>", "no token"]),
        ("<bos>{question}", ["<bos>", "leave it out"]),
        ("<image>answer {question}", ["<image>", "leave it out"]),
    ],
)
def test_special_pieces_that_are_none_are_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, prompt: str, words: list[str]
) -> None:
    methods = {"answer": {**SPECIAL["answer"], "prompt": prompt}}
    flag = methods_file(tmp_path, methods)
    given = with_pieces(tinies["tiny-a"], tmp_path / "given")
    assert_refused(given, tmp_path / "out" / "bundle", capsys, words, flag)


def test_pieces_that_clients_may_write_need_format_2(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = with_pieces(tinies["tiny-a"], tmp_path / "given")
    assert export(given, tmp_path / "bundle", "--client-special=<unused7>", "--client-special=<start_of_turn>") == 0
    assert cli.main(["verify", str(tmp_path / "bundle")]) == 0
    command = ["quantize", str(tmp_path / "bundle"), "--quantize=int8", f"--output={tmp_path}/int8", "--quiet"]
    assert cli.main(command) == 0
    for name in ("bundle", "int8"):
        content = bundle.read_manifest(tmp_path / name)
        assert content["format"] == 2 and content["tokens"]["client_specials"] == ["<unused7>", "<start_of_turn>"]
    capsys.readouterr()
    for piece in ("<unused8>", "<bos>", "unused7", "a"):
        assert_refused(given, tmp_path / "out/bundle", capsys, [piece], f"--client-special={piece}")


@pytest.mark.parametrize("methods", [[], {"answer": 3}, {"translate": {"default_tokens": 1, "max_tokens": 2}}])
def test_methods_that_are_none_are_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, methods: Any
) -> None:
    flag = methods_file(tmp_path, methods)
    assert_refused(tinies["tiny-a"].checkpoint, tmp_path / "out" / "bundle", capsys, ["method"], flag)
