# SPDX-License-Identifier: Apache-2.0
"""The table of sizes in docs/real-weights.md is what the exporter's own numbers say."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "export"))

from paligemma_export.architecture import geometry  # noqa: E402


@pytest.mark.parametrize("size", ["3B", "10B", "28B"])
def test_the_plan_of_a_size_is_computed(size: str) -> None:
    page = (ROOT / "docs/real-weights.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| {size} |"))
    parameters, bundle, disk, largest, bound = (float(number) for number in re.findall(r"\| ([0-9.]+) G", row))
    counts = [math.prod(shape) for shape in geometry(f"{size.lower()}-224").tensors().values()]
    assert round(sum(counts) / 1e9, 2) == parameters
    assert round(2 * sum(counts) / 1e9, 1) == bundle
    assert round(4 * sum(counts) / 1e9) == disk
    assert round(4 * max(counts) / 1e9, 2) == largest
    assert round(12 * max(counts) / 1e9 + 1, 1) == bound
