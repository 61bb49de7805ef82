# SPDX-License-Identifier: Apache-2.0
"""All nine geometries in small, with every image token, through the product's own modules and engine.

32 greedy tokens and their logits against transformers (eager, float32); vision features and every layer against
transformers and against the model written in NumPy and float64.

At 896 pixels a sequence is longer than the window of 4096, so that transformers' sliding layers forget its start. The
mode without a window, which is what the model was trained with, is compared with transformers without sliding layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LONG, Table
from geometry import TOLERANCE, Case, Model, blocks, compare, counts, deviation, load, make_model, pictures
from paligemma_export import bundle, goldens, tokenizer
from paligemma_export.huggingface import HuggingFaceSource

STEPS = 32
OUTPUT = 3  # tokens behind the prompt whose rows are compared layer by layer
SEED = 5
SIZES = ("3b", "10b", "28b")
TRANSFORMERS = "transformers, eager, float32"
# Pixels -> how many pictures and prompts. An answer to 4096 image tokens takes transformers 20 seconds.
CASES = {224: (5, 9), 448: (5, 9), 896: (3, 1)} if LONG else {224: (3, 1), 448: (2, 1)}
NUMPY_PIXELS = (224, 448, 896) if LONG else (224,)


def ask_all(model: Model, pixels: int) -> list[Case]:
    """transformers' answers to every picture and prompt."""
    number, prompts = CASES[pixels]
    chosen = list(pictures().items())[:number]
    texts = [prompt for _, _, prompt in goldens.PROMPTS[:prompts]]
    return [model.ask(name, image, text, STEPS) for name, image in chosen for text in texts]


def check_tokens(model: Model, cases: list[Case], steps: int = STEPS) -> None:
    """All cases at once through the engine."""
    requests = [
        {"pixels": model.pixel_file(case.pixels), "prompt": case.prompt, "max_tokens": steps} for case in cases
    ]
    room = blocks(model.manifest, min(len(cases), 16), 128, 16)
    answers = model.probe.ask("generate", requests=requests, blocks=room, max_running=16)["answers"]
    for case, answer in zip(cases, answers, strict=True):
        assert [token for token, *_ in answer] == case.tokens, f"{model.name}, {case.picture}, {case.prompt}"


def check_logits(model: Model, cases: list[Case]) -> str:
    """Every step's logits, the tokens before it given; returns the worst deviation, relative to the step's largest.

    Where the two float32 models differ by more than the tolerance, float64 judges, and how far both are from it is
    told: attention with a spread of 40 amplifies what both round.
    """
    worst, judged = 0.0, []  # (ours, transformers') from float64
    for case in cases:
        ours = model.ours(case, case.tokens[:-1])["logits"]
        off = [deviation(*pair) for pair in zip(ours, case.logits, strict=True)]
        worst = max(worst, *off)
        wrong = [step for step, value in enumerate(off) if value > TOLERANCE]
        if wrong:
            exact = model.numpy(case, case.tokens[:-1])["logits"]
            for step in wrong:
                found, other = (deviation(logits[step], exact[step]) for logits in (ours, case.logits))
                assert found <= TOLERANCE, f"{model.name}: step {step} is {found:.1e} from float64"
                judged.append((found, other))
    if not judged:
        return f"{worst:.1e}"
    found, other = (max(column) for column in zip(*judged, strict=True))
    return f"{worst:.1e} ({len(judged)} steps beyond 1e-4: float64 is {found:.1e} from ours, {other:.1e} from theirs)"


def check(table: Table, model: Model, pixels: int, what: str, reference: str) -> None:
    """Layers first, so that a failure names the first wrong tensor; then logits and tokens of all cases."""
    cases = ask_all(model, pixels)
    layers = 0.0
    looked_at = cases[:1] if pixels == 896 else cases[:: CASES[pixels][1]]  # one of each picture
    for case in looked_at:
        output = case.tokens[:OUTPUT]
        found = model.ours(case, output)
        layers = max(layers, compare(found, model.transformers(case, output), f"{what}, {case.picture}"))
    logits = check_logits(model, cases)
    check_tokens(model, cases)
    telling = sum(counts(case, cases) for case in cases)
    assert telling >= len(cases) // 2, f"only {telling} of {len(cases)} cases vary with the picture"
    table.add(f"{what}: features and every layer", reference, len(looked_at), f"{layers:.1e}")
    table.add(f"{what}: {STEPS} greedy tokens, logits of each", reference, telling, f"0; {logits}")
    if pixels in NUMPY_PIXELS:
        case = cases[0]
        output = case.tokens[:OUTPUT]
        off = compare(model.ours(case, output), model.numpy(case, output), f"{what}, NumPy")
        table.add(f"{what}: features, every layer, logits", "NumPy, float64", 1, f"{off:.1e}")


@torch.no_grad()
@pytest.mark.parametrize("pixels", CASES)
@pytest.mark.parametrize("size", SIZES)
def test_a_geometry_equals_its_references(table: Table, tmp_path: Path, size: str, pixels: int) -> None:
    windowed = ", window of 4096" if pixels == 896 else ""
    with make_model(f"scaled-{size}-{pixels}", tmp_path, SEED) as model:
        check(table, model, pixels, f"{size} in small at {pixels}{windowed}", TRANSFORMERS)


@torch.no_grad()
@pytest.mark.skipif(not LONG, reason="4096 image tokens: with PG_FIDELITY=long")
def test_tokens_beyond_the_window_equal_transformers_without_sliding_layers(table: Table, tmp_path: Path) -> None:
    with make_model("scaled-3b-896", tmp_path, SEED) as model:
        model.probe.close()
        model.probe, model.bundle = exported_again(tmp_path, "no-window", "none", 0), "no-window"
        text = model.reference.model.config.text_config  # which masks and cache are made by
        assert text is model.reference.model.model.language_model.config
        text.layer_types = ["full_attention"] * text.num_hidden_layers
        check(table, model, 896, "3b in small at 896, no window", "transformers, full attention")


@torch.no_grad()
def test_positions_from_one_equal_transformers_too(table: Table, tmp_path: Path) -> None:
    with make_model("scaled-3b-224", tmp_path, SEED) as model:
        case = model.ask(*next(iter(pictures().items())), "caption en", 1)
        from_zero = model.ours(case, case.tokens)["logits"]
        model.probe.close()
        model.probe, model.bundle = exported_again(tmp_path, "from-one", "hf", 1), "from-one"
        assert not np.array_equal(model.ours(case, case.tokens)["logits"], from_zero), "the setting changes nothing"
        check(table, model, 224, "3b in small at 224, positions from 1", TRANSFORMERS)


def exported_again(directory: Path, name: str, window_mode: str, first_position: int) -> Any:
    """The same checkpoint in a bundle with other settings."""
    source = HuggingFaceSource(directory / "checkpoint", window_mode)
    source.architecture = source.architecture.replace(first_position=first_position)
    data = (directory / "checkpoint/tokenizer.model").read_bytes()
    assert tokenizer.inspect(data).vocab == source.architecture.vocab
    options = bundle.Options(name=name, languages=["en"], quiet=True)
    bundle.write(directory / name, source, data, options, None)
    return load(name, directory)


def test_the_comparison_names_the_first_wrong_tensor() -> None:
    right = {"vision": np.ones(4), "state.0": np.ones(4), "logits": np.ones(4)}
    wrong = right | {"state.0": np.full(4, 1.001), "logits": np.zeros(4)}
    with pytest.raises(AssertionError, match="the first wrong tensor is state.0"):
        compare(wrong, right, "a model")
