# SPDX-License-Identifier: Apache-2.0
"""F28 to F35: clients that are late, change their mind, die or do not read, and their neighbours who notice nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import freezing
import grpc
import pictures
import pytest
import quiescence
import raw_http2
import serving

FLAGS = ("--allow-ignore-eos", "--stall-timeout=1s")
ABORTS = int(os.environ.get("FAULT_ABORTS", "200"))  # 5,000 for a thorough run
STREAM = "/paligemma.v1.PaliGemmaService/StreamGenerate"
KINDS = ("unary", "stream")
# In the log: a client that is late ends the call itself, by a cancel, if the server learnt of its deadline late.
LATE = ("DEADLINE_EXCEEDED", "CANCELLED")
ids = (f"fault-{number}" for number in itertools.count())


def long_request(**config: object) -> object:
    """A request that runs for as many steps as the model allows."""
    request = serving.generate_request(quiescence.GOLDEN)
    request.generation_config.max_output_tokens = 256
    request.generation_config.ignore_eos = True
    for name, value in config.items():
        setattr(request.generation_config, name, value)
    return request


def streamed(request: object) -> object:
    """The same as a stream."""
    service = serving.api("paligemma_service_pb2")
    return service.StreamGenerateRequest(task=service.TaskRequest(generate=request))


def begin(server: serving.Server, kind: str, request: object, **options: object) -> grpc.Call:
    """Starts a call without waiting for it."""
    if kind == "unary":
        return server.stub.Generate.future(request, **{"timeout": 60, **options})
    return server.stub.StreamGenerate(streamed(request), **{"timeout": 60, **options})


def code_of(call: grpc.Call) -> str:
    """How a call ended, once it has."""
    return call.code().name


def tokens_of(call: grpc.Call, kind: str) -> list[int]:
    """The tokens of a call that succeeds."""
    if kind == "unary":
        return list(call.result().candidates[0].token_ids)
    return list([*call][-1].result.generate.candidates[0].token_ids)


@contextlib.contextmanager
def meeting(
    server: serving.Server, phase: str, kind: str, **options: object
) -> Iterator[tuple[freezing.Frozen, grpc.Call, str]]:
    """A call that stands still in a phase: waiting for preprocessing, waiting for its prefill, generating. Yields what
    holds it, the call and its request id."""
    names = []

    def start() -> grpc.Call:
        names.append(next(ids))
        return begin(server, kind, long_request(), metadata=[("x-request-id", names[-1])], **options)

    if phase == "generating":
        with freezing.frozen_at_work(server, start) as (threads, call):
            yield threads, call, names[-1]
        return
    with freezing.frozen(server, "pg-preprocess" if phase == "queued" else "pg-engine") as threads:
        call = start()
        freezing.await_metric(server, "paligemma_requests_waiting", 1)
        yield threads, call, names[-1]


def ended(server: serving.Server, code: str) -> float:
    """How many RPCs the server says ended so."""
    return server.metric("grpc_server_handled_total", grpc_code=code)


@pytest.fixture(scope="module")
def alone(base: quiescence.Base) -> list[int]:
    """The tokens of the long request when nobody else is there."""
    return tokens_of(begin(base.server, "unary", long_request()), "unary")


@contextlib.contextmanager
def bystander(server: serving.Server) -> Iterator[None]:
    """Asks again and again in the background; every answer must have the golden tokens."""
    over, answers, errors = threading.Event(), [], []

    def ask() -> None:
        try:
            while not over.is_set():
                answers.append(quiescence.golden_tokens(server))
        except grpc.RpcError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not errors
    assert answers and all(tokens == quiescence.GOLDEN["token_ids"] for tokens in answers)


def test_f28_a_deadline_that_is_past_on_arrival_costs_no_step(server: serving.Server) -> None:
    """A nanosecond, which the server's library rounds up to a millisecond. No client library would send it."""
    steps = server.metric("paligemma_batch_size_count")
    for _ in range(10):
        with raw_http2.Connection(server.port) as connection:
            connection.call(STREAM, streamed(long_request()).SerializeToString(), grpc_timeout="1n")
            assert b"grpc-status\x014" in connection.await_kind(raw_http2.HEADERS).payload
    assert server.metric("paligemma_batch_size_count") == steps


def test_f29_a_deadline_that_ends_behind_a_long_step_is_kept_and_takes_nothing_else(
    server: serving.Server, alone: list[int]
) -> None:
    name = next(ids)
    with meeting(server, "generating", "unary") as (threads, running, _):
        late = begin(server, "unary", long_request(), timeout=0.3, metadata=[("x-request-id", name)])
        assert code_of(late) == "DEADLINE_EXCEEDED"  # while the step before it still runs
        threads.thaw()
        assert tokens_of(running, "unary") == alone
    fields = server.log_fields(name)
    assert (fields["code"] in LATE, fields["output_tokens"]) == (True, "0")


def test_f29_a_deadline_that_ends_in_the_queue_leaves_the_queue_at_once(server: serving.Server) -> None:
    with meeting(server, "queued", "unary", timeout=0.3) as (_, call, _):
        assert code_of(call) == "DEADLINE_EXCEEDED"
        quiescence.await_idle(server)  # nobody has looked at the request yet


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", ["queued", "before prefill", "generating"])
def test_f30_a_deadline_frees_everything_in_any_phase(server: serving.Server, phase: str, kind: str) -> None:
    with meeting(server, phase, kind, timeout=0.5) as (_, call, name):
        assert code_of(call) == "DEADLINE_EXCEEDED"
    assert server.log_fields(name)["code"] in LATE


