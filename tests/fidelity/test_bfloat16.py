# SPDX-License-Identifier: Apache-2.0
"""bfloat16 bundles under teacher forcing: how often the best token is float32's, given float32's tokens before it.

Both bundles hold the same weights, rounded to bfloat16 as the published ones are. Random weights have no answer that
they are sure of and amplify rounding, the more the wider their attention logits are spread; there transformers' own
bfloat16 is the measure. A trained checkpoint must agree in 99.5 of 100 steps: models/demo when it is there, or
PG_TRAINED_CHECKPOINT, a Hugging Face folder of a model that `training/` made.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LONG, ROOT, Table
from geometry import Case, Model, blocks, load, make_model, pictures
from paligemma_export import bundle, goldens, tokenizer
from paligemma_export.asking import squashed
from paligemma_export.bundle_source import BundleSource
from paligemma_export.huggingface import HuggingFaceSource
from PIL import Image

STEPS = 32
LEAST = 0.995  # of the steps of a trained model
NOT_WORSE = 0.03  # than transformers' bfloat16, with random weights
DEMO = ROOT / "models/demo"


@dataclass
class Pair:
    """The same weights computed in float32 and in bfloat16."""

    exact: Model
    rounded: Model
    window_mode: str


def make_pair(source: Any, data: bytes, directory: Path) -> Pair:
    """Writes both bundles; float32's comes from bfloat16's, so that the weights are equal."""
    options = {"name": "pair", "languages": ["en"], "quiet": True}
    bundle.write(directory / "bfloat16", source, data, bundle.Options(**options, dtype="bfloat16"), None)
    again = BundleSource(directory / "bfloat16", bundle.read_manifest(directory / "bfloat16"))
    bundle.write(directory / "bundle", again, data, bundle.Options(**options, dtype="float32"), None)
    models = (Model(name, directory, None, load(name, directory)) for name in ("bundle", "bfloat16"))
    return Pair(*models, bundle.read_manifest(directory / "bundle")["window_mode"])


def cases_of(pair: Pair, asked: list[tuple[Image.Image, list[int]]]) -> list[Case]:
    """float32's greedy tokens, all at once; their logits are left out."""
    model, size = pair.exact, pair.exact.manifest["image"]["size"]
    cases = [Case(str(i), squashed(image, size), ids, [], np.empty(0)) for i, (image, ids) in enumerate(asked)]
    requests = [{"pixels": model.pixel_file(c.pixels), "prompt": c.prompt, "max_tokens": STEPS} for c in cases]
    room = blocks(model.manifest, 16, 128, 16)
    for case, answer in zip(
        cases, model.probe.ask("generate", requests=requests, blocks=room, max_running=16)["answers"], strict=True
    ):
        case.tokens = [token for token, *_ in answer]
    return cases


def agreement(cases: list[Case], logits_of: Any) -> tuple[float, int]:
    """The share of steps whose best token is the one that float32 chose, and the number of steps."""
    right = sum(int((logits_of(case).argmax(-1) == case.tokens).sum()) for case in cases)
    steps = sum(len(case.tokens) for case in cases)
    return right / steps, steps


def ours(model: Model) -> Any:
    """Logits of every step, the tokens before it given."""
    return lambda case: model.ours(case, case.tokens[:-1])["logits"]


def transformers(reference: goldens.Reference) -> Any:
    """The same of transformers in bfloat16."""

    def logits(case: Case) -> np.ndarray:
        given = goldens.inputs(reference, case.pixels, case.prompt)
        own = torch.tensor([case.tokens[:-1]], dtype=torch.long)
        given["input_ids"] = torch.cat([given["input_ids"], own], 1)
        given["attention_mask"] = torch.ones_like(given["input_ids"])
        given["token_type_ids"] = torch.cat([given["token_type_ids"], torch.ones_like(own)], 1)
        given["pixel_values"] = given["pixel_values"].to(torch.bfloat16)
        found = reference.model(**given, logits_to_keep=len(case.tokens)).logits
        return found[0, :, : reference.vocab].float().numpy()

    return logits


@torch.no_grad()
def test_random_weights_lose_no_more_than_transformers_does(table: Table, tmp_path: Path) -> None:
    with make_model("scaled-3b-224", tmp_path / "checkpoint", 5) as made:
        folder = made.directory / "checkpoint"
        data = (folder / "tokenizer.model").read_bytes()
        pair = make_pair(HuggingFaceSource(folder, "hf"), data, tmp_path)
        reference = made.reference
        reference.model.to(torch.bfloat16)
        ids = [reference.prompt_ids(text) for _, _, text in goldens.PROMPTS[:: 1 if LONG else 4]]
        cases = cases_of(pair, [(image, prompt) for image in pictures().values() for prompt in ids])

        exact, steps = agreement(cases, ours(pair.exact))
        assert exact == 1, "float32 does not agree with itself"
        found, _ = agreement(cases, ours(pair.rounded))
        other, _ = agreement(cases, transformers(reference))
        close(pair)
    assert found >= other - NOT_WORSE
    table.add(
        "bfloat16, random weights: best token, teacher-forced",
        "float32", steps, f"{found:.1%} agree (transformers' bfloat16: {other:.1%})",
    )  # fmt: skip


def close(pair: Pair) -> None:
    """Ends both programs."""
    pair.exact.probe.close()
    pair.rounded.probe.close()


def trained() -> Iterator[tuple[Any, bytes]]:
    """A trained model's weights and tokenizer, when there is one."""
    if folder := os.environ.get("PG_TRAINED_CHECKPOINT"):
        yield HuggingFaceSource(Path(folder), "none"), (Path(folder) / "tokenizer.model").read_bytes()
    elif (DEMO / "manifest.json").exists():
        content = json.loads((DEMO / "manifest.json").read_text())
        yield BundleSource(DEMO, content), (DEMO / "tokenizer.model").read_bytes()


@torch.no_grad()
def test_a_trained_model_keeps_its_tokens(table: Table, tmp_path: Path) -> None:
    found = next(trained(), None)
    if found is None:
        pytest.skip("no trained model: neither models/demo nor PG_TRAINED_CHECKPOINT")
    sys.path.append(str(ROOT / "training"))
    from paligemma_train import evaluate

    source, data = found
    processor, newline = tokenizer.load(data), tokenizer.inspect(data).newline
    pair = make_pair(source, data, tmp_path)
    asked = [
        (case.scene.picture, [tokenizer.BOS, *processor.encode(case.example.prompt), newline])
        for row in evaluate.TABLE
        for case in evaluate.cases(row, 12 if LONG else 3, seed=0)
    ]
    share, steps = agreement(cases_of(pair, asked), ours(pair.rounded))
    close(pair)
    table.add("bfloat16, trained model: best token, teacher-forced", "float32", steps, f"{share:.2%} agree")
    assert share >= LEAST
