# SPDX-License-Identifier: Apache-2.0
"""The metrics that dashboards and routers rely on: their names and labels, and what each kind of call adds to them."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator

import freezing
import grpc
import pytest
import quiescence
import serving
from paligemma_serving import requests, v1
from PIL import Image

SERVICE = "paligemma.v1.PaliGemmaService"
PER_METHOD = {"model", "method"}
PER_RPC = {"grpc_service", "grpc_method", "grpc_type"}
FIRST_TOKEN = ".001 .005 .01 .02 .04 .06 .08 .1 .25 .5 .75 1 2.5 5 7.5 10 20 40 80 160 640 2560"
PER_TOKEN = ".001 .0025 .005 .01 .025 .05 .075 .1 .15 .2 .3 .4 .5 .75 1 2.5 5 7.5 10 20 40 80"
SECONDS = ".001 .002 .005 .01 .02 .04 .08 .16 .32 .64 1.28 2.56 5.12 10.24 20.48 40.96 81.92"
RPC_SECONDS = ".005 .01 .025 .05 .075 .1 .25 .5 .75 1 2.5 5 7.5 10 30 60"
TOKENS = "1 2 5 10 20 50 100 200 500 1000 2000 5000 10000"
ROWS = "1 2 4 8 16 32 64 128 256"

GAUGES = {
    "paligemma_requests_waiting": set(),
    "paligemma_requests_running": set(),
    "paligemma_kv_cache_usage_ratio": set(),
    "paligemma_connections_open": set(),
    "paligemma_cache_config_info": {"block_size", "num_gpu_blocks", "dtype"},
    "paligemma_model_info": {"model", "revision", "dtype", "device"},
    "paligemma_build_info": {"version", "revision", "torch", "cuda"},
    "paligemma_lora_requests_info": {"max_lora", "running_lora_adapters", "waiting_lora_adapters"},
    "process_resident_memory_bytes": set(),
    "process_virtual_memory_bytes": set(),
    "process_open_fds": set(),
    "process_max_fds": set(),
    "process_threads": set(),
    "process_start_time_seconds": set(),
}
COUNTERS = {
    "paligemma_prompt_tokens_total": set(),
    "paligemma_output_tokens_total": set(),
    "paligemma_preemptions_total": set(),
    "paligemma_vision_cache_queries_total": set(),
    "paligemma_vision_cache_hits_total": set(),
    "paligemma_prefix_cache_queries_total": set(),
    "paligemma_prefix_cache_hits_total": set(),
    "paligemma_requests_finished_total": PER_METHOD | {"reason"},
    "paligemma_requests_rejected_total": {"reason"},
    "paligemma_deadline_exceeded_tokens_total": set(),
    "paligemma_log_lines_dropped_total": set(),
    "paligemma_connections_refused_total": {"reason"},
    "process_cpu_seconds_total": set(),
    "grpc_server_started_total": PER_RPC,
    "grpc_server_handled_total": PER_RPC | {"grpc_code"},
    "grpc_server_msg_received_total": PER_RPC,
    "grpc_server_msg_sent_total": PER_RPC,
}
HISTOGRAMS = {
    "paligemma_time_to_first_token_seconds": (PER_METHOD, FIRST_TOKEN),
    "paligemma_inter_token_latency_seconds": (PER_METHOD, PER_TOKEN),
    "paligemma_time_per_output_token_seconds": (PER_METHOD, PER_TOKEN),
    "paligemma_request_duration_seconds": (PER_METHOD, SECONDS),
    "paligemma_request_phase_duration_seconds": ({"phase"}, SECONDS),
    "paligemma_request_prompt_tokens": (set(), TOKENS),
    "paligemma_request_output_tokens": (set(), TOKENS),
    "paligemma_batch_size": ({"phase"}, ROWS),
    "grpc_server_handling_seconds": (PER_RPC, RPC_SECONDS),
}

Series = tuple[str, frozenset[tuple[str, str]]]  # a name and its labels


def scrape(server: serving.Server) -> dict[Series, float]:
    """Every series of the management port with its value."""
    found = {}
    for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", server.http("/metrics")[1], re.MULTILINE):
        found[name, frozenset(re.findall(r'(\w+)="([^"]*)"', labels))] = float(value)
    return found


def test_names_types_labels_and_buckets_are_those_agreed(server: serving.Server) -> None:
    text = server.http("/metrics")[1]
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    kinds = {"gauge": GAUGES, "counter": COUNTERS, "histogram": HISTOGRAMS}
    assert types == {name: kind for kind, names in kinds.items() for name in names}
    bounds: dict[Series, set[float]] = {}
    for name, labels in scrape(server):
        keys = {key for key, _ in labels}
        if name in types:
            assert keys == {**GAUGES, **COUNTERS}[name], name
        elif name.endswith("_bucket"):
            series = (name.removesuffix("_bucket"), frozenset(pair for pair in labels if pair[0] != "le"))
            bounds.setdefault(series, set()).add(float(dict(labels)["le"]))
    assert {name for name, _ in bounds} == set(HISTOGRAMS)
    for (name, labels), found in bounds.items():
        expected_labels, expected_bounds = HISTOGRAMS[name]
        assert {key for key, _ in labels} == expected_labels, name
        assert found == {*map(float, expected_bounds.split()), float("inf")}, name


# --- What a call adds -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet() -> Iterator[serving.Server]:
    """A server that nobody else asks."""
    with serving.Server(serving.TINY, "--max-queued=1", "--max-image-bytes=65536", "--allow-ignore-eos") as running:
        yield running


class Changes(dict[str, float]):
    """What counters and numbers of observations rose by; {'name{label,label}': n}, the values of labels sorted."""

    @contextlib.contextmanager
    def of(self, server: serving.Server) -> Iterator[None]:
        """Of what runs within the block, until nothing is under way."""
        quiescence.await_idle(server)
        before = scrape(server)
        yield
        quiescence.await_idle(server)
        for (name, labels), value in scrape(server).items():
            counts = name in COUNTERS or name.endswith("_count")
            if not counts or name.startswith("process_") or value == before[name, labels]:
                continue
            values = sorted(value for key, value in labels if key not in ("model", "grpc_service", "grpc_type"))
            self[f"{name}{{{','.join(values)}}}"] = value - before[name, labels]


def changes_by(server: serving.Server, call) -> dict[str, float]:  # noqa: ANN001
    """What a call adds."""
    changes = Changes()
    with changes.of(server):
        call()
    return changes


def rpc(method: str, code: str, sent: int) -> dict[str, float]:
    """What gRPC's own metrics say of one call."""
    return {
        f"grpc_server_started_total{{{method}}}": 1,
        f"grpc_server_msg_received_total{{{method}}}": 1,
        f"grpc_server_handling_seconds_count{{{method}}}": 1,
        f"grpc_server_handled_total{{{','.join(sorted([code, method]))}}}": 1,
        **({f"grpc_server_msg_sent_total{{{method}}}": sent} if sent else {}),
    }


