# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of a checkpoint, whatever files it is stored in, as one sentencepiece model.

tokenizer.model is taken as it is, tokenizer.json is converted. Tokens that a fine-tune added behind <image> become
pieces behind it, <image> itself a piece that no text becomes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from paligemma_export import tokenizer_json
from paligemma_export.errors import ExportError
from paligemma_export.fields.rules import Decisions
from paligemma_export.identify import is_lfs_pointer, lfs_sentence
from paligemma_export.tokenizer_json import AddedToken

IMAGE = "<image>"
_Piece = sentencepiece_model_pb2.ModelProto.SentencePiece


def read(folder: Path, named: str | None, image_id: int | None, decisions: Decisions) -> bytes:
    """The model of the checkpoint in `folder`, or of the file that the user named. `image_id` is the id of <image>,
    None for a checkpoint that does not say it."""
    path = Path(named) if named else _beside(folder)
    if path.is_dir():
        path = _beside(path)
    _check_readable(path)
    if path.suffix == ".json":
        content = tokenizer_json.parse(path.read_text(encoding="utf-8"), path.name)
        data = tokenizer_json.convert(content, path.name, image_id)
        decisions.note(f"{path.name} is converted to a sentencepiece model of the same ids")
    else:
        data = path.read_bytes()
    beside = path.parent
    other = beside / "tokenizer.json"
    if path.suffix != ".json" and other.is_file() and not is_lfs_pointer(other) and image_id is not None:
        data = _same_or_converted(data, other, image_id, decisions)
    return data if image_id is None else _extended(data, beside, image_id, decisions)


def _beside(folder: Path) -> Path:
    for name in ("tokenizer.model", "tokenizer.json"):
        if (folder / name).exists() or (folder / name).is_symlink():
            return folder / name
    models = sorted(folder.glob("*tokenizer*.model"))
    if len(models) == 1:
        return models[0]
    raise ExportError(
        f"tokenizer {folder / 'tokenizer.model'}: No such file, nor a tokenizer.json; "
        "name one with --tokenizer=FILE (of the model that was fine-tuned)"
    )


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ExportError(f"tokenizer {path}: {error.strerror}; name one with --tokenizer=FILE") from None
    if is_lfs_pointer(path):
        raise ExportError(lfs_sentence(path))


def _pieces(data: bytes) -> list[str]:
    try:
        return [piece.piece for piece in sentencepiece_model_pb2.ModelProto.FromString(data).pieces]
    except Exception:  # protobuf's errors are of several kinds
        raise ExportError("tokenizer: not a sentencepiece model") from None


def _same_or_converted(data: bytes, other: Path, image_id: int, decisions: Decisions) -> bytes:
    """transformers reads tokenizer.json before tokenizer.model: where they differ, the first one counts."""
    try:
        content = tokenizer_json.parse(other.read_text(encoding="utf-8"), other.name)
    except ExportError:
        decisions.note("tokenizer.json is no tokenizer of the tokenizers library; tokenizer.model is used")
        return data
    by_id = {index: piece for piece, index in content["model"]["vocab"].items()}
    by_id |= {index: token.content for index, token in tokenizer_json.added_tokens(content).items()}
    pieces = _pieces(data)
    differing = [
        piece
        for index, piece in enumerate(pieces)
        if by_id.get(index, piece).replace(" ", "▁") != piece and (piece, by_id[index]) != ("<0x09>", "\t")
    ]
    if not differing:
        return data
    decisions.note(
        f"tokenizer.json differs from tokenizer.model ({differing[0]} first) and is used, as in transformers"
    )
    return tokenizer_json.convert(content, other.name, image_id)


