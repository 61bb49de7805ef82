# SPDX-License-Identifier: Apache-2.0
"""F84 to F87: too many connections, no descriptors, proxies, and connections that grow old."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import quiescence
import raw_http2
import serving

OPEN, REFUSED = "paligemma_connections_open", "paligemma_connections_refused_total"
GOLDEN = serving.generate_request(quiescence.GOLDEN)


def connect(server: serving.Server, source: str = "127.0.0.1") -> socket.socket:
    """A connection from an address of the loopback interface, which has a whole /8 of them."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=(source, 0))


def closed_at_once(connection: socket.socket) -> bool:
    """Whether the server closes a connection within a second, though nothing was sent."""
    connection.settimeout(1)
    try:
        while data := connection.recv(4096):
            assert data
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


@contextlib.contextmanager
def connections(server: serving.Server, count: int, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """That many of them, all from one address."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(server, source)) for _ in range(count)]


def served_anew(server: serving.Server, timeout: float = 10) -> bool:
    """Whether a client with a connection of its own is answered."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(server.address, options) as channel:
        answer = serving.Stub(channel).Generate(GOLDEN, timeout=timeout)
    return list(answer.candidates[0].token_ids) == quiescence.GOLDEN["token_ids"]


def await_metric(server: serving.Server, name: str, value: float, **labels: str) -> None:
    """Waits until a metric has a value."""
    until = time.monotonic() + 20
    while (now := server.metric(name, **labels)) != value:
        assert time.monotonic() < until, f"{name} is {now}, not {value}"


@contextlib.contextmanager
def spare_descriptors(server: serving.Server, count: int) -> Iterator[None]:
    """Lets the server open only so many files more."""
    before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    used = max(int(fd) for fd in os.listdir(f"/proc/{server.process.pid}/fd"))
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + count, before[1]))
    yield
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)


def test_f86_once_descriptors_are_free_again_connections_are_accepted_within_a_second() -> None:
    with serving.Server() as server, quiescence.back_at_base(server), spare_descriptors(server, 40):
        with connections(server, 100) as held:
            assert closed_at_once(held[-1]), "what cannot be served does not wait"
            assert quiescence.golden_tokens(server) == quiescence.GOLDEN["token_ids"], "who is connected is served"
            assert server.metric(REFUSED, reason="descriptors") > 0
        freed = time.monotonic()
        assert served_anew(server, timeout=1)
        assert time.monotonic() - freed < 1
    lines = [line for line in server.log_text().splitlines() if "no file descriptor left" in line]
    assert len(lines) == 1, "one line, however many connections"


def test_f87_a_peer_that_takes_all_it_can_leaves_room_for_others() -> None:
    flags = ("--max-connections=40", "--max-connections-per-peer=10")
    with serving.Server(serving.TINY, *flags) as server, quiescence.back_at_base(server):
        before = server.metric(OPEN)
        with connections(server, 10, "127.0.0.2") as held:
            await_metric(server, OPEN, before + 10)
            for _ in range(30):
                with connect(server, "127.0.0.2") as extra:
                    assert closed_at_once(extra)
            assert not closed_at_once(held[-1])
            assert served_anew(server)
            assert server.metric(REFUSED, reason="peer") == 30
        await_metric(server, OPEN, before)
        with connect(server, "127.0.0.2") as again:
            assert not closed_at_once(again)


def test_f87_connections_are_bounded_in_all() -> None:
    flags = ("--max-connections=20", "--max-connections-per-peer=20")
    with serving.Server(serving.TINY, *flags) as server, quiescence.back_at_base(server):
        room = 20 - int(server.metric(OPEN))
        with connections(server, room, "127.0.0.2"), connect(server, "127.0.0.3") as extra:
            assert closed_at_once(extra)
            assert quiescence.golden_tokens(server) == quiescence.GOLDEN["token_ids"], "who is connected is served"
        await_metric(server, OPEN, 20 - room)
        assert served_anew(server)
        assert server.metric(REFUSED, reason="all") == 1


def test_f87_more_than_the_descriptors_afford_is_refused_at_the_start(tmp_path: Path) -> None:
    server = serving.Server(serving.TINY, "--max-connections=1048576")
    assert server.process.wait(30) == 1
    assert "--max-connections is 1048576; the limit of file descriptors affords" in server.log_text()


def test_f84_a_trusted_proxy_has_no_bound_and_says_who_calls() -> None:
    flags = ("--max-connections-per-peer=2", "--trusted-proxies=127.0.0.0/8")
    with serving.Server(serving.TINY, *flags) as server, connections(server, 5, "127.0.0.2") as held:
        assert not closed_at_once(held[-1])
        metadata = [("x-request-id", "proxied"), ("x-forwarded-for", "192.0.2.1, 198.51.100.7, 127.0.0.9")]
        server.stub.Generate(GOLDEN, timeout=60, metadata=metadata)
        assert server.log_fields("proxied")["peer"] == "ipv4:198.51.100.7"


def test_f84_who_is_no_trusted_proxy_cannot_say_who_calls(server: serving.Server) -> None:
    metadata = [("x-request-id", "forged"), ("x-forwarded-for", "198.51.100.7")]
    server.stub.Generate(GOLDEN, timeout=60, metadata=metadata)
    assert server.log_fields("forged")["peer"].startswith("ipv4:127.0.0.1:")


def test_f85_a_connection_that_has_grown_old_is_told_to_go_and_its_client_is_served() -> None:
    with serving.Server(serving.TINY, "--max-connection-age=1s") as server:
        began = time.monotonic()
        with raw_http2.Connection(server.port) as connection, pytest.raises(ConnectionError):
            connection.next_frame()  # pings are answered, and then it is closed
        assert 0.8 < time.monotonic() - began < 3
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert quiescence.golden_tokens(server) == quiescence.GOLDEN["token_ids"]
