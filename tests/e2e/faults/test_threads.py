# SPDX-License-Identifier: Apache-2.0
"""F82, F83: threads that stand still are named by the liveness probe; a log that nobody reads holds up nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import freezing
import pytest
import quiescence
import serving
from test_signals import wait_for

GOLDEN = serving.generate_request(quiescence.GOLDEN)
WATCHED = "--watchdog-timeout=3s"
DROPPED = "paligemma_log_lines_dropped_total"


@pytest.fixture(scope="module")
def watched() -> Iterator[serving.Server]:
    """A server whose threads may stand still for three seconds."""
    with serving.Server(serving.TINY, WATCHED) as server:
        yield server
        assert server.stop() == 0, server.log_text()


@pytest.mark.parametrize("name", ["pg-preprocess", "pg-delivery", "pg-grpc-0", "pg-watchdog"])
def test_f82_a_thread_that_stands_still_fails_the_liveness_probe_which_names_it(
    watched: serving.Server, name: str
) -> None:
    with freezing.frozen(watched, name) as threads:
        # The threads of completion queues and the watchdog are late without a call; such a call might never return.
        call = None if name in ("pg-grpc-0", "pg-watchdog") else watched.stub.Generate.future(GOLDEN, timeout=60)
        wait_for(lambda: watched.http("/livez")[0] == 503)
        body = watched.http("/livez")[1]
        assert body.startswith("no\n") and f"\n{name}: no progress for " in body, body
        if call is not None:
            wait_for(lambda: watched.http("/readyz")[0] == 503)
            wait_for(lambda: f"liveness probe: {name}: no progress" in watched.log_text())
            refusal = serving.refusal_of(watched.stub.Generate, GOLDEN)
            assert refusal[:2] == ("UNAVAILABLE", "SERVER_DRAINING")
        threads.thaw()
        if call is not None and (error := call.exception()) is not None:  # it may have been done before delivery
            assert serving.reason_of(error)[:2] == ("UNAVAILABLE", "SERVER_DRAINING")
    watched.wait_ready()
    wait_for(lambda: watched.http("/livez") == (200, "ok\n"))
    quiescence.await_idle(watched)
    assert quiescence.golden_tokens(watched) == quiescence.GOLDEN["token_ids"]


@contextlib.contextmanager
def logging_to_a_pipe(*flags: str) -> Iterator[tuple[serving.Server, int]]:
    """A server whose output is a pipe that holds a page, and the end to read it from."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    server = serving.Server(serving.TINY, *flags, output=write_end)
    os.close(write_end)
    try:
        server.wait_ready()
        yield server, read_end
    finally:
        server.process.kill()
        os.close(read_end)


def with_long_log_line() -> object:
    """The golden request with tags of 2.5 KB, which are logged."""
    request = serving.generate_request(quiescence.GOLDEN)
    for i in range(8):
        request.options.tags[f"{i}" * 60] = "x" * 256
    return request


def test_f83_a_log_that_nobody_reads_holds_up_neither_calls_nor_probes_nor_the_exit() -> None:
    with logging_to_a_pipe(WATCHED) as (server, _):
        request = with_long_log_line()
        with ThreadPoolExecutor(8) as pool:
            for _ in range(20):
                for answer in pool.map(lambda _: server.stub.Generate(request, timeout=30), range(100)):
                    assert list(answer.candidates[0].token_ids) == quiescence.GOLDEN["token_ids"]
                if server.metric(DROPPED) > 0:
                    break
        assert server.metric(DROPPED) > 0
        wait_for(lambda: "pg-log: no progress for " in server.http("/livez")[1])
        status, body = server.http("/livez")
        assert (status, body.splitlines()[0]) == (200, "ok"), "the server can do without its log"
        assert server.serves()
        assert quiescence.golden_tokens(server) == quiescence.GOLDEN["token_ids"]
        start = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - start < 5


def test_f83_a_log_that_is_read_slowly_is_whole_when_the_server_has_ended() -> None:
    num_calls = 200
    text = bytearray()
    with logging_to_a_pipe() as (server, read_end):

        def read() -> None:
            pause = threading.Event()
            while block := os.read(read_end, 8192):
                text.extend(block)
                pause.wait(0.002)

        reader = threading.Thread(target=read)
        reader.start()
        request = with_long_log_line()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: server.stub.Generate(request, timeout=30), range(num_calls)))
        assert server.stop() == 0
        reader.join()
    lines = text.decode().splitlines()
    assert sum(" code=OK " in line for line in lines) == num_calls
    assert lines[-1].endswith("drained")
