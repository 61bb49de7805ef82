# SPDX-License-Identifier: Apache-2.0
"""Controls: each thing that servers of this model get wrong makes the comparison of test_geometries.py fail.

The mistake is made in the reference; both sides of the comparison are those of the suite. x before y in boxes is in
test_regions.py, another cubic filter also in test_pixels.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import geometry
import pytest
import torch
from geometry import Case, Model, compare, make_model, pictures
from paligemma_export import goldens
from test_geometries import OUTPUT, SEED, STEPS, check_tokens

PROMPT = "detect cat ; dog"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """The 28B in small: its query scale is not 1 / sqrt(head_dim)."""
    with make_model("scaled-28b-224", tmp_path_factory.mktemp("controls"), SEED) as made:
        yield made


def token_types(count: Callable[[int], int]) -> Callable[..., dict[str, torch.Tensor]]:
    """transformers' inputs, of which only the first `count(image tokens)` positions see each other."""
    right = goldens.inputs

    def wrong(reference: goldens.Reference, pixels: torch.Tensor, ids: list[int]) -> dict[str, torch.Tensor]:
        given = right(reference, pixels, ids)
        given["token_type_ids"][:, count(given["input_ids"].size(1) - len(ids)) :] = 1
        return given

    return wrong


def causal(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goldens, "inputs", token_types(lambda _: 0))


def image_only(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goldens, "inputs", token_types(lambda image_tokens: image_tokens))


def each_attention(model: Model, monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    for layer in model.reference.model.model.language_model.layers:
        assert hasattr(layer.self_attn, name)
        monkeypatch.setattr(layer.self_attn, name, value)


def uncapped(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    each_attention(model, monkeypatch, "attn_logit_softcapping", None)


def query_scale(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    each_attention(model, monkeypatch, "scaling", model.manifest["architecture"]["head_dim"] ** -0.5)


def scaled_image(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image rows multiplied as text is."""
    tokens, language = model.manifest["image"]["tokens"], model.reference.model.model.language_model
    right = language.forward

    def wrong(*arguments: Any, inputs_embeds: torch.Tensor, **options: Any) -> Any:
        if inputs_embeds.size(1) > tokens:
            scale = torch.ones(inputs_embeds.size(1), 1)
            scale[:tokens] = inputs_embeds.size(2) ** 0.5
            inputs_embeds = inputs_embeds * scale
        return right(*arguments, inputs_embeds=inputs_embeds, **options)

    monkeypatch.setattr(language, "forward", wrong)


def other_cubic(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's INTER_CUBIC: a = -0.75, not antialiased."""

    def wrong(image: Any, size: int) -> torch.Tensor:
        pixels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
        planes = pixels.view(1, image.height, image.width, 3).permute(0, 3, 1, 2).float()
        other = torch.nn.functional.interpolate(planes, (size, size), mode="bicubic", align_corners=False)
        return other.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()

    monkeypatch.setattr(geometry, "squashed", wrong)


def ask(model: Model) -> list[Case]:
    return [model.ask(name, image, PROMPT, STEPS) for name, image in list(pictures().items())[1:4]]


@torch.no_grad()
@pytest.mark.parametrize(
    ("mistake", "tensor"),
    [
        (causal, "state.1"),
        (image_only, "state.1"),
        (uncapped, "state.1"),
        (query_scale, "state.1"),
        (scaled_image, "state.0"),
        (other_cubic, "vision"),
    ],
)
def test_a_mistake_is_found_and_named(
    model: Model, monkeypatch: pytest.MonkeyPatch, mistake: Callable[..., None], tensor: str
) -> None:
    cases = ask(model)
    check_tokens(model, cases)  # right as it is
    with monkeypatch.context() as patch:
        mistake(model, patch)
        wrong = ask(model)
        expected = model.transformers(wrong[-1], wrong[-1].tokens[:OUTPUT])
    found = model.ours(cases[-1], wrong[-1].tokens[:OUTPUT])
    with pytest.raises(AssertionError, match=f"the first wrong tensor is {tensor},"):
        compare(found, expected, mistake.__name__)
    mixed = [replace(case, tokens=other.tokens) for case, other in zip(cases, wrong, strict=True)]
    with pytest.raises(AssertionError, match="scaled-28b-224"):
        check_tokens(model, mixed)
