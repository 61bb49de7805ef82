# SPDX-License-Identifier: Apache-2.0
"""Starts a real server for a test, and speaks to it with the Python client of clients/python.

`Server.client` is that client, for tests of answers and errors. `Server.stub` and `Server.models` are the bare gRPC
methods underneath, for tests that cancel, stall or look at trailers.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import grpc

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "build/release/bin/paligemma-server"
CLIENT = ROOT / "build/release/bin/paligemma"
TINY = ROOT / "models/tiny-a"

sys.path.insert(0, str(ROOT / "clients/python"))

import paligemma_serving as pg  # noqa: E402
from paligemma_serving import requests, v1  # noqa: E402
from paligemma_serving._transport import multicallables  # noqa: E402


def api(module: str) -> ModuleType:
    """A module of the messages, e.g. "types_pb2"; `v1` has them all in one namespace."""
    return importlib.import_module(f"paligemma_serving.v1.{module}")


class Stub:
    """Both services as the callables of gRPC: stub.Caption(request, timeout=1), stub.Caption.future(...)."""

    def __init__(self, channel: grpc.Channel) -> None:
        unary, self.StreamGenerate = multicallables(channel)
        for request, method in unary.items():
            setattr(self, request.DESCRIPTOR.name.removesuffix("Request"), method)


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A running paligemma-server; a context manager that stops it. Its output goes to the log, or to the descriptor
    `output`."""

    def __init__(self, model: Path = TINY, *flags: str, output: int | None = None) -> None:
        self.port, self.http_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115 (lives as long as the server)
        self.scratch = tempfile.TemporaryDirectory()  # the server's temporary files, of which there are to be none
        command = [
            str(SERVER), f"--model={model}", f"--listen={self.address}", f"--http-listen=127.0.0.1:{self.http_port}",
            # One thread: the tiny model gains nothing from more, and threads that wait for each other are slow on a
            # machine that is busy otherwise.
            "--drain-delay=0s", "--threads=1", *flags,
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PALIGEMMA_")}
        environment["TMPDIR"] = self.scratch.name
        stdout = self.log if output is None else output
        self.process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.STDOUT, env=environment)
        self.channel = grpc.insecure_channel(self.address)
        self.stub = self.models = Stub(self.channel)
        self.client = pg.Client(self.address, max_attempts=1)

    def __enter__(self) -> Server:
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_ready(self, seconds: float = 60) -> None:
        """Returns once /readyz answers 200; fails with the server's log when it ends or takes too long."""
        until = time.monotonic() + seconds
        pause = threading.Event()
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with code {self.process.returncode}:\n{self.log_text()}")
            try:
                if self.http("/readyz")[0] == 200:
                    return
            except OSError:
                pass
            pause.wait(0.05)
        raise RuntimeError(f"the server is not ready after {seconds} s:\n{self.log_text()}")

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """Sends a signal, waits, returns the exit code."""
        self.client.close()
        self.channel.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(seconds)

    def log_text(self) -> str:
        """All that the server printed."""
        return Path(self.log.name).read_text()

    def log_fields(self, request_id: str) -> dict[str, str]:
        """The access log's fields of the one line that a request has, once it is there."""
        pause = threading.Event()
        for _ in range(2000):
            lines = [line for line in self.log_text().splitlines() if f" request_id={request_id} " in line]
            if lines:
                assert len(lines) == 1, lines
                return dict(word.split("=", 1) for word in lines[0].split() if "=" in word)
            pause.wait(0.005)
        raise RuntimeError(f"no line of request {request_id} in\n{self.log_text()}")

    def http(self, path: str) -> tuple[int, str]:
        """GETs from the management port: (status, body)."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over the series that carry these labels."""
        return metric_in(self.http("/metrics")[1], name, **labels)

    def serves(self) -> bool:
        """What the gRPC health service says of the whole server."""
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        return check(b"", timeout=30, wait_for_ready=True) == b"\x08\x01"  # status: SERVING


def metric_in(exposition: str, name: str, **labels: str) -> float:
    """The sum of a metric over the series of an exposition that carry these labels."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in exposition.splitlines() if line.split("{")[0].split(" ")[0] == name]
    if not lines:
        raise KeyError(f"no metric {name}")
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in wanted))


def golden_cases(model: Path = TINY) -> list[dict]:
    """The reference implementation's answers that travel with the tiny bundle."""
    return json.loads((model / "goldens/cases.json").read_text())


def image_bytes(case: dict, model: Path = TINY) -> bytes:
    """The encoded picture of a golden case."""
    return (model / "goldens" / case["image"]).read_bytes()


def generate_request(case: dict, model: Path = TINY) -> v1.GenerateRequest:
    """A Generate request that asks for a golden case's tokens."""
    config = {"max_output_tokens": case["max_tokens"], "logprobs": 0}
    return requests.generate(image_bytes(case, model), case["prompt"], config=config)


def refusal_of(call: Callable[..., object], request: object, **options: object) -> tuple[str, str, dict[str, str]]:
    """(code, reason, metadata) of a unary call that must fail."""
    try:
        answer = call(request, **{"timeout": 60, **options})
    except grpc.RpcError as error:
        return reason_of(error)
    raise AssertionError(f"the call was to be refused; it was answered: {answer}")


def reason_of(error: grpc.RpcError) -> tuple[str, str, dict[str, str]]:
    """(code, ErrorInfo reason, ErrorInfo metadata) of a failed call of a stub."""
    from google.rpc import error_details_pb2, status_pb2

    details = {key: value for key, value in error.trailing_metadata() or ()}.get("grpc-status-details-bin", b"")
    status = status_pb2.Status.FromString(details)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return error.code().name, info.reason, dict(info.metadata)
    return error.code().name, "", {}
