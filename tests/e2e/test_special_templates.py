# SPDX-License-Identifier: Apache-2.0
"""Special pieces: tokens where the operator's template spells them, text where a client does; and a fine-tune's own
tokens, which both may write."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import serving

sys.path += [str(serving.ROOT / "export"), str(serving.ROOT / "tests/export")]

import torch  # noqa: E402
from paligemma_export import bundle, cli, pictures, tokenizer  # noqa: E402
from paligemma_export.bundle_source import load_module  # noqa: E402
from paligemma_export.runner import Runner  # noqa: E402
from sentencepiece import sentencepiece_model_pb2  # noqa: E402

PICTURE = serving.TINY / "goldens/blocks.png"
METHODS = {
    "answer": {"prompt": "<unused7> {question}", "languages": ["en"], "default_tokens": 8, "max_tokens": 64},
    "generate": {"default_tokens": 8, "max_tokens": 64},
}
UNUSED, ADDED = 510, 1665


@pytest.fixture(scope="module")
def special(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose tokenizer has <unused7> as the real one has, and <cell> behind <image>."""
    folder = tmp_path_factory.mktemp("special")
    checkpoint, target = folder / "checkpoint", folder / "bundle"
    command = ["random", "--geometry=tiny-a", "--seed=8", "--quiet", f"--output={folder}/plain"]
    assert cli.main([*command, f"--checkpoint-output={checkpoint}"]) == 0
    model = sentencepiece_model_pb2.ModelProto.FromString((checkpoint / "tokenizer.model").read_bytes())
    model.pieces[UNUSED].piece, model.pieces[UNUSED].type = "<unused7>", 4
    (checkpoint / "tokenizer.model").write_bytes(model.SerializeToString())
    (checkpoint / "added_tokens.json").write_text(json.dumps({"<image>": ADDED - 1, "<cell>": ADDED}))
    (folder / "methods.json").write_text(json.dumps(METHODS))
    flags = [f"--checkpoint={checkpoint}", f"--output={target}", f"--methods={folder}/methods.json", "--quiet"]
    assert cli.main(["export", *flags]) == 0
    assert bundle.read_manifest(target)["format"] == 2
    return target


@pytest.fixture(scope="module")
def server(special: Path) -> Iterator[serving.Server]:
    with serving.Server(special) as running:
        yield running


def expected(path: Path, ids: list[int]) -> tuple[str, int]:
    """(the greedy answer to a prompt of these ids, its number of tokens with the image's), without the server."""
    content = bundle.read_manifest(path)
    words = tokenizer.load((path / "tokenizer.model").read_bytes())
    with torch.inference_mode():
        features = load_module(path, "vision.pt")(pictures.prepared(pictures.opened(PICTURE), content["image"]))
        text = [tokenizer.BOS, *ids, content["tokens"]["newline"]]
        runner = Runner.of_manifest(load_module(path, "decoder.pt"), content)
        tokens = runner.generate(features, text, 8).token_ids
    return words.decode(tokens), content["image"]["tokens"] + len(text)


def found(response: object) -> tuple[str, int]:
    """The same of the server's response."""
    return response.info.raw_text, response.info.usage.prompt_token_count


def test_a_templates_special_piece_is_a_token(special: Path, server: serving.Server) -> None:
    words = tokenizer.load((special / "tokenizer.model").read_bytes())
    ids = words.encode("<unused7> what colour is it?")
    assert ids[0] == UNUSED
    assert found(server.client.answer(PICTURE, "what colour is it?")) == expected(special, ids)


def test_a_clients_spelling_of_it_is_text(special: Path, server: serving.Server) -> None:
    words = tokenizer.load((special / "tokenizer.model").read_bytes())
    as_text = [*words.encode("<"), *words.encode("unused7> what?")]
    answer = server.client.generate(PICTURE, "<unused7> what?", config={"max_output_tokens": 8})
    assert found(answer) == expected(special, as_text)
    mixed = [*words.encode("<unused7> <"), *words.encode("unused7> what?")]
    assert found(server.client.answer(PICTURE, "<unused7> what?")) == expected(special, mixed)


def test_a_fine_tunes_own_token_is_one_in_every_text(special: Path, server: serving.Server) -> None:
    words = tokenizer.load((special / "tokenizer.model").read_bytes())
    ids = words.encode("read <cell>now")
    assert ADDED in ids
    answer = server.client.generate(PICTURE, "read <cell>now", config={"max_output_tokens": 8})
    assert found(answer) == expected(special, ids)


def test_a_piece_that_the_manifest_opens_to_clients_is_a_token(special: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    shutil.copytree(special, target)
    content = bundle.read_manifest(target)
    content["tokens"]["client_specials"] = ["<unused7>"]
    bundle.write_manifest(target, content)
    words = tokenizer.load((target / "tokenizer.model").read_bytes())
    with serving.Server(target) as running:
        answer = running.client.generate(PICTURE, "say <unused7>.", config={"max_output_tokens": 8})
        assert found(answer) == expected(target, words.encode("say <unused7>."))


def test_the_models_own_ends_and_suppressed_tokens_hold(special: Path, tmp_path: Path) -> None:
    """The server's tokens are those of plain Python, which follows both lists; without them there are others."""
    words = tokenizer.load((special / "tokenizer.model").read_bytes())
    ids = words.encode("caption en")
    content = bundle.read_manifest(special)
    runner = Runner.of_manifest(load_module(special, "decoder.pt"), content)
    features = load_module(special, "vision.pt")(pictures.prepared(pictures.opened(PICTURE), content["image"]))
    usual = runner.generate(features, [tokenizer.BOS, *ids, content["tokens"]["newline"]], 8).token_ids
    content["tokens"] |= {"suppressed": [usual[0]], "more_eos": [usual[-1]]}
    target = tmp_path / "bundle"
    shutil.copytree(special, target)
    bundle.write_manifest(target, content)
    with serving.Server(target) as running:
        for config in ({}, {"min_output_tokens": 6}):
            answer = running.client.generate(PICTURE, "caption en", config={"max_output_tokens": 8, **config})
            assert not config or answer.info.usage.output_token_count >= 6
            if not config:
                assert found(answer) == expected(target, ids) != expected(special, ids)


def test_a_server_that_is_given_something_else_says_what_it_is(tmp_path: Path, special: Path) -> None:
    shutil.copytree(special.parent / "checkpoint", tmp_path / "checkpoint")
    command = [str(serving.SERVER), "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"]
    for given, words in (
        (tmp_path / "checkpoint", "is a Hugging Face checkpoint, not a bundle: export it first"),
        (tmp_path / "checkpoint/model.safetensors", "holds the weights of a checkpoint"),
        (Path("google/paligemma2-3b-mix-224"), "hf download google/paligemma2-3b-mix-224"),
    ):
        done = subprocess.run([*command, f"--model={given}"], capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and words in done.stdout + done.stderr, done.stdout + done.stderr
