# SPDX-License-Identifier: Apache-2.0
"""Every kind of case is asked by the call that its prompt belongs to."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients/python"))

from paligemma_serving import PaliGemmaError, v1  # noqa: E402
from paligemma_train import evaluate, over_grpc  # noqa: E402


class FakeClient:
    """Says the prompt that the server would make of each call."""

    def caption(self, picture: Any, language: str, length: str) -> Any:
        return self._said(f"{'describe' if length == 'long' else 'caption'} {language}")

    def answer(self, picture: Any, question: str, language: str) -> Any:
        return self._said(f"answer {language} {question}")

    def read_text(self, picture: Any) -> Any:
        return self._said("ocr")

    def detect(self, picture: Any, labels: list[str], config: dict) -> Any:
        return self._said(f"detect {' ; '.join(labels)}")

    def segment(self, picture: Any, labels: list[str], config: dict) -> Any:
        full = io.BytesIO()
        Image.new("L", (3, 2), 255).save(full, "PNG")
        mask = v1.Mask(region=v1.PixelBox(x_min=1, y_min=2, x_max=4, y_max=4), png=full.getvalue())
        return self._said(f"segment {' ; '.join(labels)}", [SimpleNamespace(mask=mask)])

    def _said(self, text: str, objects: list | None = None) -> Any:
        return SimpleNamespace(info=SimpleNamespace(raw_text=text), objects=objects or [])


class BrokenClient(FakeClient):
    def read_text(self, picture: Any) -> Any:
        raise PaliGemmaError("gone")


def test_each_prompt_is_asked_by_its_call() -> None:
    ask = over_grpc.OverGrpc(FakeClient())  # type: ignore[arg-type]
    for row in evaluate.TABLE:
        found = evaluate.cases(row, 3, 5)
        assert [reply.text for reply in ask(found)] == [case.example.prompt for case in found]


def test_masks_come_as_the_server_sent_them() -> None:
    row = next(row for row in evaluate.TABLE if row.name == "segment")
    found = evaluate.cases(row, 1, 5)
    mask, = over_grpc.OverGrpc(FakeClient())(found)[0].masks  # type: ignore[arg-type]
    assert mask.shape == found[0].scene.numbers.shape
    assert np.argwhere(mask).tolist() == [[y, x] for y in (2, 3) for x in (1, 2, 3)]


def test_a_failed_call_is_a_wrong_answer_and_counted() -> None:
    row = next(row for row in evaluate.TABLE if row.name == "ocr")
    ask = over_grpc.OverGrpc(BrokenClient())  # type: ignore[arg-type]
    read = [case for case in evaluate.cases(row, 6, 5) if case.example.prompt == "ocr"][:2]
    assert [reply.text for reply in ask(read)] == ["", ""]
    assert ask.failures == 2
