# SPDX-License-Identifier: Apache-2.0
"""The release server with --device=cuda:0 on a machine without a GPU: the real libtorch_cuda over a fake CUDA runtime
(tests/gpu/fake). The tokens are those of the reference. Needs the builds release and gpu-fake."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "build/gpu-fake/bin"
sys.path.insert(0, str(ROOT / "tests/e2e"))

import serving  # noqa: E402

CASES = serving.golden_cases()

# Operators that have no kernel on the device yet. The list only shrinks: an operator that gets a kernel leaves it.
ON_CPU = {
    "paligemma::attention", "paligemma::embed", "paligemma::finish", "paligemma::mlp", "paligemma::patch_embed",
    "paligemma::project", "paligemma::sample", "paligemma::vision_attention", "paligemma::vision_mlp",
}


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The file to which a server that starts now writes what the fake runtime counted, when it ends."""
    path = tmp_path / "report.json"
    monkeypatch.setenv("LD_PRELOAD", str(FAKE / "libpaligemma_fake_cudart.so"))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(FAKE))
    monkeypatch.setenv("PG_FAKE_CUDA_REPORT", str(path))
    yield path


def tokens_of(server: serving.Server, case: dict) -> list[int]:
    """The server's tokens for a golden case."""
    return list(server.client.send(serving.generate_request(case)).candidates[0].token_ids)


def test_the_server_gives_the_references_tokens(report: Path) -> None:
    wanted = [case["token_ids"] for case in CASES]
    with serving.Server(serving.TINY, "--device=cuda:0") as server:
        assert [tokens_of(server, case) for case in CASES[:3]] == wanted[:3]
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(lambda case: tokens_of(server, case), CASES)) == wanted
        assert server.stop() == 0
    counts = json.loads(report.read_text())
    print("on the CPU:", counts["on_cpu"])
    assert counts["launches"] > 0  # the kernel of rope, in the emulator
    assert set(counts["on_cpu"]) <= ON_CPU
    assert counts["compiled"] == {}  # a compiled kernel of ATen would have done nothing
