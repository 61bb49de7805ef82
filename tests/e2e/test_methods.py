# SPDX-License-Identifier: Apache-2.0
"""Every typed method asks the model what its golden case asks, and returns what the model says in typed form."""

from typing import Any

import pytest
import serving
from serving import requests, v1

CASES = serving.golden_cases()


def first(method: str) -> dict:
    """The first golden case of a method."""
    return next(case for case in CASES if case["method"] == method)


def typed_request(case: dict) -> requests.Request:
    """The request of the typed method that sends the prompt of a golden case."""
    image, prompt, config = serving.image_bytes(case), case["prompt"], {"max_output_tokens": case["max_tokens"]}
    match case["method"]:
        case "caption":
            word, language = prompt.split(" ")
            length = "long" if word == "describe" else "short"
            return requests.caption(image, language=language, length=length, config=config)
        case "answer":
            _, language, question = prompt.split(" ", 2)
            return requests.answer(image, question, language=language, config=config)
        case "detect":
            return requests.detect(image, prompt.removeprefix("detect ").split(" ; "), config=config)
        case "segment":
            return requests.segment(image, prompt.removeprefix("segment ").split(" ; "), config=config)
        case "read":
            return requests.read_text(image, config=config)
        case "generate":
            return requests.generate(image, prompt, config=config)
    raise AssertionError(f"no typed method for {case['method']}")


def call(server: serving.Server, case: dict) -> Any:
    """Asks a typed method what a golden case asks."""
    return server.client.send(typed_request(case))


TYPED = [case for case in CASES if case["method"] != "generate"]


@pytest.mark.parametrize("case", TYPED, ids=[case["name"] for case in TYPED])
def test_a_typed_method_returns_the_reference_text(server: serving.Server, case: dict) -> None:
    response = call(server, case)
    assert response.info.prompt.rstrip("\n") == case["prompt"]
    assert response.info.raw_text == case["text"]
    assert response.info.usage.image_count == 1
    assert response.info.usage.output_token_count == len(case["token_ids"]) + (case["finish"] == "stop")
    assert response.info.request_id


def test_all_five_typed_methods_have_a_golden_case() -> None:
    assert {case["method"] for case in TYPED} == {"caption", "answer", "detect", "segment", "read"}


def test_models_tells_what_is_served(server: serving.Server) -> None:
    models = server.client.models()
    assert len(models) == 1
    model = server.client.model(models[0].name)
    assert model == models[0]
    assert model.state == v1.MODEL_STATE_READY
    assert "Segment" in model.supported_methods
    assert model.limits.max_output_tokens > 0


def test_the_limit_of_each_method_is_the_one_that_is_enforced(server: serving.Server) -> None:
    """The advertised number of tokens is taken and one more is refused with that limit; the largest stands on top."""
    model = server.client.models()[0]
    assert [limits.method for limits in model.limits.methods] == list(model.supported_methods)
    assert model.limits.max_output_tokens == max(limits.max_output_tokens for limits in model.limits.methods)
    assert model.limits.max_image_side == 16_384
    names = {"Caption": "caption", "Answer": "answer", "Detect": "detect", "Segment": "segment", "ReadText": "read"}
    for limits in model.limits.methods:
        case = first(names.get(limits.method, "generate"))
        assert 0 < limits.default_output_tokens <= limits.max_output_tokens
        with pytest.raises(serving.pg.InvalidRequestError) as caught:
            call(server, {**case, "max_tokens": limits.max_output_tokens + 1})
        assert caught.value.field == "generation_config.max_output_tokens"
        assert caught.value.metadata["limit"] == str(limits.max_output_tokens)
        assert call(server, {**case, "max_tokens": limits.max_output_tokens}).info.usage.output_token_count > 0


def test_the_same_image_again_is_answered_by_the_image_cache(server: serving.Server) -> None:
    case = first("caption")
    call(server, case)
    usage = call(server, case).info.usage
    assert usage.cached_image_token_count == usage.image_token_count > 0
