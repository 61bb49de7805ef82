# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from paligemma_export import tokenizer
from paligemma_export.errors import ExportError
from sentencepiece import sentencepiece_model_pb2


@pytest.fixture(scope="module")
def model() -> bytes:
    return tokenizer.train(1664)


def test_tiny_tokenizer_passes_its_checks(model: bytes) -> None:
    ids = tokenizer.inspect(model, 1664)
    assert (ids.newline, ids.loc_first, ids.seg_first, ids.vocab) == (4, 512, 1536, 1664)
    assert tokenizer.train(1664) == model, "training is deterministic"


def test_rules_of_the_real_one(model: bytes) -> None:
    processor = tokenizer.load(model)
    assert processor.encode("\n\n") == [5]
    assert processor.encode("  ") != processor.encode(" ")
    assert processor.encode("cat ") != processor.encode("cat")
    assert processor.decode(processor.encode("  two  spaces ")) == "  two  spaces "
    assert processor.decode([512, 1663]) == "<loc0000><seg127>"
    assert all(processor.is_byte(i) for i in processor.encode("\u4e2d"))
    assert processor.encode("<bos>")[0] != tokenizer.BOS and processor.encode("<eos>")[0] != tokenizer.EOS


def test_real_vocabulary_has_the_real_ids() -> None:
    ids = tokenizer.inspect(tokenizer.train(257152), 257152)
    assert (ids.newline, ids.loc_first, ids.seg_first, ids.vocab) == (108, 256000, 257024, 257152)


def test_wrong_tokenizers_are_refused(model: bytes) -> None:
    with pytest.raises(ExportError, match="not a sentencepiece model"):
        tokenizer.inspect(b"nonsense")
    with pytest.raises(ExportError, match="number of pieces"):
        tokenizer.inspect(model, 1663)
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    proto.normalizer_spec.add_dummy_prefix = True
    with pytest.raises(ExportError, match="encoding of <loc0000>"):
        tokenizer.inspect(proto.SerializeToString())
    del proto.pieces[512:]
    with pytest.raises(ExportError, match="no <loc0000>"):
        tokenizer.inspect(proto.SerializeToString())
