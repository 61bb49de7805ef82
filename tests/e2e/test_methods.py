# SPDX-License-Identifier: Apache-2.0
"""Every typed method asks the model what its golden case asks, and returns what the model says in typed form."""

import pytest
import serving

CASES = serving.golden_cases()


def first(method: str) -> dict:
    """The first golden case of a method."""
    return next(case for case in CASES if case["method"] == method)


def call(server: serving.Server, case: dict) -> object:
    """Asks a typed method what a golden case asks."""
    types, service = api_modules()
    image = types.Image(content=serving.image_bytes(case))
    config = types.GenerationConfig(max_output_tokens=case["max_tokens"])
    prompt = case["prompt"]
    match case["method"]:
        case "caption":
            word, language = prompt.split(" ")
            length = service.CAPTION_LENGTH_LONG if word == "describe" else service.CAPTION_LENGTH_SHORT
            request = service.CaptionRequest(
                images=[image], language_code=language, length=length, generation_config=config
            )
            return server.stub.Caption(request, timeout=60)
        case "answer":
            _, language, question = prompt.split(" ", 2)
            request = service.AnswerRequest(
                images=[image], language_code=language, question=question, generation_config=config
            )
            return server.stub.Answer(request, timeout=60)
        case "detect":
            labels = prompt.removeprefix("detect ").split(" ; ")
            return server.stub.Detect(
                service.DetectRequest(image=image, labels=labels, generation_config=config), timeout=60
            )
        case "segment":
            labels = prompt.removeprefix("segment ").split(" ; ")
            return server.stub.Segment(
                service.SegmentRequest(image=image, labels=labels, generation_config=config), timeout=60
            )
        case "read":
            return server.stub.ReadText(service.ReadTextRequest(image=image, generation_config=config), timeout=60)
    raise AssertionError(f"no typed method for {case['method']}")


def api_modules() -> tuple[object, object]:
    """The generated messages."""
    return serving.api("types_pb2"), serving.api("paligemma_service_pb2")


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
    service = serving.api("model_service_pb2")
    models = server.models.ListModels(service.ListModelsRequest(), timeout=10).models
    assert len(models) == 1
    model = server.models.GetModel(service.GetModelRequest(name=models[0].name), timeout=10).model
    assert model == models[0]
    assert model.state == service.MODEL_STATE_READY
    assert "Segment" in model.supported_methods
    assert model.limits.max_output_tokens > 0


def test_the_same_image_again_is_answered_by_the_image_cache(server: serving.Server) -> None:
    case = first("caption")
    call(server, case)
    usage = call(server, case).info.usage
    assert usage.cached_image_token_count == usage.image_token_count > 0
