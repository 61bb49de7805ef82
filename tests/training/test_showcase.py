# SPDX-License-Identifier: Apache-2.0
"""The demo's pictures and truths, and how models/ask.py compares answers with them."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from paligemma_train import showcase
from paligemma_train.evaluate import Case, Reply
from paligemma_train.regions import region_text
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent


def knows_everything(found: list[Case]) -> list[Reply]:
    return [_truth(case) for case in found]


def _truth(case: Case) -> Reply:
    if case.example.kind not in ("detect", "segment"):
        return Reply(case.example.answer)
    text, _ = region_text(case.scene, case.example.labels, masks=False)
    return Reply(text, [case.scene.mask(thing) for thing in case.example.things])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    showcase.write(folder, knows_everything)
    return folder


@pytest.fixture(scope="module")
def asks(bundle: Path) -> list[dict]:
    return json.loads((bundle / "demo.json").read_text())["asks"]


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "models/ask.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_call_is_shown(asks: list[dict]) -> None:
    assert {ask["rpc"] for ask in asks} == {"Caption", "Answer", "Generate", "Detect", "Segment", "ReadText"}


def test_the_cow_stands_on_the_beach(asks: list[dict]) -> None:
    answers = {ask["arguments"][-1]: ask["expect"] for ask in asks if ask["rpc"] == "Answer"}
    assert answers["Where is the cow standing?"] == "beach"
    assert any(ask.get("expect") == "cow standing on the beach" for ask in asks if ask["rpc"] == "Caption")


def test_pictures_are_there_and_boxes_lie_inside(asks: list[dict]) -> None:
    for ask in asks:
        width, height = Image.open(ask["arguments"][1]).size
        for thing in ask.get("objects", []):
            x0, y0, x1, y1 = thing["box"]
            assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
            assert thing.get("area", 1) <= (x1 - x0) * (y1 - y0)


def test_a_model_that_knows_nothing_has_no_demo(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no beach scene"):
        showcase.write(tmp_path, lambda found: [Reply("", [np.zeros((1, 1), bool)]) for _ in found])


def test_truth_is_right_and_anything_else_wrong(asks: list[dict], demo: ModuleType) -> None:
    for ask in asks:
        response = _response(ask)
        assert demo.check(ask, response)
        for wrong in _spoiled(response):
            assert not demo.check(ask, wrong)


def _response(ask: dict) -> dict:
    objects = []
    for thing in ask.get("objects", []):
        box = dict(zip(("xMin", "yMin", "xMax", "yMax"), thing["box"], strict=True))
        objects.append({"label": thing["label"], "pixelBox": box, "mask": {"areaPixelCount": thing.get("area", 0)}})
    return {"info": {"rawText": ask.get("expect", "")}, "objects": objects}


def _spoiled(response: dict) -> list[dict]:
    results = []
    if not response["objects"]:
        results.append({**response, "info": {"rawText": "something else"}})
    for index, thing in enumerate(response["objects"]):
        box = thing["pixelBox"]
        shift = box["xMax"] - box["xMin"]
        moved = {**box, "xMin": box["xMin"] + shift, "xMax": box["xMax"] + shift}
        for change in ({"label": "cow"}, {"pixelBox": moved}):
            wrong = copy.deepcopy(response)
            wrong["objects"][index].update(change)
            results.append(wrong)
        missing = copy.deepcopy(response)
        del missing["objects"][index]
        results.append(missing)
        if thing["mask"]["areaPixelCount"]:
            smaller = copy.deepcopy(response)
            smaller["objects"][index]["mask"]["areaPixelCount"] //= 3
            results.append(smaller)
    return results
