# SPDX-License-Identifier: Apache-2.0
"""How two bundles' answers to the same scenes are compared."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients/python"))

from paligemma_train import evaluate, paired
from paligemma_train.evaluate import Reply
from paligemma_train.regions import region_text


def test_true_answers_score_one_and_wrong_ones_nothing() -> None:
    for row in evaluate.TABLE:
        for case in evaluate.cases(row, 6, 7):
            text = case.example.answer
            if row.name in ("detect", "segment"):
                text, _ = region_text(case.scene, case.example.labels, masks=False)
            truth = Reply(text, [case.scene.mask(thing) for thing in case.example.things])
            assert paired.score(row, case, truth) == (1.0 if row.name != "segment" or case.example.things else 0.0)
            if text:
                assert paired.score(row, case, Reply("nonsense")) == 0.0


def test_the_interval_holds_a_difference_that_is_there_and_only_that() -> None:
    generator = np.random.default_rng(0)
    differences = generator.choice([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], 5000) - 0.01
    mean, half = (float(part) for part in paired.interval(differences).split(" ± "))
    assert mean - half < -1 < mean + half
    assert half < 2 * 1.96 * 0.45 / 5000**0.5 * 100
