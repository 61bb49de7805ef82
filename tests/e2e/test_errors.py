# SPDX-License-Identifier: Apache-2.0
"""What a client does wrong comes back as the right code and reason, names the field, and hurts nobody."""

import pytest
import serving
from paligemma_serving import DeadlineExceededError, InvalidRequestError, PaliGemmaError
from serving import v1

CASE = serving.golden_cases()[0]


def good_request() -> v1.GenerateRequest:
    """A request that would succeed."""
    return serving.generate_request(CASE)


def break_image(data: bytes):  # noqa: ANN201
    """A change that replaces the picture."""

    def change(request: v1.GenerateRequest) -> None:
        request.images[0].content = data

    return change


def set_config(**fields: object):  # noqa: ANN201
    """A change of the generation config."""

    def change(request: v1.GenerateRequest) -> None:
        for name, value in fields.items():
            if isinstance(value, list):
                getattr(request.generation_config, name).extend(value)
            else:
                setattr(request.generation_config, name, value)

    return change


def set_field(**fields: object):  # noqa: ANN201
    """A change of the request itself."""

    def change(request: v1.GenerateRequest) -> None:
        for name, value in fields.items():
            setattr(request, name, value)

    return change


PICTURE = serving.image_bytes(CASE)

BROKEN = {
    "no image": (lambda request: request.ClearField("images"), "INVALID_ARGUMENT", "IMAGE_MISSING"),
    "empty image": (break_image(b""), "INVALID_ARGUMENT", "IMAGE_MISSING"),
    "not an image": (break_image(b"GIF89a" + bytes(100)), "INVALID_ARGUMENT", "IMAGE_FORMAT_UNSUPPORTED"),
    "half an image": (break_image(PICTURE[: len(PICTURE) // 2]), "INVALID_ARGUMENT", "IMAGE_CORRUPT"),
    "temperature": (set_config(temperature=-1), "INVALID_ARGUMENT", "FIELD_INVALID"),
    "temperature that is no number": (set_config(temperature=float("nan")), "INVALID_ARGUMENT", "FIELD_INVALID"),
    "top_p": (set_config(top_p=0), "INVALID_ARGUMENT", "FIELD_INVALID"),
    "no tokens": (set_config(max_output_tokens=0), "INVALID_ARGUMENT", "FIELD_INVALID"),
    "too many tokens": (set_config(max_output_tokens=10**6), "INVALID_ARGUMENT", "FIELD_INVALID"),
    "candidates without temperature": (set_config(candidate_count=2), "INVALID_ARGUMENT", "FIELD_INVALID"),
    "too many alternatives": (set_config(logprobs=21), "INVALID_ARGUMENT", "FIELD_INVALID"),
    "ignore_eos": (set_config(ignore_eos=True), "INVALID_ARGUMENT", "FIELD_INVALID"),
    "nine stop sequences": (set_config(stop_sequences=["x"] * 9), "INVALID_ARGUMENT", "FIELD_INVALID"),
    "prompt too long": (set_field(prompt="word " * 20000), "INVALID_ARGUMENT", "PROMPT_TOO_LONG"),
    "other model": (set_field(model="models/other"), "NOT_FOUND", "MODEL_NOT_FOUND"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_request_is_refused_with_its_reason(server: serving.Server, name: str) -> None:
    change, code, reason = BROKEN[name]
    request = good_request()
    change(request)
    with pytest.raises(PaliGemmaError) as caught:
        server.client.send(request)
    assert (caught.value.code.name, caught.value.reason) == (code, reason), caught.value
    if reason in ("FIELD_INVALID", "IMAGE_CORRUPT", "IMAGE_MISSING"):
        assert caught.value.field


def test_an_unknown_language_is_answered_with_those_there_are(server: serving.Server) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        server.client.caption(PICTURE, language="xx")
    assert caught.value.reason == "LANGUAGE_UNSUPPORTED"
    assert "en" in caught.value.metadata["supported"]


def caption(**fields: object) -> v1.CaptionRequest:
    """A caption of the picture, with more fields."""
    return v1.CaptionRequest(images=[v1.Image(content=PICTURE)], **fields)


WHOLE = v1.NormalizedBox(x_max=1, y_max=1)
REFUSED_AT_ONCE = {
    "a region with a long caption": (caption(region=WHOLE, length=v1.CAPTION_LENGTH_LONG), "region"),
    "a region without an area": (caption(region=v1.NormalizedBox(x_max=1)), "region"),
    "a blank question": (v1.AnswerRequest(images=[v1.Image(content=PICTURE)], question=" \v\f"), "question"),
    "a blank label": (v1.DetectRequest(image=v1.Image(content=PICTURE), labels=["  "]), "labels[0]"),
    "a question with a NUL": (v1.AnswerRequest(images=[v1.Image(content=PICTURE)], question="a\0"), "question"),
    "a language": (caption(language_code="xx"), "language_code"),
}


@pytest.mark.parametrize("name", REFUSED_AT_ONCE)
def test_a_rule_without_the_tokenizer_names_its_field(server: serving.Server, name: str) -> None:
    request, field = REFUSED_AT_ONCE[name]
    with pytest.raises(InvalidRequestError) as caught:
        server.client.send(request)
    assert (caught.value.code.name, caught.value.field) == ("INVALID_ARGUMENT", field), caught.value


def test_a_deadline_that_passes_is_deadline_exceeded(server: serving.Server) -> None:
    with pytest.raises(DeadlineExceededError):
        server.client.send(good_request(), timeout=0.001)


def test_after_all_that_a_good_request_is_still_answered(server: serving.Server) -> None:
    response = server.client.send(good_request())
    assert list(response.candidates[0].token_ids) == CASE["token_ids"]
