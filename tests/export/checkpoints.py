# SPDX-License-Identifier: Apache-2.0
"""Shared by the tests of checkpoint readers: exporting, changing a checkpoint, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Tiny
from paligemma_export import cli
from paligemma_export.bundle_source import load_module
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]
TABLE = "language_model.model.embed_tokens.weight"
QUERY = "language_model.model.layers.1.self_attn.q_proj.weight"


def export(checkpoint: Path, output: Path, *flags: str) -> int:
    return cli.main(["export", f"--checkpoint={checkpoint}", f"--output={output}", "--quiet", *flags])


def rewrite(tiny: Tiny, target: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """A copy of the checkpoint with changed tensors."""
    shutil.copytree(tiny.checkpoint, target)
    save_file(change(load_file(target / "model.safetensors")), target / "model.safetensors")
    return target


def shard(checkpoint: Path, files: int = 3) -> list[str]:
    """Splits model.safetensors into several files and their index; returns their names."""
    whole = checkpoint / "model.safetensors"
    tensors = load_file(whole)
    names = [f"model-{index + 1:05d}-of-{files:05d}.safetensors" for index in range(files)]
    weight_map = {key: names[index % files] for index, key in enumerate(tensors)}
    for name in names:
        save_file({key: tensors[key] for key, where in weight_map.items() if where == name}, checkpoint / name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    whole.unlink()
    return names


def weights(bundle: Path) -> Tensors:
    result = {}
    for name in ("decoder.pt", "vision.pt"):
        result |= {f"{name}/{key}": value for key, value in load_module(bundle, name).state_dict().items()}
    return result


def assert_same_weights(left: Path, right: Path) -> None:
    found, expected = weights(left), weights(right)
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def assert_refused(
    checkpoint: Path, output: Path, capsys: pytest.CaptureFixture, words: list[str], *flags: str
) -> None:
    """Exit code 1, one line with the words, nothing left behind."""
    assert export(checkpoint, output, *flags) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and captured.err.startswith("error: ")
    for word in words:
        assert word in captured.err
    assert not output.parent.exists() or list(output.parent.iterdir()) == []


def npz_flags(tiny: Tiny) -> list[str]:
    scale = tiny.manifest["architecture"]["query_scale"]
    return [f"--tokenizer={tiny.checkpoint / 'tokenizer.model'}", f"--query-scale={scale}"]
