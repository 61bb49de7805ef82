# SPDX-License-Identifier: Apache-2.0
"""Start, probes, drain, and start-up errors that say in one line what is wrong."""

import shutil
import subprocess
from pathlib import Path

import pytest
import serving


def test_it_drains_on_sigterm_and_exits_with_zero() -> None:
    with serving.Server() as server:
        assert server.http("/livez")[0] == 200
        future = server.stub.Generate.future(serving.generate_request(serving.golden_cases()[0]), timeout=60)
        assert future.result().candidates
        assert server.stop() == 0


def test_the_start_up_summary_tells_what_was_loaded(server: serving.Server) -> None:
    log = server.log_text()
    for word in ("float32", "threads", "KV", server.address):
        assert word in log, f"{word!r} is missing from:\n{log}"


def test_one_line_per_request_without_its_content(server: serving.Server) -> None:
    case = serving.golden_cases()[0]
    response = server.stub.Generate(serving.generate_request(case), metadata=[("x-request-id", "line-1")], timeout=60)
    assert response.info.request_id == "line-1"
    lines = [line for line in server.log_text().splitlines() if "line-1" in line]
    assert len(lines) == 1
    assert case["text"] not in lines[0] or not case["text"]


def run_server(model: Path) -> subprocess.CompletedProcess:
    """Starts a server that is expected to refuse."""
    command = [
        serving.SERVER, f"--model={model}", f"--listen=127.0.0.1:{serving.free_port()}",
        f"--http-listen=127.0.0.1:{serving.free_port()}",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def flip(bundle: Path, name: str) -> None:
    """Flips one bit in the middle of a file."""
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)


def truncate(bundle: Path) -> None:
    """Cuts the vision module short."""
    data = (bundle / "vision.pt").read_bytes()
    (bundle / "vision.pt").write_bytes(data[: len(data) // 2])


def newer_format(bundle: Path) -> None:
    """A bundle from the future."""
    text = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(text.replace('"format": 1', '"format": 99', 1))


DAMAGE = {
    "a wrong hash": (lambda bundle: flip(bundle, "decoder.pt"), "decoder.pt"),
    "another tokenizer": (lambda bundle: flip(bundle, "tokenizer.model"), "tokenizer.model"),
    "a truncated file": (truncate, "vision.pt"),
    "a missing file": (lambda bundle: (bundle / "tokenizer.model").unlink(), "tokenizer.model"),
    "a newer format": (newer_format, "format"),
    "no manifest": (lambda bundle: (bundle / "manifest.json").unlink(), "manifest.json"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_bad_bundle_is_refused_with_one_line(tmp_path: Path, name: str) -> None:
    damage, named = DAMAGE[name]
    bundle = tmp_path / "bundle"
    shutil.copytree(serving.TINY, bundle)
    damage(bundle)
    result = run_server(bundle)
    assert result.returncode == 1
    output = (result.stdout + result.stderr).strip()
    assert named in output.splitlines()[-1], output


def test_a_wrong_flag_is_a_usage_error() -> None:
    result = subprocess.run([serving.SERVER, "--no-such-flag"], capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