def _extended(data: bytes, folder: Path, image_id: int, decisions: Decisions) -> bytes:
    """The model with the tokens that the folder's files add behind <image>."""
    added = added_beside(folder)
    pieces = _pieces(data)
    if len(pieces) != image_id:
        return data  # tokenizer.inspect says how many there must be
    for index, token in sorted(added.items()):
        known = pieces[index] if index < len(pieces) else IMAGE if index == image_id else None
        if known is not None and token.content.replace(" ", "▁") not in (known, "\t" if known == "<0x09>" else known):
            raise ExportError(f"the tokenizer's files name the token {index} {token.content!r}, but it is {known!r}")
    _check_named(folder, {token.content for token in added.values()} | set(pieces) | {IMAGE})
    behind = {index: token for index, token in added.items() if index > image_id}
    if not behind:
        return data
    _check_behind(behind, pieces)
    model = sentencepiece_model_pb2.ModelProto.FromString(data)
    model.pieces.add(piece=IMAGE, score=0.0, type=_Piece.CONTROL)
    for index in range(image_id + 1, max(behind) + 1):
        token = behind.get(index)
        text = token.content.replace(" ", "▁") if token else f"<nothing{index}>"
        model.pieces.add(piece=text, score=0.0, type=_Piece.USER_DEFINED if token else _Piece.UNUSED)
    model.trainer_spec.vocab_size = len(model.pieces)
    names = ", ".join(token.content for _, token in sorted(behind.items())[:8])
    decisions.note(f"{len(behind)} tokens were added behind <image> and are served: {names}")
    return model.SerializeToString(deterministic=True)


def _check_named(folder: Path, known: set[str]) -> None:
    """Special tokens that the files name without an id would get one from transformers when it loads them."""
    for file, field in (
        ("tokenizer_config.json", "additional_special_tokens"),
        ("tokenizer_config.json", "extra_special_tokens"),
        ("special_tokens_map.json", "additional_special_tokens"),
    ):
        named = _object(folder / file).get(field) or []
        for entry in named.values() if isinstance(named, dict) else named:
            text = entry.get("content") if isinstance(entry, dict) else entry
            if text not in known:
                raise ExportError(f"{file}: {field} names {text!r}, which has no id in the tokenizer's files")


def _check_behind(behind: dict[int, AddedToken], pieces: list[str]) -> None:
    known = set(pieces) | {IMAGE}
    for index, token in sorted(behind.items()):
        if token.edges:
            raise ExportError(f"the added token {token.content!r} ({index}) has {token.edges}, which is not supported")
        if not token.content or token.content.replace(" ", "▁") in known:
            raise ExportError(f"the added token {token.content!r} ({index}) is empty or in the vocabulary already")
    if max(behind) - min(behind) > 65536:
        raise ExportError(
            f"the added token {behind[max(behind)].content!r} has the id {max(behind)}, far behind the others"
        )


def added_beside(folder: Path) -> dict[int, AddedToken]:
    """Id -> token of tokenizer.json, added_tokens.json and tokenizer_config.json, the last one's flags first."""
    tokens: dict[int, AddedToken] = {}
    for content, index in _object(folder / "added_tokens.json").items():
        if not isinstance(index, int):
            raise ExportError(f"added_tokens.json: {content!r} has the id {index!r}, not a number")
        tokens[index] = AddedToken(content)
    for name, entries in (
        ("tokenizer.json", [(entry.get("id"), entry) for entry in _list(folder / "tokenizer.json", "added_tokens")]),
        (
            "tokenizer_config.json",
            list((_object(folder / "tokenizer_config.json").get("added_tokens_decoder") or {}).items()),
        ),
    ):
        for index, entry in entries:
            try:
                token, key = tokenizer_json.added_token(entry), int(index)
            except (KeyError, TypeError, ValueError, AttributeError):
                raise ExportError(f"{name}: an added token without id or content") from None
            if key in tokens and tokens[key].content != token.content:
                raise ExportError(
                    f"{name}: token {key} is {token.content!r}, another file says {tokens[key].content!r}"
                )
            tokens[key] = token
    return tokens


def _object(path: Path) -> dict[str, Any]:
    """The object of a JSON file that need not be there."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{path.name}: not JSON ({error})") from None
    return content if isinstance(content, dict) else {}


def _list(path: Path, name: str) -> list[dict[str, Any]]:
    value = _object(path).get(name)
    return value if isinstance(value, list) else []
