# SPDX-License-Identifier: Apache-2.0
"""The exported modules against transformers: tokens, and every layer so that a mismatch names the first one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, Tiny
from paligemma_export import bundle, goldens
from paligemma_export.bundle_source import load_module
from paligemma_export.pictures import squashed
from paligemma_export.runner import Runner
from PIL import Image

TOLERANCE = 1e-4


def test_every_case_proves_something(tiny: Tiny) -> None:
    assert goldens.useless(tiny.cases) == []
    assert {case["finish"] for case in tiny.cases} == {"stop", "length"}


def test_tokens_equal_transformers(tiny: Tiny) -> None:
    wrong = [case["name"] for case in tiny.cases if tiny.tokens(case) != case["token_ids"]]
    assert wrong == []


@pytest.mark.parametrize("index", [0, 12, 24])
def test_every_layer_equals_transformers(tiny: Tiny, index: int) -> None:
    case = tiny.cases[index]
    pixels = tiny.pixels[case["image"]]
    expected = goldens.activations(tiny.reference, pixels, case["prompt_ids"])
    runner = tiny.runner()
    features = tiny.vision(pixels)
    found = {"vision": features}
    arguments = runner.prompt_arguments(features, case["prompt_ids"], last_only=False)
    found |= {f"state.{layer}": state for layer, state in enumerate(tiny.decoder.trace(*arguments))}
    hidden = tiny.decoder.forward(*runner.prompt_arguments(features, case["prompt_ids"]))
    found |= {"final_norm": hidden, "logits": tiny.decoder.logits(hidden)}
    assert found.keys() == expected.keys()
    for name, value in found.items():  # in order of computation: the first failure names the culprit
        error = (value - expected[name]).abs().max() / expected[name].abs().max()
        assert error <= TOLERANCE, f"{name} of {case['name']} is off by {error:.1e}"


def test_every_level_is_normalised_to_transformers_bits(tiny: Tiny) -> None:
    from transformers.image_transforms import normalize, rescale

    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)[None].repeat(3, 0)
    expected = normalize(rescale(levels, 1 / 255), [0.5] * 3, [0.5] * 3, input_data_format="channels_first")
    assert tiny.vision.lut.numpy().tobytes() == expected[0].tobytes()


def test_image_rows_enter_bit_equal_and_text_rows_scaled(tiny: Tiny) -> None:
    case = tiny.cases[0]
    features = tiny.vision(tiny.pixels[case["image"]])
    embedded = tiny.decoder.trace(*tiny.runner().prompt_arguments(features, case["prompt_ids"], False))[0]
    count = features.size(0)
    assert torch.equal(embedded[:count], features)
    table = tiny.reference.model.get_input_embeddings().weight[torch.tensor(case["prompt_ids"])]
    assert torch.allclose(embedded[count:], table * table.size(1) ** 0.5)


def test_final_softcap_against_numpy(tiny: Tiny) -> None:
    case = tiny.cases[0]
    features = tiny.vision(tiny.pixels[case["image"]])
    hidden = tiny.decoder.forward(*tiny.runner().prompt_arguments(features, case["prompt_ids"]))
    table = tiny.decoder.embedding.data.numpy().astype(np.float64)
    raw = hidden.numpy().astype(np.float64) @ table.T
    capped = np.tanh(raw / 30.0) * 30.0
    assert np.abs(capped - raw).max() > 1.0, "the cap does not bite"
    assert np.abs(tiny.decoder.logits(hidden).numpy() - capped).max() <= TOLERANCE * np.abs(capped).max()


def test_rows_of_several_sequences_do_not_mix(tinies: dict[str, Tiny]) -> None:
    """Two prompts in one prefill give what each gives alone."""
    tiny = tinies["tiny-a"]
    features = tiny.vision(torch.cat(list(tiny.pixels.values())[:2]))
    count = tiny.manifest["image"]["tokens"]
    texts = [tiny.cases[0]["prompt_ids"], tiny.cases[2]["prompt_ids"]]
    alone = [
        tiny.decoder.forward(*tiny.runner().prompt_arguments(features[i * count : (i + 1) * count], text))
        for i, text in enumerate(texts)
    ]
    ids, positions, lengths = [], [], []
    for image, text in enumerate(texts):
        ids += [-(image * count + row + 1) for row in range(count)] + text
        positions += range(count + len(text))
        lengths.append(count + len(text))
    arguments = list(tiny.runner().prompt_arguments(features[:count], texts[0]))
    ends = [lengths[0] - 1, sum(lengths) - 1]
    starts = [0, lengths[0], sum(lengths)]
    arguments[0:4] = [as_int32(ids), as_int32(positions), as_int32([-1] * len(ids)), features]
    arguments[6:8] = [as_int32(starts), lengths]
    arguments[10] = as_int32(ends)
    together = tiny.decoder.forward(*arguments)
    for row, single in enumerate(alone):
        assert torch.allclose(together[row], single[0], rtol=1e-4, atol=1e-3)


def as_int32(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def test_committed_bundle_of_format_1_still_answers() -> None:
    """models/tiny-a is loaded for ever: a change that breaks it breaks bundles in the field."""
    directory: Path = ROOT / "models" / "tiny-a"
    content = bundle.read_manifest(directory)
    decoder, vision = load_module(directory, "decoder.pt"), load_module(directory, "vision.pt")
    cases = json.loads((directory / "goldens" / "cases.json").read_text())
    assert len(cases) >= 12 and {case["method"] for case in cases} == set(content["methods"])
    for case in cases[::4]:
        image = Image.open(directory / "goldens" / case["image"])
        rows = vision(squashed(image, content["image"]["size"]))
        runner = Runner.of_manifest(decoder, content)
        answer = runner.generate(rows, case["prompt_ids"], case["max_tokens"])
        assert (answer.token_ids, answer.finish) == (case["token_ids"], case["finish"]), case["name"]
