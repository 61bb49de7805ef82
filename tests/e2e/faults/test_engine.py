# SPDX-License-Identifier: Apache-2.0
"""F38, F41, F42, F52, F71: a full queue, too few KV blocks, a device that hangs, and tokens that depend on nothing."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import freezing
import grpc
import numpy as np
import pictures
import pytest
import quiescence
import serving
from google.rpc import error_details_pb2, status_pb2
from PIL import Image

FLAGS = ("--kv-cache-mib=1", "--max-queued=8", "--max-batch-delay=0s", "--allow-ignore-eos")  # room for three long ones
CASES = serving.golden_cases()


def long_request(case: dict) -> object:
    """A golden case that goes on for many more tokens, with their log-probabilities."""
    request = serving.generate_request(case)
    request.generation_config.max_output_tokens = 128
    request.generation_config.ignore_eos = True
    return request


def ask_with_patience(server: serving.Server, request: object) -> object:
    """The answer's candidates; asks again as long as the queue is full."""
    while True:
        try:
            return server.stub.Generate(request, timeout=60).candidates
        except grpc.RpcError as error:
            assert serving.reason_of(error)[:2] == ("UNAVAILABLE", "SERVER_OVERLOADED")


def test_f38_a_full_queue_refuses_at_once_and_says_when_to_come_again(server: serving.Server) -> None:
    request = serving.generate_request(quiescence.GOLDEN)
    with freezing.frozen(server) as threads:
        waiting = [server.stub.Generate.future(request, timeout=60) for _ in range(8)]
        freezing.await_metric(server, "paligemma_requests_waiting", 8)
        for _ in range(8):
            with pytest.raises(grpc.RpcError) as caught:
                server.stub.Generate(request, timeout=60)
            code, reason, metadata = serving.reason_of(caught.value)
            assert (code, reason) == ("UNAVAILABLE", "SERVER_OVERLOADED")
            assert pushback_of(caught.value) == retry_delay_of(caught.value) == int(metadata["retry_after_ms"]) > 0
            assert server.metric("paligemma_requests_waiting") == 8
        threads.thaw()
        for call in waiting:
            assert list(call.result().candidates[0].token_ids) == quiescence.GOLDEN["token_ids"]


def noise() -> bytes:
    """A picture of half a mebibyte."""
    return pictures.encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (400, 400, 3), dtype=np.uint8)))


@pytest.mark.parametrize("flag", ["--max-queued-tokens=24", "--max-queued-bytes=1048576"])
def test_f38_the_queue_is_bounded_in_tokens_and_bytes_as_well(flag: str) -> None:
    """Room for two such requests, though for 256 by their number."""
    request = serving.generate_request(quiescence.GOLDEN)
    if "bytes" in flag:
        request.images[0].content = noise()
    with serving.Server(serving.TINY, flag) as server, freezing.frozen(server) as threads:
        waiting = [server.stub.Generate.future(request, timeout=60) for _ in range(2)]
        freezing.await_metric(server, "paligemma_requests_waiting", 2)
        assert serving.refusal_of(server.stub.Generate, request)[:2] == ("UNAVAILABLE", "SERVER_OVERLOADED")
        threads.thaw()
        assert all(call.result().candidates for call in waiting)


def pushback_of(error: grpc.RpcError) -> int:
    """What standard clients that retry look at, in milliseconds."""
    return int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"])


def retry_delay_of(error: grpc.RpcError) -> int:
    """The same for people's own retries: the RetryInfo of the status."""
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info.retry_delay.ToMilliseconds()


@pytest.fixture(scope="module")
def alone() -> Iterator[list[object]]:
    """What every case answers when it is alone and there is room."""
    with serving.Server(serving.TINY, "--allow-ignore-eos") as roomy:
        yield [roomy.stub.Generate(long_request(case), timeout=60).candidates for case in CASES]


def test_f41_sequences_that_lose_their_blocks_go_on_with_the_same_tokens(
    server: serving.Server, alone: list[object]
) -> None:
    before = server.metric("paligemma_preemptions_total")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda case: ask_with_patience(server, long_request(case)), CASES))
    assert server.metric("paligemma_preemptions_total") > before
    assert answers == alone


def test_f42_a_cache_that_could_never_hold_a_request_is_refused_at_the_start() -> None:
    """With any other, each request fits that keeps its limits. One that does not is refused (DispatcherTest)."""
    command = [serving.SERVER, f"--model={serving.TINY}", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"]
    flags = ["--kv-cache-mib=1", "--kv-block-size=1024"]
    result = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "KV cache" in (result.stdout + result.stderr).splitlines()[-1]


def test_f52_an_engine_that_hangs_flips_health_and_ends_the_calls() -> None:
    with serving.Server(serving.TINY, "--watchdog-timeout=1s", "--allow-ignore-eos") as server:
        with freezing.frozen_at_work(server, lambda: begin_long(server)) as (threads, running):
            queued = server.stub.Generate.future(long_request(quiescence.GOLDEN), timeout=60)
            for call in (running, queued):
                assert serving.reason_of(call.exception())[:2] == ("UNAVAILABLE", "SERVER_DRAINING")
            assert server.http("/livez")[0] == server.http("/readyz")[0] == 503
            assert not server.serves()
            refusal = serving.refusal_of(server.stub.Generate, long_request(quiescence.GOLDEN))
            assert refusal[:2] == ("UNAVAILABLE", "SERVER_DRAINING")
            threads.thaw()
        server.wait_ready()  # a step that ended after all
        assert server.http("/livez")[0] == 200 and server.serves()
        quiescence.await_idle(server)
        assert quiescence.golden_tokens(server) == quiescence.GOLDEN["token_ids"]


def test_f52_a_server_whose_engine_hangs_still_leaves_when_told() -> None:
    with serving.Server(serving.TINY, "--drain-timeout=1s", "--allow-ignore-eos") as server:
        with freezing.frozen_at_work(server, lambda: begin_long(server)) as (threads, running):
            server.process.terminate()
            assert running.exception().code() == grpc.StatusCode.UNAVAILABLE
            threads.await_end()
        assert server.process.wait(60) == 0


def begin_long(server: serving.Server) -> grpc.Future:
    """A call that generates for a while."""
    return server.stub.Generate.future(long_request(quiescence.GOLDEN), timeout=60)


def test_f71_alone_in_a_crowd_preempted_or_with_a_cached_image_the_answer_is_the_same(
    server: serving.Server, alone: list[object]
) -> None:
    """To the last bit of every log-probability."""
    fresh = long_request(CASES[0])
    fresh.options.cache_policy = serving.api("types_pb2").CACHE_POLICY_BYPASS
    assert ask_with_patience(server, fresh) == alone[0]
    assert [ask_with_patience(server, long_request(case)) for case in CASES[:6]] == alone[:6]
    with ThreadPoolExecutor(8) as pool:
        crowd = list(pool.map(lambda _: ask_with_patience(server, long_request(CASES[0])), range(24)))
    assert all(answer == alone[0] for answer in crowd)
