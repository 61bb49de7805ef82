# SPDX-License-Identifier: Apache-2.0
"""A checkpoint with a LoRA of PEFT merged into it: every matrix that the adapter names becomes W + scale * B A."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from paligemma_export.checkpoint_files import load_json
from paligemma_export.errors import ExportError
from paligemma_export.fields import adapter
from paligemma_export.fields.rules import Decisions
from paligemma_export.huggingface import canonical
from paligemma_export.identify import is_lfs_pointer, lfs_sentence
from paligemma_export.source import Source

_SUFFIX = re.compile(r"\.lora_([AB])(?:\.default)?\.weight$")


class AdaptedSource:
    """Merges in float32, one matrix at a time."""

    def __init__(self, source: Source, folder: Path, decisions: Decisions):
        self._source = source
        self.architecture = source.architecture
        self.dtype, self.digest = source.dtype, source.digest
        self.description = f"{source.description} with {folder.name}"
        config = load_json(folder / "adapter_config.json", required=True)
        if not isinstance(config, dict):
            raise ExportError(f"{folder.name}/adapter_config.json: not a JSON object")
        decisions.check("adapter_config.json", config, adapter.TABLE)
        decisions.finish()
        self._handle = _open(folder)
        self._pairs = self._find_pairs(folder.name)
        self._scales = {name: _scale(config, name, self._shape(pair["A"])[0]) for name, pair in self._pairs.items()}
        base = config.get("base_model_name_or_path") or "a base that it does not name"
        decisions.note(f"{folder.name}: a LoRA of {base} is merged into {len(self._pairs)} matrices of the checkpoint")

    def _shape(self, key: str) -> list[int]:
        return self._handle.get_slice(key).get_shape()

    def _find_pairs(self, where: str) -> dict[str, dict[str, str]]:
        """Canonical name of a matrix -> the adapter's keys of A and B."""
        pairs: dict[str, dict[str, str]] = {}
        for key in self._handle.keys():  # noqa: SIM118  (a safetensors handle is no dictionary)
            match = _SUFFIX.search(key)
            if match is None:
                raise ExportError(f"{where}: {key} is no lora_A or lora_B of a matrix, which is all that is merged")
            pairs.setdefault(canonical(key[: match.start()] + ".weight"), {})[match[1]] = key
        expected = self._source.architecture.tensors()
        for name, pair in pairs.items():
            shape = expected.get(name)
            if shape is None or len(shape) != 2:
                raise ExportError(f"{where}: the checkpoint has no matrix {name}; is the adapter of another model?")
            if pair.keys() != {"A", "B"}:
                raise ExportError(f"{where}: {name} has lora_{''.join(pair)} alone")
            (rank, columns), (rows, inner) = self._shape(pair["A"]), self._shape(pair["B"])
            if (rows, columns) != shape or rank != inner:
                found = f"[{rows}, {columns}] of rank {rank} and {inner}"
                raise ExportError(f"{where}: {name} is {found}, not {list(shape)}")
        if not pairs:
            raise ExportError(f"{where}: holds no LoRA matrices")
        return pairs

    def tensor(self, name: str) -> Tensor:
        values = self._source.tensor(name)
        pair = self._pairs.get(name)
        if pair is None:
            return values
        down, up = (self._handle.get_tensor(pair[part]).float() for part in "AB")
        return values.float() + self._scales[name] * (up @ down)


def _open(folder: Path) -> Any:
    path = folder / "adapter_model.safetensors"
    if is_lfs_pointer(path):
        raise ExportError(lfs_sentence(path))
    if not path.is_file():
        pickled = (folder / "adapter_model.bin").exists()
        hint = ": adapter_model.bin is a pickle, which is not read; save it with safe_serialization" if pickled else ""
        raise ExportError(f"{path}: No such file{hint}")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ExportError(f"{path}: {str(error).splitlines()[0]}") from None


def _scale(config: dict[str, Any], name: str, rank: int) -> float:
    """lora_alpha / r, or / sqrt(r). A pattern names the end of a module's name, as in PEFT."""
    alpha = config.get("lora_alpha", 8)
    module = name.removesuffix(".weight")
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(?:.*\.)?(?:{pattern})", module):
            alpha = value
            break
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)
