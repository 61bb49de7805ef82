# SPDX-License-Identifier: Apache-2.0
"""A sentencepiece model as transformers 5 saves it: tokenizer.json of the tokenizers library, written from the rules
of transformers' own converter (every pair that makes a piece is a merge, pieces in the order of their scores)."""

from __future__ import annotations

import copy
from typing import Any

from sentencepiece import sentencepiece_model_pb2

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE, _UNUSED = 1, 2, 3, 4, 6, 5


def as_json(data: bytes) -> dict[str, Any]:
    """The content of tokenizer.json."""
    pieces = list(sentencepiece_model_pb2.ModelProto.FromString(data).pieces)
    vocab = {_spelled(piece.piece): index for index, piece in enumerate(pieces)}
    merges = []
    for piece in sorted(pieces, key=lambda one: -one.score):  # runs of blanks, which score 0, come first
        text = piece.piece
        if piece.type in (_NORMAL, _USER_DEFINED):
            pairs = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
            merges += [list(pair) for pair in pairs if all(part in vocab for part in pair)]
    added = [
        _entry(index, piece.piece, piece.type != _USER_DEFINED)
        for index, piece in enumerate(pieces)
        if piece.type in (_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED)
    ]
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": space,
        "pre_tokenizer": {
            "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False,
        },
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
            "vocab": vocab, "merges": merges,
        },
    }  # fmt: skip


def _spelled(piece: str) -> str:
    return "\t" if piece == "<0x09>" else piece


def _entry(index: int, content: str, special: bool) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": index, "content": content, **flags, "special": special}


def with_added(content: dict[str, Any], index: int, text: str) -> dict[str, Any]:
    """The same with one more token, in place of any other of its id."""
    changed = copy.deepcopy(content)
    model = changed["model"]
    model["vocab"] = {piece: one for piece, one in model["vocab"].items() if one != index} | {text: index}
    changed["added_tokens"] = [one for one in changed["added_tokens"] if one["id"] != index]
    changed["added_tokens"].append(_entry(index, text, text == "<image>"))
    return changed
