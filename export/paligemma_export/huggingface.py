# SPDX-License-Identifier: Apache-2.0
"""Hugging Face checkpoints: a directory with config.json and safetensors, single or sharded, in either naming."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from paligemma_export.errors import ExportError
from paligemma_export.hf_config import architecture_of
from paligemma_export.progress import Progress
from paligemma_export.source import check_shapes

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_RENAMES = (
    (re.compile(r"^model\.(?=language_model|vision_tower|multi_modal_projector)"), ""),
    (re.compile(r"^language_model\.model\."), "language_model."),
    (re.compile(r"^vision_tower\.vision_model\."), "vision_tower."),
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
)
_TABLE, _HEAD = "language_model.embed_tokens.weight", "lm_head.weight"


def canonical(name: str) -> str:
    """The name that both generations of the format share."""
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    return name


class HuggingFaceSource:
    """Reads tensors lazily: safetensors are memory-mapped, so that they cost no resident memory of their own."""

    def __init__(self, directory: Path, window_mode: str = "none", final_softcap: float | None = None):
        self.description = directory.name
        self._directory = directory
        config = self._json("config.json")
        self.architecture = architecture_of(config, window_mode, final_softcap)
        self._open_files()
        self._check()

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self._directory / name).read_text(encoding="utf-8"))
        except OSError as error:
            raise ExportError(f"{self._directory.name}/{name}: {error.strerror}") from None
        except ValueError as error:
            raise ExportError(f"{self._directory.name}/{name}: not JSON ({error})") from None

    def _weight_map(self, name: str) -> dict[str, str]:
        content = self._json(name)
        weight_map = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(weight_map, dict) or not weight_map:
            raise ExportError(f"{self._directory.name}/{name}: no weight_map")
        for file_name in weight_map.values():
            if not isinstance(file_name, str) or Path(file_name).name != file_name:
                raise ExportError(f"{self._directory.name}/{name}: {file_name!r} is no file of the folder")
        return weight_map

    def _open_files(self) -> None:
        index = self._directory / "model.safetensors.index.json"
        if index.exists():
            weight_map = self._weight_map(index.name)
            names = sorted(set(weight_map.values()))
        else:
            weight_map, names = None, ["model.safetensors"]
        self._where: dict[str, tuple[Any, str]] = {}
        digest = hashlib.sha256()
        sizes = [
            (self._directory / name).stat().st_size for name in names if (self._directory / name).is_file()
        ]
        progress = Progress(f"hashing {self.description}", sum(sizes))
        for name in names:
            path = self._directory / name
            if not path.is_file():
                raise ExportError(f"{self.description}: {name} is missing")
            try:
                handle = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise ExportError(f"{self.description}/{name}: {str(error).splitlines()[0]}") from None
            for key in handle.keys():  # noqa: SIM118  (a safetensors handle is no dictionary)
                if canonical(key) in self._where:
                    raise ExportError(f"{self.description}: {key} appears twice")
                self._where[canonical(key)] = (handle, key)
            digest.update(_digest_of(path, progress))
        if weight_map is not None:
            for key in weight_map:
                if canonical(key) not in self._where:
                    raise ExportError(f"{self.description}: the index names {key}, no shard holds it")
        progress.finish()
        self.digest = digest.hexdigest()

    def _check(self) -> None:
        slices = {name: handle.get_slice(key) for name, (handle, key) in self._where.items()}
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        expected = self.architecture.tensors()
        vocab = self.architecture.vocab
        for name in (_TABLE, _HEAD):
            if name in shapes and len(shapes[name]) == 2 and shapes[name][0] >= vocab:
                shapes[name] = (vocab, shapes[name][1])  # rows behind the vocabulary are padding
        head = shapes.pop(_HEAD, None)
        if head is not None and _TABLE not in shapes:
            shapes[_TABLE] = head
            self._where[_TABLE] = self._where[_HEAD]
            slices[_TABLE] = slices[_HEAD]
        elif head is not None:
            self._check_tied()
        check_shapes(shapes, expected, self.description, lambda name: self._where.get(name, (None, name))[1])
        kinds = {slices[name].get_dtype() for name in expected}
        unknown = kinds - _DTYPES.keys()
        if unknown:
            raise ExportError(
                f"{self.description}: tensors of type {', '.join(sorted(unknown))} are not supported"
            )
        self.dtype = "bfloat16" if kinds == {"BF16"} else "float32"

    def _check_tied(self) -> None:
        """Gemma ties its head to the table; a head of its own must hold the same values."""
        table, head = self.tensor(_TABLE), self.tensor(_HEAD)
        vocab = self.architecture.vocab
        step = max(1, (64 << 20) // (4 * table.size(1)))
        for start in range(0, vocab, step):
            rows = slice(start, min(vocab, start + step))
            if not torch.equal(table[rows], head[rows]):
                raise ExportError(
                    f"{self.description}: {self._where[_HEAD][1]} differs from the embedding table"
                )

    def tensor(self, name: str) -> Tensor:
        handle, key = self._where[name]
        return handle.get_tensor(key)


def _digest_of(path: Path, progress: Progress) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(16 << 20):
            digest.update(block)
            progress.advance(len(block))
    return digest.digest()
