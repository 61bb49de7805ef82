# SPDX-License-Identifier: Apache-2.0
"""The program itself: its version, its settings from everywhere, and what it says of wrong ones."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import serving


def run(*flags: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs the server with flags that make it end by itself."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PALIGEMMA_")}
    return subprocess.run(
        [serving.SERVER, *flags], capture_output=True, text=True, timeout=60, env={**inherited, **environment}
    )


def test_the_version_names_commit_and_formats() -> None:
    result = run("--version")
    assert result.returncode == 0
    version = (serving.ROOT / "VERSION").read_text().strip()
    commit = r"([0-9a-f]{12}(-dirty)?|unknown)"
    pattern = rf"paligemma-server {re.escape(version)} \(commit {commit}\), reads bundle formats 1 to \d+\n"
    assert re.fullmatch(pattern, result.stdout), result.stdout


def test_validate_only_prints_the_settings_in_force(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(f'{{"model": "{serving.TINY}", /* a comment */ "max-queued": 7, "max-running": 3}}')
    flags = ("--validate-only", f"--config={config}", "--drain-delay=1500ms")
    result = run(*flags, PALIGEMMA_MAX_RUNNING="4", PALIGEMMA_DRAIN_DELAY="9s")
    assert result.returncode == 0, result.stderr
    settings = json.loads(result.stdout)
    assert settings["max-queued"] == 7, "from the file"
    assert settings["max-running"] == 4, "the environment wins over the file"
    assert settings["drain-delay"] == "1500ms", "and flags win over both"
    config.write_text(result.stdout)
    assert json.loads(run("--validate-only", f"--config={config}").stdout) == settings, "it reads what it prints"


def test_validate_only_lists_all_problems_at_once(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"max-queud": 7, "log-level": "loud"}')
    result = run("--validate-only", f"--config={config}", "--max-deadline=1s", "--tls-cert=x")
    assert result.returncode == 2
    for word in ("max-queud", "--log-level", "--max-deadline", "--tls-key", "--model"):
        assert word in result.stderr, result.stderr


def test_validate_only_opens_the_files_that_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    for flags in (
        (f"--model={missing}",),
        (f"--model={serving.TINY}", f"--auth-tokens-file={missing}"),
        (f"--model={serving.TINY}", f"--tls-cert={missing}", f"--tls-key={missing}"),
    ):
        result = run("--validate-only", *flags)
        assert result.returncode == 1
        assert str(missing) in result.stderr.splitlines()[-1]


CPU_FLAGS = {"avx2": "avx2", "avx-vnni": "avx_vnni", "avx512": "avx512_vnni", "avx512-bf16": "avx512_bf16"}


@pytest.mark.parametrize("isa", CPU_FLAGS)
def test_validate_only_refuses_instructions_that_the_machine_lacks(isa: str) -> None:
    can_run = CPU_FLAGS[isa] in Path("/proc/cpuinfo").read_text().split()
    result = run("--validate-only", f"--model={serving.TINY}", "--device=cpu", f"--cpu-isa={isa}")
    assert result.returncode == (0 if can_run else 1), result.stderr
    assert can_run or f"cpu-isa {isa}: this machine cannot run it" in result.stderr


def test_a_mistyped_flag_gets_a_suggestion() -> None:
    result = run("--lisen=127.0.0.1:0")
    assert result.returncode == 2
    assert "there is no --lisen; did you mean --listen?" in result.stderr


def test_the_summary_names_real_ports_and_no_error_of_a_missing_gpu() -> None:
    with serving.Server(serving.TINY, "--listen=127.0.0.1:0", "--device=auto") as server:
        (ready,) = [line for line in server.log_text().splitlines() if " ready in " in line]
        assert ":0" not in ready.split("gRPC")[1]
        assert "cannot be opened: libpaligemma_cuda.so" not in server.log_text()


def test_variables_that_kubernetes_injects_are_only_logged() -> None:
    flags = ("--validate-only", f"--model={serving.TINY}", "--log-level=info")
    result = run(*flags, PALIGEMMA_PORT="tcp://10.0.0.1:8001", PALIGEMMA_PORT_8001_TCP_ADDR="10.0.0.1")
    assert result.returncode == 0, result.stderr
    assert "PALIGEMMA_PORT" in result.stderr


def test_configz_shows_the_settings(server: serving.Server) -> None:
    code, body = server.http("/configz")
    assert code == 200
    settings = json.loads(body)
    assert settings["listen"] == server.address
    assert settings["max-image-bytes"] == 16 << 20
    assert settings["max-image-pixels"] == 40_000_000
