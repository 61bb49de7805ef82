# SPDX-License-Identifier: Apache-2.0
"""The access log of a running server: one JSON object a line, the documented keys, phases that add up, no content."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import freezing
import pytest
import serving
from serving import pg

CASE = next(case for case in serving.golden_cases() if case["method"] == "answer" and len(case["token_ids"]) > 4)
TRACE = "0af7651916cd43dd8448eb211c80319c"
BEFORE_FIRST = ("queue_ms", "preprocess_ms", "vision_ms", "prefill_ms")
ALWAYS = {
    "ts", "level", "msg", "request_id", "method", "model", "code", "duration_ms", *BEFORE_FIRST, "decode_ms",
    "postprocess_ms", "ttft_ms", "images", "image_bytes", "prompt_tokens", "output_tokens", "response_bytes", "peer",
}


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    """One whose log is for machines."""
    with serving.Server(serving.TINY, "--log-format=json", "--slow-request-threshold=1h") as running:
        yield running


def lines_of(server: serving.Server, request_id: str, count: int = 1) -> list[dict]:
    """The lines of a request, once there are so many; every line of the log is an object."""
    pause = threading.Event()
    for _ in range(2000):
        lines = [json.loads(line) for line in server.log_text().splitlines(keepends=True) if line.endswith("\n")]
        assert all({"ts", "level", "msg"} <= set(line) for line in lines)
        found = [line for line in lines if line.get("request_id") == request_id]
        if len(found) >= count:
            return found
        pause.wait(0.005)
    raise AssertionError(f"no {count} lines of {request_id} in\n{server.log_text()}")


def line_of(server: serving.Server, request_id: str) -> dict:
    """The one line of a request."""
    (line,) = lines_of(server, request_id)
    return line


def ask(server: serving.Server, request_id: str, request: object = None, **metadata: str) -> dict:
    """The line of a request that is answered."""
    request = request or serving.generate_request(CASE)
    named = [("x-request-id", request_id), *((key.replace("_", "-"), value) for key, value in metadata.items())]
    server.stub.Generate(request, timeout=60, metadata=named)
    return line_of(server, request_id)


def test_an_answer_has_the_documented_keys(server: serving.Server) -> None:
    request = serving.generate_request(CASE)
    request.options.tags["cost"] = "1"
    line = ask(server, "whole", request, traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
    assert set(line) == ALWAYS | {"trace_id", "tags"}
    assert (line["level"], line["msg"], line["code"], line["method"]) == ("info", "request", "OK", "Generate")
    assert (line["trace_id"], line["tags"]) == (TRACE, {"cost": "1"})
    assert (line["images"], line["image_bytes"]) == (1, len(serving.image_bytes(CASE)))
    assert line["output_tokens"] == len(CASE["token_ids"])
    assert line["response_bytes"] > 0 and line["peer"].startswith("ipv4:127.0.0.1:")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])


def test_the_keys_are_those_of_the_page() -> None:
    page = (serving.ROOT / "docs/metrics.md").read_text().split("ends with one line", 1)[1]
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    documented = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    rare = {"trace_id", "attempt", "tags", "reason", "error", "tenant", "prompt", "answer"}
    assert documented == (ALWAYS - {"ts", "level", "msg"}) | rare


def test_phases_add_up(server: serving.Server) -> None:
    line = ask(server, "phases")
    first = sum(line[phase] for phase in BEFORE_FIRST)
    assert all(line[key] >= 0 for key in line if key.endswith("_ms"))
    assert line["prefill_ms"] > 0 and line["decode_ms"] > 0 and line["postprocess_ms"] > 0
    rounding = 0.01
    assert first <= line["ttft_ms"] + rounding
    assert line["ttft_ms"] + line["decode_ms"] + line["postprocess_ms"] <= line["duration_ms"] + rounding


def test_a_malformed_traceparent_leaves_no_trace_id(server: serving.Server) -> None:
    for number, value in enumerate(("nonsense", f"ff-{TRACE}-b7ad6b7169203331-01", f"00-{TRACE}-b7ad6b7169203331-01x")):
        assert "trace_id" not in ask(server, f"malformed-{number}", traceparent=value)


def test_a_request_id_that_is_none_is_replaced_and_told(server: serving.Server) -> None:
    request = serving.generate_request(CASE)
    _, call = server.stub.Generate.with_call(request, timeout=60, metadata=[("x-request-id", 'bad id"}')])
    given = dict(call.trailing_metadata())["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", given)
    assert line_of(server, given)["code"] == "OK"


def test_a_refusal_has_a_reason_and_quotes_nothing(server: serving.Server) -> None:
    request = serving.generate_request(CASE)
    request.model = "models/a-secret-model"
    assert serving.refusal_of(server.stub.Generate, request, metadata=[("x-request-id", "refused")])[1]
    line = line_of(server, "refused")
    assert (line["code"], line["reason"]) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert set(line) == ALWAYS | {"reason"}


def test_a_retry_says_which_it_is() -> None:
    with serving.Server(serving.TINY, "--log-format=json", "--max-queued=1") as server:
        with freezing.frozen(server) as threads, pg.Client(server.address, timeout=60) as client:
            waiting = server.stub.Generate.future(serving.generate_request(CASE), timeout=60)
            freezing.await_metric(server, "paligemma_requests_waiting", 1)
            with ThreadPoolExecutor(1) as pool:
                retried = pool.submit(client.send, serving.generate_request(CASE), request_id="retried")
                lines_of(server, "retried")  # refused
                threads.thaw()
                assert retried.result().candidates
            assert waiting.result().candidates
        first, *others = lines_of(server, "retried", 2)
        assert first["reason"] == "SERVER_OVERLOADED" and "attempt" not in first
        assert [line["attempt"] for line in others] == list(range(1, len(others) + 1))
        assert others[-1]["code"] == "OK"


def test_no_content_is_in_the_log_unless_it_is_asked_for(server: serving.Server) -> None:
    ask(server, "quiet")
    assert CASE["prompt"] not in server.log_text() and "a-secret" not in server.log_text()
    with serving.Server(serving.TINY, "--log-format=json", "--log-content") as talkative:
        line = ask(talkative, "loud")
        assert set(line) == ALWAYS | {"prompt", "answer"}
        assert CASE["prompt"] in line["prompt"] and line["answer"] == CASE["text"]


def test_a_slow_request_is_a_warning() -> None:
    with serving.Server(serving.TINY, "--log-format=json", "--slow-request-threshold=1ms") as slow:
        line = ask(slow, "slow")
        assert (line["level"], line["msg"]) == ("warning", "slow request")
        assert line["duration_ms"] > 1


def test_hostile_methods_and_handshakes_break_no_line(server: serving.Server) -> None:
    for path in ('/evil"}\\', "/evil\u00e9.Service/M", '/paligemma.v1.PaliGemmaService/","x":"'):
        with pytest.raises(serving.grpc.RpcError):
            server.channel.unary_unary(path)(b"", timeout=60)
    for junk in (b"\x16\x03\x01\x02\x00\x01{\"level\":\"forged\"}\n", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256))):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(junk)
            raw.settimeout(2)
            with contextlib.suppress(OSError):
                raw.recv(100)
    assert ask(server, "after")["code"] == "OK"  # and every line before it is an object
