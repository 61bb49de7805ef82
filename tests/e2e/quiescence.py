# SPDX-License-Identifier: Apache-2.0
"""What must be true of a server once a test is over: nothing is held any more, and it still answers as before.

The catalogue's invariants as far as they can be seen from outside: KV blocks, calls, queue, threads, descriptors,
resident memory, temporary files, the log, health, and the tokens of a golden request.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import serving

GOLDEN = serving.golden_cases()[0]
WARM_UP_CALLS, WARM_UP_CLIENTS = 48, 8
GROWTH_MIB = 96  # what the RPC library and the heap keep of the largest messages for a while
SPARE_THREADS = 4  # the RPC library's pools grow and shrink by a few
PATIENCE_S, PAUSE_S = 20, 0.05
HELD = ("paligemma_requests_running", "paligemma_requests_waiting", "paligemma_kv_cache_usage_ratio")


@dataclass(frozen=True)
class Vitals:
    """What the kernel counts for a process."""

    threads: int
    descriptors: int
    resident_mib: float


def vitals(server: serving.Server) -> Vitals:
    """Reads /proc."""
    process = Path(f"/proc/{server.process.pid}")
    return Vitals(len(os.listdir(process / "task")), len(os.listdir(process / "fd")), memory_mib(server, "VmRSS"))


def memory_mib(server: serving.Server, field: str) -> float:
    """VmRSS, what is resident now, or VmHWM, its peak."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


@contextlib.contextmanager
def peak_below(server: serving.Server, mib: float) -> Iterator[None]:
    """Fails when the server's resident memory ever was `mib` above what it is now."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak starts anew
    before = memory_mib(server, "VmRSS")
    yield
    rise = memory_mib(server, "VmHWM") - before
    assert rise < mib, f"resident memory rose by {rise:.1f} MiB"


def golden_tokens(server: serving.Server) -> list[int]:
    """The tokens of the golden request."""
    response = server.stub.Generate(serving.generate_request(GOLDEN), timeout=60)
    return list(response.candidates[0].token_ids)


def busy(server: serving.Server) -> list[str]:
    """What the server's metrics say is still held or under way."""
    text = server.http("/metrics")[1]
    held = [f"{name} is {value}" for name in HELD if (value := serving.metric_in(text, name)) != 0]
    started = serving.metric_in(text, "grpc_server_started_total")
    handled = serving.metric_in(text, "grpc_server_handled_total")
    return held + ([f"{started} RPCs began, {handled} ended"] if started != handled else [])


def await_idle(server: serving.Server) -> None:
    """Waits until nothing is under way."""
    assert not _persisting(lambda: busy(server))


def await_answered(server: serving.Server) -> None:
    """Waits until the engine is done with every request, though an answer may still wait for its reader."""
    assert not _persisting(lambda: [name for name in HELD if server.metric(name) != 0])


def _persisting(problems) -> list[str]:  # noqa: ANN001
    """What is still wrong when patience ends."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / PAUSE_S)):
        if not (found := problems()):
            return []
        pause.wait(PAUSE_S)
    return found


class Base:
    """A warm server's state, to which it must come back."""

    def __init__(self, server: serving.Server) -> None:
        self.server = server
        with ThreadPoolExecutor(WARM_UP_CLIENTS) as pool:
            list(pool.map(lambda _: golden_tokens(server), range(WARM_UP_CALLS)))
        await_idle(server)
        self.vitals = vitals(server)

    def check(self) -> None:
        """Asserts every invariant; what takes a moment to settle is given that moment."""
        assert self.server.process.poll() is None, f"the server ended:\n{self.server.log_text()}"
        problems = _persisting(lambda: busy(self.server) + self._excess())
        assert not problems, f"{problems}, at base {self.vitals}"
        faults = [line for line in self.server.log_text().splitlines() if is_fault(line)]
        assert not faults, faults
        assert not os.listdir(self.server.scratch.name), "a temporary file was left"
        assert self.server.http("/livez")[0] == self.server.http("/readyz")[0] == 200
        assert self.server.serves()
        assert golden_tokens(self.server) == GOLDEN["token_ids"]

    def _excess(self) -> list[str]:
        now = vitals(self.server)
        found = []
        if now.threads > self.vitals.threads + SPARE_THREADS:
            found.append(f"{now.threads} threads")
        if now.descriptors > self.vitals.descriptors:
            found.append(f"{now.descriptors} descriptors")
        if now.resident_mib > self.vitals.resident_mib + GROWTH_MIB:
            found.append(f"{now.resident_mib:.0f} MiB resident")
        return found


def is_fault(line: str) -> bool:
    """Whether a line of the log tells of a fault of the server itself."""
    words = line.split()
    return len(words) > 1 and words[1] in ("error", "critical") or "Check failed" in line or "terminate called" in line


@contextlib.contextmanager
def back_at_base(server: serving.Server) -> Iterator[Base]:
    """For a server of a test's own: warms it up, and asserts at the end that it is back."""
    base = Base(server)
    yield base
    base.check()
