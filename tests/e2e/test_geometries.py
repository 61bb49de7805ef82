# SPDX-License-Identifier: Apache-2.0
"""Geometries whose bundle does not travel with the repository: exported anew, answered by transformers and the server.

tiny-b has other head counts, tiny-c odd sizes and transformers' sliding window.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import serving


def golden_bundle(name: str, directory: Path) -> tuple[Path, list[dict], Path]:
    """Exports a geometry and asks transformers: (bundle, cases, folder of the pictures)."""
    command = [sys.executable, "-m", "paligemma_export", "goldens", f"--geometry={name}", f"--output={directory}"]
    environment = {**os.environ, "PYTHONPATH": str(serving.ROOT / "export")}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=240)
    return directory / "bundle", serving.golden_cases(directory), directory


@pytest.mark.parametrize("name", ["tiny-b", "tiny-c"])
def test_every_case_of_the_geometry_alone_and_in_batches(tmp_path: Path, name: str) -> None:
    bundle, cases, pictures = golden_bundle(name, tmp_path / name)

    def tokens(case: dict) -> list[int]:
        request = serving.generate_request(case, pictures)
        return list(server.client.send(request).candidates[0].token_ids)

    with serving.Server(bundle) as server:
        expected = [case["token_ids"] for case in cases]
        assert [tokens(case) for case in cases] == expected
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(tokens, cases)) == expected
