# SPDX-License-Identifier: Apache-2.0
"""The management port among clients that mean it no good: probes and scrapes are answered all the same."""

from __future__ import annotations

import contextlib
import resource
import socket
import statistics
import threading
import time
from collections.abc import Iterator

import pytest
import serving

NUM_CONNECTIONS = 1000
# What a connection begins with, and then goes on to send byte by byte; the first kind sends nothing at all.
BEGINNINGS = {
    "idle": b"",
    "half a header": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ",
    "half a body": b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n",
    "too long a body": b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
}


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """This process may open as many files as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NUM_CONNECTIONS + 200:
        pytest.skip(f"a process may have {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Drips:
    """Connections that send a byte now and then, and come again when they are closed."""

    def __init__(self, port: int, beginning: bytes, count: int) -> None:
        self._port, self._beginning = port, beginning
        self._sockets = [self._connect() for _ in range(count)]

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        connection.sendall(self._beginning)
        return connection

    def drip(self) -> None:
        """One byte on each of them."""
        for i, connection in enumerate(self._sockets):
            try:
                if self._beginning:
                    connection.send(b"x")
            except OSError:
                connection.close()
                self._sockets[i] = self._connect()

    def close(self) -> None:
        """Leaves without a word."""
        for connection in self._sockets:
            connection.close()


@contextlib.contextmanager
def dripping(server: serving.Server) -> Iterator[None]:
    """NUM_CONNECTIONS connections of all kinds are held within the block."""
    kinds = [Drips(server.http_port, start, NUM_CONNECTIONS // len(BEGINNINGS)) for start in BEGINNINGS.values()]
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.5):
            for kind in kinds:
                kind.drip()

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for kind in kinds:
            kind.close()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_f81_probes_and_scrapes_are_answered_beside_a_thousand_dripping_connections(
    server: serving.Server, many_descriptors: None, path: str
) -> None:
    with dripping(server):
        seconds = []
        for _ in range(50):
            start = time.monotonic()
            assert server.http(path)[0] == 200
            seconds.append(time.monotonic() - start)
    assert statistics.median(seconds) <= 0.1, seconds
    assert max(seconds) <= 1.0, seconds
