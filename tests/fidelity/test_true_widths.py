# SPDX-License-Identifier: Apache-2.0
"""The widths of the three published sizes at 224 with one or two layers and a vocabulary of 1664: layers, logits and
tokens against both references. The 28B needs 10 GB of memory, the others 4."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import LONG, Table
from geometry import compare, counts, make_model, pictures
from test_geometries import OUTPUT, SEED, TRANSFORMERS, check_logits, check_tokens

STEPS = 8


@torch.no_grad()
@pytest.mark.skipif(not LONG, reason="gigabytes of weights: with PG_FIDELITY=long")
@pytest.mark.parametrize("size", ["3b", "10b", "28b"])
def test_true_widths_equal_their_references(table: Table, tmp_path: Path, size: str) -> None:
    what = f"{size}'s widths, {'1 layer' if size == '28b' else '2 layers'}, at 224"
    with make_model(f"shallow-{size}", tmp_path, SEED) as model:
        cases = [model.ask(name, image, "caption en", STEPS) for name, image in list(pictures().items())[:3]]
        output = cases[0].tokens[:OUTPUT]
        found = model.ours(cases[0], output)
        off = compare(found, model.transformers(cases[0], output), what)
        table.add(f"{what}: features and every layer", TRANSFORMERS, 1, f"{off:.1e}")
        logits = check_logits(model, cases)
        check_tokens(model, cases, STEPS)
        telling = sum(counts(case, cases) for case in cases)
        table.add(f"{what}: {STEPS} greedy tokens, logits of each", TRANSFORMERS, telling, f"0; {logits}")
        off = compare(found, model.numpy(cases[0], output), f"{what}, NumPy")
        table.add(f"{what}: features, every layer, logits", "NumPy, float64", 1, f"{off:.1e}")
        assert telling > 0
