# SPDX-License-Identifier: Apache-2.0
"""--adapter merges a LoRA of PEFT as merge_and_unload does: W + scale * B A. What cannot be merged is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import QUERY, Tensors, assert_refused, assert_same_weights, export, rewrite
from conftest import Tiny
from paligemma_export.fields import adapter
from safetensors.torch import load_file, save_file

GATE = "language_model.model.layers.0.mlp.gate_proj.weight"
TOWER = "vision_tower.vision_model.encoder.layers.1.self_attn.out_proj.weight"
MODULES = (QUERY, GATE, TOWER)
#: As PEFT 0.17 writes it.
CONFIG: dict[str, Any] = {
    "alpha_pattern": {}, "auto_mapping": None, "base_model_name_or_path": "base/tiny-paligemma", "bias": "none",
    "corda_config": None, "eva_config": None, "exclude_modules": None, "fan_in_fan_out": False, "inference_mode": True,
    "init_lora_weights": True, "layer_replication": None, "layers_pattern": None, "layers_to_transform": None,
    "loftq_config": {}, "lora_alpha": 8, "lora_bias": False, "lora_dropout": 0.0, "megatron_config": None,
    "megatron_core": "megatron.core", "modules_to_save": None, "peft_type": "LORA", "qalora_group_size": 16, "r": 4,
    "rank_pattern": {}, "revision": None, "target_modules": ["q_proj", "gate_proj"], "target_parameters": None,
    "task_type": "CAUSAL_LM", "trainable_token_indices": None, "use_dora": False, "use_qalora": False,
    "use_rslora": False,
}  # fmt: skip


def make_adapter(
    tiny: Tiny, folder: Path, change: dict[str, Any] | None = None, rank: int = 4, newer: bool = False
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Writes a LoRA; returns module -> (A, B)."""
    folder.mkdir()
    base = load_file(tiny.checkpoint / "model.safetensors")
    generator = torch.Generator().manual_seed(5)
    pairs, tensors = {}, {}
    for name in MODULES:
        rows, columns = base[name].shape
        down, up = torch.randn(rank, columns, generator=generator), torch.randn(rows, rank, generator=generator)
        pairs[name] = (down, up)
        module = name.removesuffix(".weight")
        if newer:
            module = module.replace("language_model.model.", "model.language_model.")
        tensors[f"base_model.model.{module}.lora_A.weight"] = down
        tensors[f"base_model.model.{module}.lora_B.weight"] = up
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | (change or {})))
    return pairs


@pytest.mark.parametrize(
    ("change", "scales"),
    [
        ({}, (2.0, 2.0, 2.0)),
        ({"use_rslora": True}, (4.0, 4.0, 4.0)),
        ({"lora_alpha": 16, "alpha_pattern": {"gate_proj": 2, "layers.1.self_attn.q_proj": 6}}, (1.5, 0.5, 4.0)),
        ({"lora_dropout": 0.1, "inference_mode": False, "peft_version": "0.18.0"}, (2.0, 2.0, 2.0)),
    ],
)
@pytest.mark.parametrize("newer", [False, True], ids=["older names", "newer names"])
def test_an_adapter_is_merged_by_the_formula(
    tinies: dict[str, Tiny], tmp_path: Path, change: dict[str, Any], scales: tuple[float, ...], newer: bool
) -> None:
    tiny = tinies["tiny-a"]
    pairs = make_adapter(tiny, tmp_path / "lora", change, newer=newer)

    def merged(tensors: Tensors) -> Tensors:
        for (name, (down, up)), scale in zip(pairs.items(), scales, strict=True):
            tensors[name] = tensors[name] + scale * (up @ down)
        return tensors

    expected = rewrite(tiny, tmp_path / "merged", merged)
    assert export(expected, tmp_path / "expected") == 0
    assert export(tiny.checkpoint, tmp_path / "bundle", f"--adapter={tmp_path / 'lora'}") == 0
    assert_same_weights(tmp_path / "bundle", tmp_path / "expected")


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"use_dora": True}, ["use_dora is true", "accepted: false"]),
    ({"peft_type": "IA3"}, ["peft_type", "IA3", "LORA"]),
    ({"modules_to_save": ["lm_head"]}, ["modules_to_save"]),
    ({"bias": "lora_only"}, ["bias", "none"]),
    ({"init_lora_weights": "pissa"}, ["init_lora_weights", "pissa"]),
    ({"fan_in_fan_out": True}, ["fan_in_fan_out"]),
    ({"layer_replication": [[0, 2]]}, ["layer_replication"]),
    ({"a_new_field": 3}, ["a_new_field is 3"]),
]


@pytest.mark.parametrize(("change", "words"), REFUSED, ids=str)
def test_a_field_that_cannot_be_merged_is_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, change: dict[str, Any], words: list[str]
) -> None:
    make_adapter(tinies["tiny-a"], tmp_path / "lora", change)
    flag = f"--adapter={tmp_path / 'lora'}"
    assert_refused(tinies["tiny-a"].checkpoint, tmp_path / "out/bundle", capsys, ["adapter_config.json", *words], flag)


def without_b(tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if "lora_B" not in name}


def of_embeddings(tensors: Tensors) -> Tensors:
    return tensors | {"base_model.model.language_model.model.embed_tokens.lora_embedding_A": torch.zeros(4, 8)}


def of_another_model(tensors: Tensors) -> Tensors:
    return {name.replace("layers.1", "layers.9"): value for name, value in tensors.items()}


def of_other_widths(tensors: Tensors) -> Tensors:
    return {name: value[:, :-1].contiguous() if "lora_A" in name else value for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_b, ["lora_A alone"]),
        (of_embeddings, ["lora_embedding_A", "all that is merged"]),
        (of_another_model, ["layers.9", "another model"]),
        (of_other_widths, ["of rank 4 and 4, not ["]),
        (lambda _: {}, ["no LoRA matrices"]),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture, change: Callable, words: list[str]
) -> None:
    make_adapter(tinies["tiny-a"], tmp_path / "lora")
    path = tmp_path / "lora/adapter_model.safetensors"
    save_file(change(load_file(path)), path)
    assert_refused(tinies["tiny-a"].checkpoint, tmp_path / "out/bundle", capsys, words, f"--adapter={tmp_path}/lora")


def test_every_field_of_peft_has_a_rule() -> None:
    assert CONFIG.keys() <= adapter.TABLE.keys()
