# SPDX-License-Identifier: Apache-2.0
"""What people write into prompts and labels by habit: one form for all clients, shown in info.prompt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import serving
from serving import pg, requests, v1
from test_methods import first

CONFIG = {"max_output_tokens": 8, "logprobs": 0}
PICTURE = serving.image_bytes(first("caption"))


def generated(server: serving.Server, prompt: str, images: int = 1) -> v1.GenerateResponse:
    """The answer to a raw prompt."""
    return server.client.generate([PICTURE] * images, prompt, config=CONFIG)


MARKED = ["<image>caption en", "<image><bos>caption en", "<bos>caption en", "caption en\r\n", "\n<image>\ncaption en"]


@pytest.mark.parametrize("prompt", MARKED)
def test_marks_and_line_ends_change_nothing(server: serving.Server, prompt: str) -> None:
    """The tokens are those of the bare prompt."""
    plain, marked = generated(server, "caption en"), generated(server, prompt)
    if prompt.startswith("\n"):
        plain = generated(server, "\ncaption en")  # text behind a mark is kept as it is
    assert marked.info.usage.prompt_token_count == plain.info.usage.prompt_token_count
    assert marked.candidates == plain.candidates
    assert marked.info.prompt == plain.info.prompt


def test_windows_line_ends_within_a_prompt(server: serving.Server) -> None:
    """Also in a question."""
    assert generated(server, "a\r\nb").info.prompt == "a\nb"
    response = server.client.answer(PICTURE, "<image>what\r\nis it?")
    assert response.info.prompt.endswith(" what\nis it?")


def test_the_number_of_marks_is_the_number_of_pictures(server: serving.Server) -> None:
    """None, or as many as there are."""
    assert generated(server, "<image><image>caption en", 2).candidates == generated(server, "caption en", 2).candidates
    for prompt, images in (("<image><image>caption en", 1), ("<image>caption en", 2)):
        with pytest.raises(pg.InvalidRequestError, match="another number of <image>") as caught:
            generated(server, prompt, images)
        error = caught.value
        assert (error.field, error.metadata["value"], error.metadata["limit"]) == (
            "prompt",
            str(prompt.count("<image>")),
            str(images),
        )


def test_blanks_around_labels_are_trimmed(server: serving.Server) -> None:
    """By the server, for every client."""
    message = v1.DetectRequest(image=pg.to_image(PICTURE), labels=[" cow ", "\tship\r\n"])
    response = server.client.send(message)
    assert response.info.prompt == "detect cow ; ship"
    assert server.client.detect(PICTURE, ["cow", "ship"]).objects == response.objects


def test_several_labels_in_one_text(server: serving.Server) -> None:
    """The server says what to do; Python's client does it."""
    message = v1.DetectRequest(image=pg.to_image(PICTURE), labels=["cow ; ship"])
    with pytest.raises(pg.InvalidRequestError, match="one label per entry"):
        server.client.send(message)
    for labels in ("cow ; ship", "cow;ship;", ["cow ; ship"], [" cow", "ship "]):
        assert list(requests.detect(PICTURE, labels).labels) == ["cow", "ship"]
        assert server.client.detect(PICTURE, labels).info.prompt == "detect cow ; ship"
    with pytest.raises(pg.InvalidRequestError, match="labels"):
        server.client.detect(PICTURE, " ; ")


@pytest.fixture(scope="module")
def demo() -> Iterator[serving.Server]:
    """The trained model: what a random one writes is seldom a whole object with a mask."""
    with serving.Server(serving.ROOT / "models/demo") as running:
        yield running


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_a_raw_prompt_of_detect_and_segment_is_answered_as_theirs(demo: serving.Server, task: str) -> None:
    """Objects with boxes, labels, scores and masks, whole and streamed; the text besides."""
    config = {"max_output_tokens": 64}
    image = serving.ROOT / "models/demo/demo/beach.png"
    typed = getattr(demo.client, task)(image, "cow", config=config)
    assert typed.objects[0].label_index == 0 and typed.objects[0].HasField("mask") == (task == "segment")
    raw = demo.client.generate(image, f"<image>{task} cow\n", config=config)
    assert raw.candidates[0].objects == typed.objects
    assert raw.candidates[0].text == typed.info.raw_text and not raw.info.logprobs
    with demo.client.stream(requests.generate(image, f"{task} cow", config=config)) as stream:
        events = list(stream)
        assert stream.result().candidates == raw.candidates
    assert [e.object for e in events if isinstance(e, v1.ObjectFound)] == list(typed.objects)
    assert "".join(e.text for e in events if isinstance(e, v1.TextDelta)) == raw.candidates[0].text