def test_f30_a_deadline_that_the_server_keeps_is_logged_and_counted_as_one(server: serving.Server) -> None:
    before, name = ended(server, "DeadlineExceeded"), next(ids)
    with freezing.frozen(server), raw_http2.Connection(server.port) as connection:
        connection.call(STREAM, streamed(long_request()).SerializeToString(), grpc_timeout="100m", x_request_id=name)
        assert b"grpc-status\x014" in connection.await_kind(raw_http2.HEADERS).payload
    assert server.log_fields(name)["code"] == "DEADLINE_EXCEEDED"
    assert ended(server, "DeadlineExceeded") == before + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", ["queued", "before prefill", "generating"])
def test_f31_a_cancel_frees_everything_in_any_phase(server: serving.Server, phase: str, kind: str) -> None:
    with meeting(server, phase, kind) as (_, call, name):
        call.cancel()
        assert code_of(call) == "CANCELLED"
    assert server.log_fields(name)["code"] == "CANCELLED"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["cancel", "deadline"])
def test_f30_f31_a_picture_that_is_being_decoded_is_let_go_of(server: serving.Server, end: str, kind: str) -> None:
    request, name = long_request(), next(ids)
    request.images[0].content = pictures.bomb(6000, 6000)  # legal, and long to decode
    options = {"timeout": 0.05} if end == "deadline" else {}
    call = begin(server, kind, request, metadata=[("x-request-id", name)], **options)
    if end == "cancel":
        freezing.await_metric(server, "paligemma_requests_waiting", 1)
        call.cancel()
    assert code_of(call) == ("CANCELLED" if end == "cancel" else "DEADLINE_EXCEEDED")
    fields = server.log_fields(name)
    assert (fields["code"] in LATE, fields["prefill_ms"]) == (True, "0.0")


def test_f32_connections_that_break_off_take_nobody_with_them(server: serving.Server) -> None:
    """FAULT_ABORTS=5000 makes it thorough."""
    before = ended(server, "Canceled")
    message = streamed(long_request()).SerializeToString()
    with bystander(server):
        for _ in range(ABORTS):
            connection = raw_http2.Connection(server.port)
            connection.call(STREAM, message)
            connection.await_kind(raw_http2.DATA)  # in the middle of its stream
            connection.abort()
    quiescence.await_idle(server)
    assert ended(server, "Canceled") == before + ABORTS


DYING_CLIENT = """
import sys
sys.path[:0] = sys.argv[2:]
import grpc, serving
stub = serving.Stub(grpc.insecure_channel(sys.argv[1]))
service = serving.api("paligemma_service_pb2")
request = service.StreamGenerateRequest.FromString(sys.stdin.buffer.read())
streams = [stub.StreamGenerate(request) for _ in range(8)]
for number in range(1, 1000):
    for stream in streams:
        next(stream)
    print(number, flush=True)
"""


def test_f32_a_client_that_is_killed_takes_nobody_with_it(server: serving.Server) -> None:
    before = ended(server, "Canceled")
    command = [sys.executable, "-c", DYING_CLIENT, server.address, *(path for path in sys.path if path)]
    with bystander(server), subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        client.stdin.write(streamed(long_request()).SerializeToString())
        client.stdin.close()
        assert client.stdout.readline() == b"1\n"
        client.send_signal(signal.SIGKILL)
        client.wait()
    quiescence.await_idle(server)
    assert ended(server, "Canceled") == before + 8


def test_f33_a_cancel_in_the_queue_does_not_touch_the_one_that_runs(server: serving.Server, alone: list[int]) -> None:
    for kind in KINDS:
        with meeting(server, "generating", kind) as (threads, running, _):
            queued = begin(server, kind, long_request())
            freezing.await_metric(server, "paligemma_requests_waiting", 1)
            queued.cancel()
            assert code_of(queued) == "CANCELLED"
            threads.thaw()
            assert tokens_of(running, kind) == alone


def test_f35_a_client_that_never_reads_is_cut_off_when_it_stalls(server: serving.Server) -> None:
    name = next(ids)
    with bystander(server), raw_http2.Connection(server.port, window=0) as connection:
        connection.call(STREAM, streamed(long_request(logprobs=20)).SerializeToString(), x_request_id=name)
        head, end = connection.next_frame(), connection.next_frame()
        assert (head.kind, end.kind) == (raw_http2.HEADERS, raw_http2.HEADERS)  # and never a message
        assert end.flags & raw_http2.END_STREAM
    assert server.log_fields(name)["reason"] == "SLOW_CONSUMER"


def test_f35_a_client_that_leaves_before_it_has_read_its_answer_has_cancelled(server: serving.Server) -> None:
    name = next(ids)
    with raw_http2.Connection(server.port, window=0) as connection:
        connection.call(STREAM, streamed(long_request()).SerializeToString(), x_request_id=name)
        assert connection.next_frame().kind == raw_http2.HEADERS
        quiescence.await_answered(server)
    assert server.log_fields(name)["code"] == "CANCELLED"


def test_f35_a_client_that_reads_too_slowly_for_the_buffer_is_told_so(server: serving.Server) -> None:
    before, name = ended(server, "ResourceExhausted"), next(ids)
    request = long_request(logprobs=20, candidate_count=8, temperature=1.0)  # more than the buffer holds
    with bystander(server), raw_http2.Connection(server.port, window=0) as connection:
        connection.call(STREAM, streamed(request).SerializeToString(), x_request_id=name)
        assert server.log_fields(name)["reason"] == "SLOW_CONSUMER"
        connection.open_window(1 << 20)
        connection.await_kind(raw_http2.HEADERS)
        trailers = connection.await_kind(raw_http2.HEADERS)
        assert b"grpc-status\x018" in trailers.payload
    assert ended(server, "ResourceExhausted") == before + 1
