# SPDX-License-Identifier: Apache-2.0
"""tokenizer.json of the `tokenizers` library, converted to a sentencepiece model with the same ids.

Both are byte-pair encoders, but they choose the next merge differently: `tokenizers` takes the pair that stands first
in a list of merges, sentencepiece the pair whose joined piece has the best score. The two agree if the merges of one
piece stand next to each other in the list and the list names every pair that makes a piece. Both are checked here, and
anything else that sentencepiece cannot express is refused by its name.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from paligemma_export.errors import ExportError

_Piece = sentencepiece_model_pb2.ModelProto.SentencePiece
_SPACE = "▁"
_CONTROL = ("<pad>", "<eos>", "<bos>")
_CHECKED_TEXTS = 400


@dataclass(frozen=True)
class AddedToken:
    """A token that is matched as a whole before anything else."""

    content: str
    special: bool = False
    edges: str = ""  # the flags lstrip, rstrip and single_word that are set


def parse(text: str, where: str) -> dict[str, Any]:
    """The file's content; raises ExportError if it is no byte-pair tokenizer of the library."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ExportError(f"{where}: not JSON ({error})") from None
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict) or not model["vocab"]:
        raise ExportError(f"{where}: not a tokenizer of the tokenizers library (model.vocab is missing)")
    return content


def added_tokens(content: dict[str, Any]) -> dict[int, AddedToken]:
    """Id -> token of `added_tokens`."""
    return {entry["id"]: added_token(entry) for entry in content.get("added_tokens") or []}


def added_token(entry: dict[str, Any]) -> AddedToken:
    """An entry as tokenizer.json and tokenizer_config.json write it."""
    edges = [flag for flag in ("lstrip", "rstrip", "single_word") if entry.get(flag)]
    return AddedToken(entry["content"], bool(entry.get("special")), ", ".join(edges))


def convert(content: dict[str, Any], where: str, size: int | None = None) -> bytes:
    """The sentencepiece model of the first `size` ids; by default of all in front of <image>."""
    problems = _inexpressible(content)
    if problems:
        raise ExportError(f"{where}: {'; '.join(problems[:3])}: sentencepiece cannot express this")
    added = added_tokens(content)
    by_id = {index: piece for piece, index in content["model"]["vocab"].items()}
    by_id |= {index: token.content for index, token in added.items()}
    if size is None:
        size = next((index for index, token in added.items() if token.content == "<image>"), len(by_id))
    holes = [index for index in range(size) if index not in by_id]
    if holes:
        raise ExportError(f"{where}: no piece has the id {holes[0]}")
    edges = [token.content for index, token in sorted(added.items()) if token.edges and index < size]
    if edges:
        raise ExportError(f"{where}: {edges[0]} has lstrip, rstrip or single_word, which sentencepiece cannot express")
    ranks = _ranks(content["model"], {token.content for token in added.values()}, where)
    model = _empty_model(size)
    for index in range(size):
        piece, kind = by_id[index], _kind(index, by_id[index], added)
        if piece == "\t" and index not in added and "<0x09>" not in content["model"]["vocab"]:
            piece, kind = "<0x09>", _Piece.BYTE
        score = -float(ranks.get(piece, len(ranks))) if kind == _Piece.NORMAL else 0.0
        model.pieces.add(piece=piece.replace(" ", _SPACE), score=score, type=kind)
    data = model.SerializeToString(deterministic=True)
    _check_against_library(content, data, where)
    return data


def _kind(index: int, piece: str, added: dict[int, AddedToken]) -> int:
    if piece == "<unk>":
        return _Piece.UNKNOWN
    if piece in _CONTROL:
        return _Piece.CONTROL
    if index in added:
        return _Piece.USER_DEFINED
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        return _Piece.BYTE
    return _Piece.NORMAL


def _inexpressible(content: dict[str, Any]) -> list[str]:
    """What of the file is no part of a Gemma tokenizer."""
    model, problems = content["model"], []

    def expect(name: str, found: Any, *accepted: Any) -> None:
        if found not in accepted:
            problems.append(f"{name} is {json.dumps(found, ensure_ascii=False)[:80]}")

    space = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    spaces = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    expect("model.type", model.get("type", "BPE"), "BPE")
    expect("model.byte_fallback", model.get("byte_fallback"), True)
    expect("model.dropout", model.get("dropout"), None, 0, 0.0)
    expect("model.continuing_subword_prefix", model.get("continuing_subword_prefix"), None, "")
    expect("model.end_of_word_suffix", model.get("end_of_word_suffix"), None, "")
    expect("model.ignore_merges", model.get("ignore_merges", False), False)
    expect("normalizer", content.get("normalizer"), space, {"type": "Sequence", "normalizers": [space]})
    expect("pre_tokenizer", content.get("pre_tokenizer"), None, spaces)  # the second has no spaces left to split at
    return problems


def _ranks(model: dict[str, Any], added: set[str], where: str) -> dict[str, int]:
    """Joined piece -> its place among the pieces that merges make."""
    vocab, ranks, pairs, last = model["vocab"], {}, set(), ""
    for merge in model.get("merges") or []:
        left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
        piece = left + right
        if piece != last and piece in ranks:
            raise ExportError(
                f"{where}: the merges of {piece!r} do not stand together, which sentencepiece cannot express"
            )
        if piece not in ranks:
            ranks[piece] = len(ranks)
        pairs.add((left, right))
        last = piece
    for piece in vocab:
        if len(piece) < 2 or piece in added or (piece.startswith("<0x") and len(piece) == 6):
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocab and right in vocab and (left, right) not in pairs:
                raise ExportError(
                    f"{where}: {left!r} and {right!r} are never joined to {piece!r}, which sentencepiece would do"
                )
    return ranks


def _empty_model(size: int) -> sentencepiece_model_pb2.ModelProto:
    """Trainer and normaliser settings of the published tokenizer."""
    model = sentencepiece_model_pb2.ModelProto()
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.vocab_size, trainer.byte_fallback = 2, size, True
    trainer.pad_id, trainer.eos_id, trainer.bos_id, trainer.unk_id = 0, 1, 2, 3
    trainer.pad_piece, trainer.eos_piece, trainer.bos_piece, trainer.unk_piece = "<pad>", "<eos>", "<bos>", "<unk>"
    trainer.split_digits, trainer.allow_whitespace_only_pieces, trainer.character_coverage = True, True, 1.0
    normalizer.name = "identity"
    normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces, normalizer.escape_whitespaces = False, False, True
    return model


def _check_against_library(content: dict[str, Any], data: bytes, where: str) -> None:
    """Compares ids on texts made of the vocabulary's own pieces, where the library is installed."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return
    theirs = Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    ours = sentencepiece.SentencePieceProcessor(model_proto=data)
    draw = random.Random(0)
    pieces = [piece.replace(_SPACE, " ") for piece in sorted(content["model"]["vocab"]) if not piece.startswith("<")]
    for _ in range(_CHECKED_TEXTS):
        few = draw.sample(pieces, min(4, len(pieces)))
        text = "".join(draw.choice(few) for _ in range(12))
        found, expected = ours.encode(text), theirs.encode(text, add_special_tokens=False).ids
        if found != expected:
            raise ExportError(f"{where}: {text!r} becomes {found} after conversion, but was {expected}")
