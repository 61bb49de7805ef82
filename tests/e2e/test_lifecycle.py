# SPDX-License-Identifier: Apache-2.0
"""Start, probes, drain and the log. Start-up errors are in faults/test_process.py."""

import subprocess

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


def test_a_wrong_flag_is_a_usage_error() -> None:
    result = subprocess.run([serving.SERVER, "--no-such-flag"], capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
