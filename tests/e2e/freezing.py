# SPDX-License-Identifier: Apache-2.0
"""Stops single threads of a server, as a device that hangs would, so that a test decides where a request stands.

The server's threads have names (see them with `top -H`): pg-engine, pg-preprocess, pg-delivery, pg-grpc-N.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import quiescence
import serving

SEIZE, INTERRUPT, DETACH, ALL_THREADS = 0x4206, 0x4207, 17, 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, thread: int) -> None:
    if _libc.ptrace(request, thread, None, None) == 0:
        return
    error = ctypes.get_errno()
    if request == SEIZE:
        pytest.skip(f"threads cannot be stopped here: ptrace: {os.strerror(error)}")
    raise OSError(error, os.strerror(error))


def threads_named(server: serving.Server, name: str) -> list[int]:
    """The kernel's ids of the server's threads of this name. Its own comes first: those that a library starts in it,
    to compute, inherit the name."""
    tasks = Path(f"/proc/{server.process.pid}/task")
    return sorted(int(task) for task in os.listdir(tasks) if (tasks / task / "comm").read_text().strip() == name)


class Frozen:
    """Threads that stand still until thaw()."""

    def __init__(self, server: serving.Server, name: str) -> None:
        self._process = server.process.pid
        self._threads: list[int] = []
        found = threads_named(server, name)
        assert found, f"the server has no thread {name}"
        for thread in found:
            _ptrace(SEIZE, thread)
            _ptrace(INTERRUPT, thread)
            os.waitpid(thread, ALL_THREADS)
            self._threads.append(thread)

    def within(self, library: str) -> bool:
        """Whether the first of them stands in the code of this library."""
        maps = [line.split() for line in Path(f"/proc/{self._process}/maps").read_text().splitlines()]
        ranges = [[int(end, 16) for end in words[0].split("-")] for words in maps if words[-1].endswith(library)]
        where = Path(f"/proc/{self._process}/task/{self._threads[0]}/syscall").read_text()
        return any(low <= int(where.split()[-1], 16) < high for low, high in ranges)

    def await_end(self) -> None:
        """Waits until the process has ended under them. The kernel keeps it until its tracer has seen that."""
        for thread in self._threads:
            os.waitpid(thread, ALL_THREADS)
        self._threads.clear()

    def thaw(self) -> None:
        """Lets them go on; nothing when they do already, or the server has ended."""
        for thread in self._threads:
            with contextlib.suppress(ProcessLookupError):
                _ptrace(DETACH, thread)
        self._threads.clear()


@contextlib.contextmanager
def frozen(server: serving.Server, name: str = "pg-engine") -> Iterator[Frozen]:
    """The threads of this name stand still within the block, or until thaw(). The server must be idle before, so
    that they wait for work and hold no lock."""
    quiescence.await_idle(server)
    await_sleep(server, name)
    threads = Frozen(server, name)
    try:
        yield threads
    finally:
        threads.thaw()


@contextlib.contextmanager
def frozen_at_work(server: serving.Server, begin: Callable[[], grpc.Future]) -> Iterator[tuple[Frozen, grpc.Future]]:
    """The engine stands still while it generates for the call that `begin` makes, inside the model's library, so that
    it holds no lock of the server. Yields it with the call; makes another one when that was done too soon.
    """
    pause = threading.Event()
    for _ in range(100):
        call = begin()
        while not call.done():
            threads = Frozen(server, "pg-engine")
            try:
                if threads.within("libtorch_cpu.so") and server.metric("paligemma_requests_running") > 0:
                    yield threads, call
                    return
            finally:
                threads.thaw()
            pause.wait(0.001)
    raise AssertionError("the engine was never met at work")


def await_metric(server: serving.Server, name: str, least: float) -> None:
    """Waits until a metric is that large."""
    pause = threading.Event()
    for _ in range(2000):
        if server.metric(name) >= least:
            return
        pause.wait(0.005)
    raise AssertionError(f"{name} stays below {least}")


def await_sleep(server: serving.Server, name: str) -> None:
    """Waits until every thread of this name sleeps."""
    pause = threading.Event()
    tasks = [Path(f"/proc/{server.process.pid}/task/{thread}/stat") for thread in threads_named(server, name)]
    while any(task.read_text().rsplit(") ", 1)[1][0] != "S" for task in tasks):
        pause.wait(0.005)
