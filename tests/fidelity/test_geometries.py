# SPDX-License-Identifier: Apache-2.0
"""All nine geometries in small, with every image token: 32 greedy tokens against transformers (eager, float32).

At 896 pixels a sequence is longer than the window of 4096, so that transformers' sliding layers forget its start. The
mode without a window, which is what the model was trained with, is compared with transformers without sliding layers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import LONG, ROOT, Table

sys.path.insert(0, str(ROOT / "export"))

from paligemma_export import bundle, goldens  # noqa: E402
from paligemma_export.bundle_source import load_module  # noqa: E402
from paligemma_export.runner import Runner  # noqa: E402

STEPS = 32
SEED = 5
SIZES = ("3b", "10b", "28b")
# Pixels -> how many of the prompts are asked of each of three pictures.
PROMPTS = {224: 9, 448: 9, 896: 2} if LONG else {224: 1}


@dataclass
class Model:
    """A scaled-down geometry: the exported modules and transformers on the same checkpoint."""

    name: str
    reference: goldens.Reference
    numbers: dict[str, Any]
    vision: Any
    decoder: Any

    def tokens(self, features: torch.Tensor, prompt: list[int]) -> list[int]:
        """Ours."""
        shape = (self.numbers["layers"], self.numbers["kv_heads"], self.numbers["head_dim"])
        runner = Runner(self.decoder, *shape, positions=len(features) + len(prompt) + STEPS)
        return runner.generate(features, prompt, STEPS).token_ids


def make_model(name: str, directory: Path) -> Model:
    """Exports random weights and loads them twice."""
    checkpoint, target = goldens.build(name, directory, seed=SEED)
    numbers = bundle.read_manifest(target)["architecture"]
    modules = (load_module(target, part) for part in ("vision.pt", "decoder.pt"))
    return Model(name, goldens.load_reference(checkpoint), numbers, *modules)


def compare(model: Model, number: int) -> int:
    """Asks `number` prompts of each picture; returns how many cases count: varied tokens that the picture decides."""
    vision = model.reference.model.config.vision_config
    answers: dict[tuple[str, str], list[int]] = {}
    for name, image in goldens.pictures().items():
        pixels = goldens.prepare(image, vision.image_size)
        features = model.vision(pixels)
        for _, _, prompt in goldens.PROMPTS[:number]:
            ids = model.reference.prompt_ids(prompt)
            expected, _ = goldens.generate(model.reference, pixels, ids, STEPS)
            assert model.tokens(features, ids) == expected, f"{model.name}, {name}, {prompt!r}"
            answers[name, prompt] = expected

    def counts(name: str, prompt: str, tokens: list[int]) -> bool:
        others = [found for (other, same), found in answers.items() if same == prompt and other != name]
        return len(set(tokens)) > 1 and all(found != tokens for found in others)

    return sum(counts(*key, tokens) for key, tokens in answers.items())


@torch.no_grad()
@pytest.mark.parametrize("pixels", PROMPTS)
@pytest.mark.parametrize("size", SIZES)
def test_tokens_of_a_geometry_equal_transformers(table: Table, tmp_path: Path, size: str, pixels: int) -> None:
    model = make_model(f"scaled-{size}-{pixels}", tmp_path)
    number = compare(model, PROMPTS[pixels])
    assert number >= 2 * PROMPTS[pixels], "too few cases vary with the picture"
    windowed = ", window of 4096" if pixels == 896 else ""
    table.add(f"{STEPS} tokens, {size} in small at {pixels}{windowed}", "transformers, eager, float32", number, "0")


@torch.no_grad()
@pytest.mark.skipif(not LONG, reason="4096 image tokens: with PG_FIDELITY=long")
def test_tokens_beyond_the_window_equal_transformers_without_sliding_layers(table: Table, tmp_path: Path) -> None:
    model = make_model("scaled-3b-896", tmp_path)
    model.decoder = without_windows(tmp_path)
    for layer in model.reference.model.model.language_model.layers:
        layer.attention_type = "full_attention"
        layer.self_attn.sliding_window = None
    number = compare(model, PROMPTS[896])
    table.add(f"{STEPS} tokens, 3b in small at 896, no window", "transformers, full attention", number, "0")


def without_windows(directory: Path) -> Any:
    """The same checkpoint, exported with window mode none."""
    from paligemma_export import tokenizer
    from paligemma_export.huggingface import HuggingFaceSource

    source = HuggingFaceSource(directory / "checkpoint", "none")
    target = directory / "no-window"
    model = (directory / "checkpoint/tokenizer.model").read_bytes()
    assert tokenizer.inspect(model).vocab == source.architecture.vocab
    bundle.write(target, source, model, bundle.Options(name="no-window", languages=["en"], quiet=True), None)
    return load_module(target, "decoder.pt")
