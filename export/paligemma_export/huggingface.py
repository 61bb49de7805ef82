# SPDX-License-Identifier: Apache-2.0
"""Hugging Face checkpoints: a directory with config.json and safetensors, single or sharded, in any naming that
transformers, PEFT, torch.compile and the wrappers of distributed training have left behind."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from paligemma_export.checkpoint_files import load_json
from paligemma_export.errors import ExportError
from paligemma_export.fields.rules import Decisions
from paligemma_export.hf_config import architecture_of
from paligemma_export.identify import missing_shards
from paligemma_export.progress import Progress
from paligemma_export.source import check_shapes

_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_QUANTISED = {"F8_E4M3": "fp8", "F8_E5M2": "fp8", "I8": "int8", "U8": "packed"}
# Prefixes that wrappers put in front of a module's name or between its parts.
_WRAPPERS = re.compile(
    r"(?:(?<=^)|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|base_layer"
    r"|modules_to_save\.default)\."
)
_RENAMES = (
    (re.compile(r"^(?:module\.|base_model\.model\.|model\.(?=model\.))+"), ""),
    (re.compile(r"^model\.(?=language_model|vision_tower|multi_modal_projector|lm_head)"), ""),
    (re.compile(r"^language_model\.model\."), "language_model."),
    (re.compile(r"^vision_tower\.vision_model\."), "vision_tower."),
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
)
_TABLE, _HEAD = "language_model.embed_tokens.weight", "lm_head.weight"
# Tensors that the model does not read, each with what it is.
_UNREAD = (
    (re.compile(r"rotary_emb\.inv_freq$"), "frequencies of the rotation, which are computed"),
    (re.compile(r"position_ids$"), "positions, which are counted"),
    (re.compile(r"^vision_tower\.head\."), "the pooling head, which PaliGemma does not use"),
    (re.compile(r"\.original_module\."), "copies that PEFT keeps of what it replaced"),
)
_UNMERGED = re.compile(r"\.lora_(?:A|B|embedding_A|embedding_B|magnitude_vector)\b")
_MOSTLY = 0.5  # share of bfloat16 from which on a mixed checkpoint stays bfloat16


def canonical(name: str) -> str:
    """The name that every naming shares."""
    name = _WRAPPERS.sub("", name)
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    return name


class HuggingFaceSource:
    """Reads tensors lazily: safetensors are memory-mapped, so that they cost no resident memory of their own."""

    def __init__(
        self,
        directory: Path,
        window_mode: str = "none",
        final_softcap: float | None = None,
        vocab: int | None = None,
        decisions: Decisions | None = None,
    ):
        """`vocab` counts the tokenizer's pieces where a fine-tune added some behind <image>; `decisions` is told
        what was decided about tensors."""
        self.description = directory.name
        self._directory = directory
        self._decisions = decisions or Decisions()
        config = load_json(directory / "config.json", required=True)
        self.architecture = architecture_of(config, window_mode, final_softcap)
        if vocab is not None and vocab > self.architecture.vocab:
            self.architecture = self.architecture.replace(vocab=vocab)
        self._ties = not isinstance(config, dict) or config.get("tie_word_embeddings") is not False
        self._open_files()
        self._check()

    def _weight_map(self, name: str) -> dict[str, str]:
        content = load_json(self._directory / name)
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
            weight_map, names = None, self._names_without_index()
        self._where: dict[str, tuple[Any, str]] = {}
        self._unread: set[str] = set()
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
                self._book(handle, key)
            digest.update(_digest_of(path, progress))
        if weight_map is not None:
            for key in weight_map:
                if canonical(key) not in self._where and key not in self._unread:
                    raise ExportError(f"{self.description}: the index names {key}, no shard holds it")
        progress.finish()
        self.digest = digest.hexdigest()

    def _names_without_index(self) -> list[str]:
        """model.safetensors, or all shards of a set, or the only file there is."""
        found = sorted(path.name for path in self._directory.glob("*.safetensors"))
        found = [name for name in found if name != "adapter_model.safetensors"]
        if "model.safetensors" in found or not found:
            return ["model.safetensors"]
        lost = missing_shards(found)
        if lost:
            raise ExportError(f"{self.description}: {', '.join(lost[:3])} is missing: the download did not end")
        return found

    def _book(self, handle: Any, key: str) -> None:
        """Notes where a tensor lies, unless the model does not read it."""
        if _UNMERGED.search(key):
            raise ExportError(
                f"{self.description}: {key} belongs to an adapter that is not merged: call merge_and_unload() on the "
                "PEFT model, then save_pretrained"
            )
        name = canonical(key)
        for pattern, what in _UNREAD:
            if pattern.search(name):
                self._unread.add(key)
                self._decisions.note(f"tensors left out: {what} ({key})")
                return
        if name in self._where:
            raise ExportError(f"{self.description}: {key} appears twice")
        self._where[name] = (handle, key)

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
        elif not self._ties:
            raise ExportError(
                f"{self.description}: config.json says tie_word_embeddings false, but lm_head.weight is not there"
            )
        check_shapes(shapes, expected, self.description, lambda name: self._where.get(name, (None, name))[1])
        kinds = {slices[name].get_dtype() for name in expected}
        unknown = kinds - _DTYPES.keys()
        if unknown:
            packed = [_QUANTISED[kind] for kind in sorted(unknown) if kind in _QUANTISED]
            hint = f": the checkpoint is quantised ({packed[0]}); export the original with --quantize" if packed else ""
            raise ExportError(
                f"{self.description}: tensors of type {', '.join(sorted(unknown))} are not supported{hint}"
            )
        self.dtype = self._choose_dtype({name: slices[name].get_dtype() for name in expected}, shapes)

    def _choose_dtype(self, types: dict[str, str], shapes: dict[str, tuple[int, ...]]) -> str:
        """bfloat16 for a checkpoint that is mostly that, float32 for any other. Vectors stay float32 in any case."""
        matrices = {name: kind for name, kind in types.items() if len(shapes[name]) > 1}
        sizes = {kind: 0 for kind in ("BF16", "F32", "F16")}
        for name, kind in matrices.items():
            sizes[kind] += math.prod(shapes[name])
        if sizes["F16"]:
            self._decisions.note("float16 tensors are widened to float32, which is exact")
        if sizes["F16"] or sizes["BF16"] <= _MOSTLY * sum(sizes.values()):
            return "float32"
        wide = [self._where[name][1] for name, kind in matrices.items() if kind == "F32"]
        if wide:
            more = f" and {len(wide) - 2} more" if len(wide) > 2 else ""
            self._decisions.note(
                f"the checkpoint is bfloat16 and stays so; {', '.join(wide[:2])}{more} is float32 and is rounded "
                "(--dtype=float32 keeps it)"
            )
        return "bfloat16"

    def _check_tied(self) -> None:
        """Gemma ties its head to the table; a head of its own must hold the same values."""
        table, head = self.tensor(_TABLE), self.tensor(_HEAD)
        vocab = self.architecture.vocab
        step = max(1, (64 << 20) // (4 * table.size(1)))
        for start in range(0, vocab, step):
            rows = slice(start, min(vocab, start + step))
            if not torch.equal(table[rows], head[rows]):
                raise ExportError(
                    f"{self.description}: {self._where[_HEAD][1]} differs from the embedding table: a head of its own, "
                    "trained without tying, is not supported"
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
