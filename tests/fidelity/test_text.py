# SPDX-License-Identifier: Apache-2.0
"""Prompts, typed fields and detokenization against sentencepiece itself and transformers' tokenizer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import transformers
from conftest import BUNDLE, Probe, Table, cases

SEED = 21
TOKENS = json.loads((BUNDLE / "manifest.json").read_text())["tokens"]
LOCATIONS = range(TOKENS["loc_first"], TOKENS["loc_first"] + TOKENS["loc_count"])
CODES = range(TOKENS["seg_first"], TOKENS["seg_first"] + TOKENS["seg_count"])
WORDS = ["caption en", "answer de", "detect", "cat", "Straße", "où est", "牛は", "корова", "🐄🏖️", "e\u0301", "ﬁ", "½"]
WORDS += ["x=1;", "12345"]
BLANKS = [" ", "  ", "   ", "\t", "\n", "\n\n", "\u00a0", "\u3000", "\u2581", "\r\n", "\u200b"]
PLACES = ["<loc0000>", "<loc1023>", "<loc0512>", "<seg000>", "<seg127>", "<loc0001><loc0002>"]
NEARLY = ["<loc1024>", "<loc12>", "<LOC0001>", "<seg128>", "< loc0001>", "<b>", "</td>", "<", ">", "<<loc0001>"]
SPECIAL = ["<bos>", "<eos>", "<pad>", "<unk>"]


@pytest.fixture(scope="module")
def pieces() -> sentencepiece.SentencePieceProcessor:
    """sentencepiece on the bundle's own model."""
    return sentencepiece.SentencePieceProcessor(model_file=str(BUNDLE / "tokenizer.model"))


def strings(number: int, *vocabularies: list[str]) -> list[str]:
    """Texts of one to eight parts, and one in ten of any characters at all."""
    random = np.random.default_rng(SEED)
    parts = [part for vocabulary in vocabularies for part in vocabulary]
    texts = []
    for i in range(number):
        if i % 10 == 9:
            codes = random.integers(1, 0x11000, random.integers(1, 12))
            texts.append("".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000))
        else:
            texts.append("".join(random.choice(parts) for _ in range(random.integers(1, 9))))
    return texts


def prompt_of(probe: Probe, text: str) -> list[int] | None:
    """The prefix of Generate, or None where the text is refused."""
    return probe.ask("prompt", text=text).get("ids")


def test_the_prefix_of_generate_is_sentencepieces(
    probe: Probe, table: Table, pieces: sentencepiece.SentencePieceProcessor
) -> None:
    texts = strings(cases(10_000), WORDS, BLANKS, PLACES, NEARLY)
    for text in texts:
        expected = [TOKENS["bos"], *pieces.encode(text.rstrip("\n")), TOKENS["newline"]]
        assert prompt_of(probe, text) == expected, repr(text)
    table.add("prompts: assembly and ids", "sentencepiece, big_vision's rule", len(texts), "0")


def test_the_prefix_of_generate_is_transformers(probe: Probe, table: Table, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((BUNDLE / "tokenizer.model").read_bytes())
    tokenizer = transformers.GemmaTokenizer.from_pretrained(tmp_path)
    compared = 0
    for text in strings(cases(10_000), WORDS, BLANKS, PLACES, NEARLY):
        ids = tokenizer.encode(text.rstrip("\n") + "\n", add_special_tokens=False)
        if not ids or ids[-1] != TOKENS["newline"]:
            continue  # the newline became part of a longer token, which the rule forbids
        assert prompt_of(probe, text) == [TOKENS["bos"], *ids], repr(text)
        compared += 1
    assert compared > cases(10_000) * 0.9
    table.add("prompts: assembly and ids", "transformers' GemmaTokenizer", compared, "0")


def test_typed_text_never_becomes_a_special_token(
    probe: Probe, table: Table, pieces: sentencepiece.SentencePieceProcessor
) -> None:
    forbidden = {TOKENS["bos"], TOKENS["eos"], TOKENS["pad"], *LOCATIONS, *CODES}
    spelled = re.compile(r"<loc\d{4}>|<seg\d{3}>")
    texts = strings(cases(10_000), WORDS, BLANKS, PLACES, NEARLY, SPECIAL)
    for text in texts:
        ids = probe.ask("plain", text=text)["ids"]
        assert not forbidden & set(ids), repr(text)
        # sentencepiece writes U+2581 for a blank, so that either comes back as a blank.
        assert pieces.decode(ids) == text.replace("\u2581", " "), repr(text)
        if not spelled.search(text):
            assert ids == pieces.encode(text), repr(text)
    table.add("typed fields: special spellings are text", "sentencepiece", len(texts), "0")


def test_text_that_goes_out_piece_by_piece_is_the_whole_text(
    probe: Probe, table: Table, pieces: sentencepiece.SentencePieceProcessor
) -> None:
    random = np.random.default_rng(SEED)
    first_byte = pieces.piece_to_id("<0x00>")
    number = cases(10_000)
    for _ in range(number):
        ids = random.integers(0, TOKENS["vocab"], random.integers(1, 30))
        bytes_ = random.random(len(ids)) < 0.4  # runs of bytes, most of them no UTF-8
        ids = np.where(bytes_, first_byte + random.integers(0, 256, len(ids)), ids).tolist()
        answer = probe.ask("decode", ids=ids)
        assert "".join(answer["parts"]) == answer["whole"], ids
        for part in answer["parts"]:
            part.encode()  # whole characters
        spoken = [i for i in ids if i not in (TOKENS["pad"], TOKENS["bos"], TOKENS["eos"])]
        assert answer["whole"] == "".join(_decoded(pieces, spoken)), ids
    table.add("detokenization, whole and incremental, bytes that are no UTF-8", "Python's UTF-8 decoder", number, "0")


def _decoded(pieces: sentencepiece.SentencePieceProcessor, ids: list[int]) -> str:
    """Pieces as bytes, then Python's decoder, one U+FFFD for each byte that fits nowhere."""
    data = b""
    for token in ids:
        piece = pieces.id_to_piece(token)
        data += bytes([int(piece[3:5], 16)]) if pieces.is_byte(token) else _spoken(pieces, token, piece).encode()
    text = ""
    while data:
        try:
            return text + data.decode()
        except UnicodeDecodeError as error:
            text += data[: error.start].decode() + "\ufffd"
            data = data[error.start + 1 :]
    return text


def _spoken(pieces: sentencepiece.SentencePieceProcessor, token: int, piece: str) -> str:
    return " \u2047 " if pieces.is_unknown(token) else piece.replace("\u2581", " ")
