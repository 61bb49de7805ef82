# SPDX-License-Identifier: Apache-2.0
"""What the demo model knows, asked of the real server: a wrong mask, a swapped box or a bad kernel costs accuracy.

demo_accuracy.json holds the accuracy on the same scenes: `CASES=40 SEED=1 make eval-demo` writes it anew to
bench-out/demo-accuracy.json when the model changes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest
import serving
from PIL import ImageOps

sys.path.insert(0, str(serving.ROOT / "training"))

from paligemma_train import evaluate
from paligemma_train.evaluate import Case, Reply, Row
from paligemma_train.over_grpc import OverGrpc

DEMO = serving.ROOT / "models/demo"
BEFORE = json.loads((serving.ROOT / "tests/e2e/demo_accuracy.json").read_text())
# Scenes with text depend on the fonts of the machine.
ROWS = [row for row in evaluate.TABLE if row.name != "ocr"]
_SLACK = 0.06  # two or three of 40 answers: what other instruction sets and libraries round differently


@pytest.fixture(scope="module")
def ask() -> Iterator[OverGrpc]:
    with serving.Server(DEMO) as running:
        yield OverGrpc(running.client)


def measured(row: Row, ask: evaluate.Asker) -> dict[str, float]:
    found = evaluate.cases(row, BEFORE["cases"], BEFORE["seed"])
    return row.score(found, ask(found))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_accuracy_is_what_it_was(row: Row, ask: OverGrpc) -> None:
    before = {line["measure"]: line["value"] for line in BEFORE["rows"] if line["prompt"] == row.name}
    for measure, value in measured(row, ask).items():
        assert value >= before[measure] - _SLACK, f"{row.name}, {measure}: {value:.3f}, was {before[measure]:.3f}"
    assert ask.failures == 0


@pytest.mark.parametrize("name", ["answer where", "detect", "segment"])
def test_a_mirrored_picture_would_be_noticed(name: str, ask: OverGrpc) -> None:
    def mirrored(found: list[Case]) -> list[Reply]:
        for case in found:
            case.scene.picture = ImageOps.mirror(case.scene.picture)
        return ask(found)

    row = next(row for row in ROWS if row.name == name)
    before = next(line["value"] for line in BEFORE["rows"] if line["prompt"] == name)
    assert next(iter(measured(row, mirrored).values())) < before - 2 * _SLACK
