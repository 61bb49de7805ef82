# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from paligemma_export import tokenizer
from paligemma_export.errors import ExportError
from sentencepiece import sentencepiece_model_pb2


@pytest.fixture(scope="module")
def model() -> bytes:
    return tokenizer.train(1664)


@pytest.fixture(scope="module")
def real() -> bytes:
    return tokenizer.train(257152)


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


def test_real_vocabulary_has_the_real_ids(real: bytes) -> None:
    ids = tokenizer.inspect(real, 257152)
    assert (ids.newline, ids.loc_first, ids.seg_first, ids.vocab) == (108, 256000, 257024, 257152)


def moved(model: bytes, piece: str, to: int) -> bytes:
    """The same pieces, one of them at another id."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    pieces = list(proto.pieces)
    index = next(index for index, one in enumerate(pieces) if one.piece == piece)
    pieces.insert(to, pieces.pop(index))
    del proto.pieces[:]
    proto.pieces.extend(pieces)
    return proto.SerializeToString()


@pytest.mark.parametrize(
    ("piece", "to", "problem"),
    [
        ("<unused60>", 257151, "<loc0000> is 255999, expected 256000"),
        ("\n", 300, "newline is 300, expected 108"),
        ("<loc1023>", 256000, "<loc1023>"),
        ("<seg127>", 257024, "<seg127>"),
        ("<bos>", 3, "<bos> is 3, expected 2"),
    ],
)
def test_a_real_vocabulary_with_other_ids_is_refused(
    real: bytes, piece: str, to: int, problem: str
) -> None:
    with pytest.raises(ExportError, match=problem):
        tokenizer.inspect(moved(real, piece, to), 257152)


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
