# SPDX-License-Identifier: Apache-2.0
"""The exported modules against a model written anew, where a misreading that they shared with transformers shows."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Tiny
from numpy_model import NumpyModel

TOLERANCE = 1e-4


def numpy_model(tiny: Tiny) -> NumpyModel:
    return NumpyModel(tiny.checkpoint, tiny.manifest["architecture"])


def off_by(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_tokens_equal_the_model_written_in_numpy(tiny: Tiny) -> None:
    model = numpy_model(tiny)
    images = {name: model.vision(pixels[0].numpy()) for name, pixels in tiny.pixels.items()}
    eos = tiny.manifest["tokens"]["eos"]
    wrong = []
    for case in tiny.cases:
        found = model.generate(images[case["image"]], case["prompt_ids"], case["max_tokens"], eos)
        if found != case["token_ids"]:
            wrong.append(case["name"])
    assert wrong == []


@pytest.mark.parametrize("index", [0, 13, 26])
def test_features_and_logits_equal_the_model_written_in_numpy(tiny: Tiny, index: int) -> None:
    case, model = tiny.cases[index], numpy_model(tiny)
    pixels = tiny.pixels[case["image"]]
    features = tiny.vision(pixels)
    expected = model.vision(pixels[0].numpy())
    assert off_by(features.numpy(), expected) <= TOLERANCE
    hidden = tiny.decoder.forward(*tiny.runner().prompt_arguments(features, case["prompt_ids"]))
    logits = tiny.decoder.logits(hidden).numpy()[0]
    assert off_by(logits, model.logits(expected, case["prompt_ids"], [])) <= TOLERANCE


def test_positions_counted_from_one_give_the_same_logits(tiny: Tiny) -> None:
    """transformers counts from 1, the original from 0. Rotations are relative: float64 hardly sees it."""
    case, model = tiny.cases[0], numpy_model(tiny)
    image = model.vision(tiny.pixels[case["image"]][0].numpy())
    from_zero = model.logits(image, case["prompt_ids"], case["token_ids"])
    model.numbers = {**model.numbers, "first_position": 1}
    from_one = model.logits(image, case["prompt_ids"], case["token_ids"])
    assert not np.array_equal(from_one, from_zero), "the setting does not reach the rotations"
    assert off_by(from_one, from_zero) < 1e-10


def test_a_query_scale_of_another_head_size_would_be_seen(tiny: Tiny) -> None:
    """A control: the scale that most models use, where this one has its own."""
    case, model = tiny.cases[0], numpy_model(tiny)
    image = model.vision(tiny.pixels[case["image"]][0].numpy())
    right = model.logits(image, case["prompt_ids"], [])
    model.numbers = {**model.numbers, "query_scale": model.numbers["query_scale"] * 0.8}
    assert off_by(model.logits(image, case["prompt_ids"], []), right) > 100 * TOLERANCE