def ended(method: str, reason: str) -> dict[str, float]:
    """What every request adds that the engine took, however it ended."""
    phases = ("queue", "preprocess", "vision", "prefill", "decode", "postprocess")
    return {
        f"paligemma_requests_finished_total{{{','.join(sorted([method, reason]))}}}": 1,
        f"paligemma_request_duration_seconds_count{{{method}}}": 1,
        **{f"paligemma_request_phase_duration_seconds_count{{{phase}}}": 1 for phase in phases},
        "paligemma_request_prompt_tokens_count{}": 1,
        "paligemma_request_output_tokens_count{}": 1,
    }


def answered(method: str, usage: v1.Usage) -> dict[str, float]:
    """What tokens add."""
    return {
        f"paligemma_time_to_first_token_seconds_count{{{method}}}": 1,
        f"paligemma_time_per_output_token_seconds_count{{{method}}}": 1,
        "paligemma_prompt_tokens_total{}": usage.prompt_token_count,
        "paligemma_output_tokens_total{}": usage.output_token_count,
        "paligemma_batch_size_count{vision}": 1,
        "paligemma_batch_size_count{prefill}": 1,
        "paligemma_batch_size_count{decode}": usage.output_token_count - 1,
        "paligemma_vision_cache_queries_total{}": 1,
    }


