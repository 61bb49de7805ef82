# SPDX-License-Identifier: Apache-2.0
"""The server answers as the bundle does in plain Python, which shares none of its code: pictures of `make demo`, one
prompt of every task."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import serving
import torch
from paligemma_serving import v1

sys.path.insert(0, str(serving.ROOT / "export"))

from paligemma_export import cli
from paligemma_export.asking import Asker, normalized
from paligemma_export.errors import ExportError

DEMO = serving.ROOT / "models/demo"
VISION = serving.ROOT / "tests/core/vision"
FORMS = [path for name in ("images", "foreign") for path in sorted((VISION / name).iterdir())]
FORMS = [path for path in FORMS if path.suffix != ".txt"]
PICTURES = sorted((DEMO / "demo").glob("*.png"))
EVERY = [
    "caption en", "caption de", "describe en", "ocr", "answer en How many objects are there?",
    "detect cow ; heart ; star",
]
# Masks are asked of what is there: what a model makes up about nothing hangs on the last bit.
ASKED = [(picture, prompt) for prompt in EVERY for picture in PICTURES] + [
    (DEMO / "demo/beach.png", "answer en Where is the cow standing?"),
    (DEMO / "demo/beach.png", "segment cow"),
    (DEMO / "demo/shapes.png", "segment green heart"),
    (DEMO / "demo/pasted.png", "segment black heart"),
]


@pytest.fixture(scope="module")
def plain() -> Iterator[Asker]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the model is small, and threads that wait for each other are slow beside other work
    yield Asker(DEMO)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    with serving.Server(DEMO) as running:
        yield running


@pytest.mark.parametrize(("picture", "prompt"), ASKED, ids=[f"{picture.stem}, {prompt}" for picture, prompt in ASKED])
def test_every_task_is_answered_alike(picture: Path, prompt: str, plain: Asker, server: serving.Server) -> None:
    response = server.client.generate(picture, prompt, config={"max_output_tokens": 256})
    assert response.info.raw_text == plain.answer(picture, prompt)


@pytest.mark.parametrize("picture", FORMS, ids=[path.name for path in FORMS])
def test_pictures_of_every_form_are_answered_alike(picture: Path, plain: Asker, server: serving.Server) -> None:
    """Orientations in all their homes, 16 bits, four channels, profiles, and files that are no pictures: both answer
    the same, or both refuse. tests/fidelity/test_plain_pictures.py compares every pixel."""
    try:
        expected = plain.answer(picture, "caption en")
    except ExportError:
        expected = None
    image = v1.Image(content=picture.read_bytes())
    request = v1.GenerateRequest(images=[image], prompt="caption en", generation_config={"max_output_tokens": 256})
    try:
        found = server.stub.Generate(request, timeout=60).info.raw_text
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        found = None
    assert found == expected


@pytest.mark.parametrize(
    "prompt",
    [
        "<image>caption en", "<image><bos>caption en", " <image> <bos>caption en", "<bos><bos>caption en",
        "<image>caption en\n\n", "caption en\r\n", "<image>\r\ncaption en\r", "<image> caption en",
        "caption <image>en", "<bos><image>caption en", "<image>detect cow ; heart", "<image><image>caption en",
        "<image>", "<bos>\r\n", "", " \n",
    ],
)  # fmt: skip
def test_prompts_written_by_habit_are_read_alike(prompt: str, plain: Asker, server: serving.Server) -> None:
    """Marks of the Hugging Face processor and line ends of other systems: the same ids, or both refuse."""
    beach = DEMO / "demo/beach.png"
    image = v1.Image(content=beach.read_bytes())
    request = v1.GenerateRequest(images=[image], prompt=prompt, generation_config={"max_output_tokens": 256})
    try:
        info = server.stub.Generate(request, timeout=60).info
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(ExportError, match="prompt"):
            plain.answer(beach, prompt)
        return
    assert normalized(prompt) == info.prompt
    assert plain.answer(beach, prompt) == info.raw_text


def test_verify_prints_the_answers(capsys: pytest.CaptureFixture) -> None:
    beach = str(DEMO / "demo/beach.png")
    assert cli.main(["verify", str(DEMO), "--ask", beach, "caption en", "--ask", beach, "caption fr"]) == 0
    assert f"{beach}, 'caption en': 'cow standing on the beach'\n" in capsys.readouterr().out
    assert cli.main(["verify", str(DEMO), "--ask", "absent.png", "caption en"]) == 1
    assert "picture absent.png" in capsys.readouterr().err
