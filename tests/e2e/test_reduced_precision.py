# SPDX-License-Identifier: Apache-2.0
"""Bundles of less than float32: a request's tokens are the same alone and in any batch.

Random weights amplify rounding, so their tokens are not compared with float32's; trained models are measured instead.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import serving


def random_bundle(output: Path, flags: str) -> Path:
    """A bundle of a geometry whose widths suit every quantisation."""
    command = [sys.executable, "-m", "paligemma_export", "random", "--geometry=tiny-b", f"--output={output}"]
    command += flags.split()
    environment = {**os.environ, "PYTHONPATH": str(serving.ROOT / "export")}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=240)
    return output


@pytest.mark.parametrize(
    ("flags", "kv_dtype"),
    [
        ("--dtype=bfloat16", "auto"),
        ("--quantize=int8", "auto"),
        ("--quantize=int8 --quantize-vision=int8", "int8"),
        ("--quantize=int4", "auto"),
        ("--quantize=fp8", "auto"),
    ],
)
def test_every_case_answers_the_same_alone_and_among_neighbours(tmp_path: Path, flags: str, kv_dtype: str) -> None:
    bundle, cases = random_bundle(tmp_path / "bundle", flags), serving.golden_cases()

    def tokens(case: dict) -> list[int]:
        request = serving.generate_request(case)
        return list(server.client.send(request).candidates[0].token_ids)

    with serving.Server(bundle, f"--kv-cache-dtype={kv_dtype}") as server:
        alone = [tokens(case) for case in cases]
        assert len({tuple(ids) for ids in alone}) > len(cases) // 2
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(tokens, cases)) == alone