def picture(number: int) -> bytes:
    """One that the server has not seen."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(file, "png")
    return file.getvalue()


def long(number: int, tokens: int = 6) -> v1.GenerateRequest:
    """A request of exactly so many tokens."""
    return requests.generate(picture(number), "caption en", config={"max_output_tokens": tokens, "ignore_eos": True})


def test_an_answer(quiet: serving.Server) -> None:
    responses = []
    added = changes_by(quiet, lambda: responses.append(quiet.stub.Generate(long(1), timeout=60)))
    usage = responses[0].info.usage
    assert usage.output_token_count == 6
    between = added.pop("paligemma_inter_token_latency_seconds_count{Generate}")
    assert 1 <= between <= 5  # as delivered, and what makes no text yet is held back
    assert added == {**rpc("Generate", "OK", sent=1), **ended("Generate", "max_tokens"), **answered("Generate", usage)}


def test_a_picture_that_was_seen_is_a_hit(quiet: serving.Server) -> None:
    quiet.stub.Generate(long(2), timeout=60)
    added = changes_by(quiet, lambda: quiet.stub.Generate(long(2), timeout=60))
    assert added["paligemma_vision_cache_queries_total{}"] == added["paligemma_vision_cache_hits_total{}"] == 1
    assert "paligemma_batch_size_count{vision}" not in added


def test_a_stream_counts_under_its_own_rpc_and_its_tasks_method(quiet: serving.Server) -> None:
    messages: list[v1.StreamGenerateResponse] = []
    request = v1.StreamGenerateRequest(task=v1.TaskRequest(generate=long(3)))
    added = changes_by(quiet, lambda: messages.extend(quiet.stub.StreamGenerate(request, timeout=60)))
    usage = messages[-1].result.generate.info.usage
    sent = added.pop("grpc_server_msg_sent_total{StreamGenerate}")
    assert len(messages) <= sent <= 7  # lined up; a reader that is late gets some of them merged
    added.pop("paligemma_inter_token_latency_seconds_count{Generate}")
    expected = {**ended("Generate", "max_tokens"), **answered("Generate", usage)}
    assert added == {**rpc("StreamGenerate", "OK", sent=0), **expected}


def refuse(server: serving.Server, call, request: object, reason: str) -> dict[str, float]:  # noqa: ANN001
    """What a refusal for this reason adds."""

    def ask() -> None:
        assert serving.refusal_of(call, request)[1] == reason

    return changes_by(server, ask)


def test_refusals(quiet: serving.Server) -> None:
    wrong = requests.generate(picture(4), "caption en", config={"temperature": -1.0})
    large = requests.generate(bytes(65537), "caption en")
    other = requests.generate(picture(4), "caption en", model="other")
    for request, reason, label, code in (
        (wrong, "FIELD_INVALID", "invalid", "InvalidArgument"),
        (large, "IMAGE_TOO_LARGE", "too_large", "InvalidArgument"),
        (other, "MODEL_NOT_FOUND", "invalid", "NotFound"),
    ):
        added = refuse(quiet, quiet.stub.Generate, request, reason)
        assert added == {**rpc("Generate", code, sent=0), f"paligemma_requests_rejected_total{{{label}}}": 1}


def test_a_picture_that_is_none_ends_as_an_error(quiet: serving.Server) -> None:
    request = requests.generate(b"\x89PNG\r\n\x1a\n and nothing more", "caption en")
    added = refuse(quiet, quiet.stub.Generate, request, "IMAGE_CORRUPT")
    assert added == {**rpc("Generate", "InvalidArgument", sent=0), **ended("Generate", "error")}


def test_a_full_queue_a_deadline_and_a_cancelled_call(quiet: serving.Server) -> None:
    with freezing.frozen(quiet) as threads:
        changes = Changes()
        quiescence.await_idle(quiet)
        before = scrape(quiet)
        call = quiet.stub.Generate.future(long(5), timeout=60)
        freezing.await_metric(quiet, "paligemma_requests_waiting", 1)
        assert serving.refusal_of(quiet.stub.Generate, long(6))[1] == "SERVER_OVERLOADED"
        overloaded = ("paligemma_requests_rejected_total", frozenset({("reason", "overloaded")}))
        assert scrape(quiet)[overloaded] - before[overloaded] == 1
        call.cancel()
        threads.thaw()
    quiescence.await_idle(quiet)

    def too_late() -> None:
        with freezing.frozen(quiet) as threads:
            call = quiet.stub.Generate.future(long(7), timeout=0.5)
            assert call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            threads.thaw()

    with changes.of(quiet):
        too_late()
    assert without_work(changes) == {**rpc("Generate", "DeadlineExceeded", sent=0), **ended("Generate", "deadline")}

    def cancelled() -> None:
        with freezing.frozen(quiet) as threads:
            call = quiet.stub.Generate.future(long(8), timeout=60)
            freezing.await_metric(quiet, "paligemma_requests_waiting", 1)
            call.cancel()
            threads.thaw()

    added = changes_by(quiet, cancelled)
    assert without_work(added) == {**rpc("Generate", "Canceled", sent=0), **ended("Generate", "cancelled")}


def without_work(changes: dict[str, float]) -> dict[str, float]:
    """Leaves out what the engine may or may not have done before it heard of the end."""
    done = re.compile(r"paligemma_(batch_size|vision_cache|\w+_tokens_total|time_|inter_token)")
    return {name: value for name, value in changes.items() if not done.match(name)}


def test_no_client_makes_a_series(quiet: serving.Server) -> None:
    """Methods, models, ids, tags and metadata of a client's choice."""
    before = set(scrape(quiet))
    for number in range(5):
        evil = f"evil{number}"
        metadata = [
            ("x-request-id", evil), ("traceparent", evil), ("x-paligemma-model", evil), ("user-agent", evil),
            ("grpc-previous-rpc-attempts", "9" * 30), ("x-tenant-id", evil), ("authorization", f"Bearer {evil}"),
        ]
        for path in (f"/{evil}.Service/Method", f"/{SERVICE}/{evil}", f"/{evil}", "/"):
            with pytest.raises(grpc.RpcError):
                quiet.channel.unary_unary(path)(b"", timeout=60, metadata=metadata)
        request = long(9)
        request.model = f"models/{evil}"
        request.options.tags[evil] = evil
        assert serving.refusal_of(quiet.stub.Generate, request, metadata=metadata[:2])[1] == "MODEL_NOT_FOUND"
        request.ClearField("model")
        quiet.stub.Generate(request, timeout=60, metadata=metadata[:2])
    text = quiet.http("/metrics")[1]
    assert set(scrape(quiet)) == before
    assert "evil" not in text


def test_methods_that_do_not_exist_count_as_other(quiet: serving.Server) -> None:
    def ask() -> None:
        with pytest.raises(grpc.RpcError):
            quiet.channel.unary_unary("/evil.Service/Method")(b"", timeout=60)

    added = changes_by(quiet, ask)
    assert added == {**rpc("other", "Unimplemented", sent=0), "paligemma_requests_rejected_total{invalid}": 1}
