# SPDX-License-Identifier: Apache-2.0
"""SIGTERM at every time of the server's life ends it cleanly; a second one ends it fast."""

import hashlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import serving

CASE = serving.golden_cases()[0]


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Returns once the condition holds; fails after a while."""
    until, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < until, "it never happened"
        pause.wait(0.02)


def loads_for_minutes(bundle: Path) -> Path:
    """A copy of the tiny bundle whose decoder is a sparse file of 256 GiB with the right hashes."""
    chunk, count = 16 << 20, 16384
    shutil.copytree(serving.TINY, bundle)
    os.truncate(bundle / "decoder.pt", 0)
    os.truncate(bundle / "decoder.pt", chunk * count)
    manifest = json.loads((bundle / "manifest.json").read_text())
    zeros = hashlib.sha256(bytes(chunk)).hexdigest()
    manifest["files"]["decoder.pt"] = {"size": chunk * count, "sha256": zeros, "chunks": [zeros] * count}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return bundle


def probe_answers(server: serving.Server) -> bool:
    """Whether the management port answers."""
    try:
        return server.http("/livez")[0] == 200
    except OSError:
        return False


def long_stream(server: serving.Server, **config: float) -> object:
    """A stream that goes on for a while, of which the first message has come."""
    request = serving.generate_request(CASE)
    request.generation_config.max_output_tokens = 64
    request.generation_config.ignore_eos = True
    for name, value in config.items():
        setattr(request.generation_config, name, value)
    task = serving.v1.TaskRequest(generate=request)
    call = server.stub.StreamGenerate(serving.v1.StreamGenerateRequest(task=task), timeout=60)
    next(call)
    return call


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_model_is_loaded_ends_the_process(tmp_path: Path, how: signal.Signals) -> None:
    flags = ("--drain-delay=60s", "--drain-timeout=60s", "--threads=1")
    server = serving.Server(loads_for_minutes(tmp_path / "bundle"), *flags)
    try:
        wait_for(lambda: probe_answers(server))
        assert server.http("/readyz")[0] == 503
        with pytest.raises(grpc.RpcError) as caught:
            server.stub.Generate(serving.generate_request(CASE), timeout=20, wait_for_ready=True)
        assert serving.reason_of(caught.value)[:2] == ("UNAVAILABLE", "MODEL_LOADING")
        assert server.stop(how, seconds=20) == 0
        assert "stopped while the model was being loaded" in server.log_text()
    finally:
        server.process.kill()


def test_calls_in_flight_are_answered_before_it_leaves() -> None:
    with serving.Server(serving.TINY, "--allow-ignore-eos") as server:
        call = long_stream(server)
        server.process.send_signal(signal.SIGTERM)
        messages = list(call)
        assert messages[-1].HasField("result")
        assert server.process.wait(30) == 0
        assert server.log_text().rstrip().endswith("drained")


def test_a_second_signal_cuts_the_drain_delay_short() -> None:
    with serving.Server(serving.TINY, "--drain-delay=600s") as server:
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.http("/readyz")[0] == 503)
        assert server.stub.Generate(serving.generate_request(CASE), timeout=30).candidates, "it still accepts"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


def test_a_second_signal_ends_the_calls_in_flight() -> None:
    with serving.Server(serving.TINY, "--drain-timeout=600s", "--stall-timeout=600s", "--allow-ignore-eos") as server:
        # More bytes than the connection holds for a reader that reads one message: the call stays.
        call = long_stream(server, candidate_count=8, temperature=1.0, logprobs=20)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "draining" in server.log_text())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert "a second signal" in server.log_text()
        with pytest.raises(grpc.RpcError):
            list(call)
