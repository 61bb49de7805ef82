# SPDX-License-Identifier: Apache-2.0
"""The Python package against the real server: all six functions and their streams, sync and asyncio."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import serving
from PIL import Image
from serving import TINY, pg, v1
from test_methods import TYPED, first, typed_request

# One request of each of the six kinds, with the text that the reference answers.
EACH = [first(method) for method in ("caption", "answer", "detect", "segment", "read", "generate")]
KINDS = [case["method"] for case in EACH]


def request_of(case: dict) -> Any:
    """The typed request of a golden case, or the raw one."""
    return serving.generate_request(case) if case["method"] == "generate" else typed_request(case)


def text_of(response: Any) -> str | None:
    """The text of a response that is a text."""
    if isinstance(response, v1.GenerateResponse):
        return response.candidates[0].text
    names = [name for name in ("caption", "answer", "text") if name in response.DESCRIPTOR.fields_by_name]
    return getattr(response, names[0]) if names else None


def check_events(events: list[Any], result: Any, case: dict) -> None:
    """The events of a stream add up to its result, and that is what the reference says."""
    assert result.info.raw_text == case["text"]
    text = text_of(result)
    if text is None:
        found = [event.object for event in events if isinstance(event, v1.ObjectFound)]
        assert found == list(result.objects)
    else:
        assert "".join(event.text for event in events if isinstance(event, v1.TextDelta)) == text


@pytest.mark.parametrize("case", EACH, ids=KINDS)
def test_each_function_streams_what_it_returns(server: serving.Server, case: dict) -> None:
    request = request_of(case)
    whole = server.client.send(request)
    with server.client.stream(request) as stream:
        events = list(stream)
        result = stream.result()
    check_events(events, result, case)
    assert type(result) is type(whole)
    for response in (result, whole):
        assert response.info.request_id
        response.ClearField("info")
    assert result == whole


def test_the_asyncio_client_answers_and_streams_all_six_at_once(server: serving.Server) -> None:
    async def one(client: pg.AsyncClient, case: dict) -> tuple[list[Any], Any, Any]:
        async with client.stream(request_of(case)) as stream:
            events = [event async for event in stream]
            return events, await stream.result(), await client.send(request_of(case))

    async def all_six() -> list[tuple[list[Any], Any, Any]]:
        async with pg.AsyncClient(server.address) as client:
            return list(await asyncio.gather(*(one(client, case) for case in EACH)))

    for case, (events, result, whole) in zip(EACH, asyncio.run(all_six()), strict=True):
        check_events(events, result, case)
        assert whole.info.raw_text == case["text"]


def test_the_named_methods_send_the_same_as_the_built_requests(server: serving.Server) -> None:
    picture = serving.image_bytes(EACH[0])
    config = {"max_output_tokens": 4}
    client = server.client
    answers = [
        client.caption(picture, config=config),
        client.answer(picture, "what is it?", config=config),
        client.detect(picture, ["cat", "dog"], config=config),
        client.segment(picture, "cat", config=config),
        client.read_text(picture, config=config),
        client.generate(picture, "caption en", config=config),
    ]
    prompts = [answer.info.prompt.rstrip("\n") for answer in answers]
    assert prompts == [
        "caption en", "answer en what is it?", "detect cat ; dog", "segment cat", "ocr", "caption en"
    ]
    assert all(1 <= answer.info.usage.output_token_count <= 4 for answer in answers)


def test_a_picture_is_the_same_as_path_bytes_array_and_pil(server: serving.Server) -> None:
    case = EACH[0]
    path = TINY / "goldens" / case["image"]
    with Image.open(path) as picture:
        pixels = picture.convert("RGB")
    for source in (path, str(path), path.read_bytes(), np.asarray(pixels), pixels):
        answer = server.client.generate(source, case["prompt"], config={"max_output_tokens": case["max_tokens"]})
        assert answer.info.raw_text == case["text"]


def test_leaving_a_stream_early_frees_what_it_held(server: serving.Server) -> None:
    with server.client.stream(serving.generate_request(EACH[0])) as stream:
        next(iter(stream))
    assert server.client.send(request_of(EACH[0])).info.raw_text == EACH[0]["text"]


def test_an_error_names_field_reason_and_request(server: serving.Server) -> None:
    with pytest.raises(pg.ImageError) as caught:
        server.client.caption(b"no picture", request_id="mine-1")
    error = caught.value
    assert (error.reason, error.request_id, error.retryable) == ("IMAGE_FORMAT_UNSUPPORTED", "mine-1", False)
    assert error.field == "images[0].content"
    assert "image/png" in error.metadata["accepted"]


def test_a_stream_fails_with_the_same_error(server: serving.Server) -> None:
    with pytest.raises(pg.ImageError), server.client.stream(serving.requests.caption(b"no picture")) as stream:
        stream.result()


def test_every_typed_case_is_covered() -> None:
    assert {case["method"] for case in TYPED} | {"generate"} == set(KINDS)


README = (serving.ROOT / "clients/python/README.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_the_readme_run(server: serving.Server, example: str) -> None:
    assert "localhost:8001" in example
    result = subprocess.run(
        [sys.executable, "-c", example.replace("localhost:8001", server.address)],
        cwd=serving.ROOT, env={**os.environ, "PYTHONPATH": str(serving.ROOT / "clients/python")},
        capture_output=True, text=True, timeout=120, check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout
