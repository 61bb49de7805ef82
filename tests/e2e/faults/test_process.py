# SPDX-License-Identifier: Apache-2.0
"""F58 to F66: signals, ports, bundles and settings: a server that ends as told, and never starts with a fault."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import freezing
import grpc
import pytest
import quiescence
import serving
from test_signals import loads_for_minutes, probe_answers, wait_for

GOLDEN = serving.generate_request(quiescence.GOLDEN)


def begin(server: serving.Server, kind: str) -> grpc.Future:
    """The golden request, not waited for."""
    if kind == "unary":
        return server.stub.Generate.future(GOLDEN, timeout=120)
    service = serving.api("paligemma_service_pb2")
    task = service.TaskRequest(generate=GOLDEN)
    return server.stub.StreamGenerate(service.StreamGenerateRequest(task=task), timeout=120)


def tokens_of(call: grpc.Future, kind: str) -> list[int]:
    """The tokens of a call that is answered."""
    response = call.result() if kind == "unary" else [*call][-1].result.generate
    return list(response.candidates[0].token_ids)


def test_f58_a_hundred_calls_in_flight_are_answered_after_sigterm() -> None:
    kinds = ["unary", "stream"] * 50
    with serving.Server(serving.TINY, "--drain-delay=1s", "--drain-timeout=120s") as server:
        with freezing.frozen(server) as threads:
            calls = [(begin(server, kind), kind) for kind in kinds]
            freezing.await_metric(server, "paligemma_requests_waiting", 100)
            server.process.terminate()
            wait_for(lambda: server.http("/readyz")[0] == 503)
            assert not server.serves()  # told first; then still accepting, for balancers that have not noticed
            late = []
            while not refused(call := begin(server, "unary")):
                late.append(call)
            threads.thaw()
            calls += [(call, "unary") for call in late if not was_refused(call)]  # refused() does not wait long
            assert len(calls) > 100, "the drain delay accepts"
            assert all(tokens_of(call, kind) == quiescence.GOLDEN["token_ids"] for call, kind in calls)
        assert server.process.wait(60) == 0
        lines = [line for line in server.log_text().splitlines() if " code=OK " in line]
        assert len(lines) == len(calls), "each call ended once"


def refused(call: grpc.Future) -> bool:
    """Whether a call is refused because the server leaves; one that is accepted waits for the engine."""
    ended = threading.Event()
    call.add_done_callback(lambda _: ended.set())
    return ended.wait(0.1) and was_refused(call)


def was_refused(call: grpc.Future) -> bool:
    """Whether it ended with the reason of a server that leaves; anything else that is no answer fails the test."""
    error = call.exception()
    return error is not None and serving.reason_of(error)[:2] == ("UNAVAILABLE", "SERVER_DRAINING")


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_f59_what_is_late_for_the_drain_timeout_is_told_to_go_elsewhere(kind: str) -> None:
    with serving.Server(serving.TINY, "--drain-timeout=1s") as server:
        with freezing.frozen(server) as threads:
            calls = [begin(server, kind) for _ in range(8)]
            freezing.await_metric(server, "paligemma_requests_waiting", 8)
            server.process.terminate()
            for call in calls:
                assert serving.reason_of(call.exception())[:2] == ("UNAVAILABLE", "SERVER_DRAINING")
            threads.await_end()
        assert server.process.wait(60) == 0


def test_f59_a_second_signal_does_not_wait_for_the_drain_timeout() -> None:
    with serving.Server(serving.TINY, "--drain-timeout=600s") as server:
        with freezing.frozen(server) as threads:
            calls = [begin(server, "unary") for _ in range(8)]
            freezing.await_metric(server, "paligemma_requests_waiting", 8)
            server.process.terminate()
            wait_for(lambda: "draining" in server.log_text())
            server.process.send_signal(signal.SIGTERM)
            assert all(call.exception().code() == grpc.StatusCode.UNAVAILABLE for call in calls)
            threads.await_end()
        assert server.process.wait(60) == 0


@pytest.mark.parametrize("thread", ["pg-delivery", "pg-preprocess", "pg-engine"])
def test_f59_a_drain_ends_in_time_whichever_thread_hangs(thread: str) -> None:
    with serving.Server(serving.TINY, "--drain-timeout=1s") as server:
        with freezing.frozen(server, thread) as threads:
            calls = [begin(server, kind) for kind in ["unary", "stream"] * 4]
            freezing.await_metric(server, "paligemma_requests_waiting", 8)
            began = time.monotonic()
            server.process.terminate()
            threads.await_end()
            assert server.process.wait(30) == 0
            assert time.monotonic() - began < 1 + 1, server.log_text()
            assert all(call.exception() is not None for call in calls)
        assert server.log_text().rstrip().endswith("drained; some calls had to be ended")


def run_server(*flags: str, model: Path = serving.TINY) -> tuple[int, list[str]]:
    """Starts a server that is expected to refuse: (exit code, lines of its output)."""
    command = [serving.SERVER, f"--model={model}", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", *flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    lines = (result.stdout + result.stderr).splitlines()
    assert not any(" ready in " in line for line in lines), lines
    return result.returncode, lines


@pytest.mark.parametrize("flag", ["listen", "http-listen"])
def test_f62_a_port_that_is_taken_is_one_clear_line(flag: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, lines = run_server(f"--{flag}={address}")
    assert code == 1
    assert f"--{flag}" in lines[-1] and address in lines[-1], lines


def test_f62_two_servers_never_share_a_port() -> None:
    with serving.Server() as server:
        code, lines = run_server(f"--listen={server.address}")
        assert (code, server.address in lines[-1]) == (1, True), lines
        assert quiescence.golden_tokens(server) == quiescence.GOLDEN["token_ids"]


CANNOT_BIND = {
    "an address of somebody else": ("--listen=192.0.2.1:8001", 1),
    "a name that is none": ("--listen=no.such.host.invalid:8001", 1),
    "no port": ("--listen=127.0.0.1", 2),
    "a port that is none": ("--http-listen=127.0.0.1:70000", 2),
}


@pytest.mark.parametrize("name", CANNOT_BIND)
def test_f62_an_address_that_cannot_be_listened_on_is_one_clear_line(name: str) -> None:
    flag, expected = CANNOT_BIND[name]
    code, lines = run_server(flag)
    assert code == expected
    assert flag.split("=")[0] in lines[-1], lines


def test_f62_a_certificate_that_is_not_there_or_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    flags = (f"--tls-cert={tmp_path}/cert.pem", f"--tls-key={tmp_path}/key.pem")
    code, lines = run_server(*flags)
    assert (code, "cert.pem" in lines[-1]) == (1, True), lines
    (tmp_path / "cert.pem").write_text("no certificate")
    code, lines = run_server(*flags)
    assert (code, "cert.pem" in lines[-1] or "key.pem" in lines[-1]) == (1, True), lines


def flip(name: str) -> Callable[[Path], None]:
    """Damage: one bit in the middle of a file."""

    def damage(bundle: Path) -> None:
        data = bytearray((bundle / name).read_bytes())
        data[len(data) // 2] ^= 1
        (bundle / name).write_bytes(data)

    return damage


def cut(name: str) -> Callable[[Path], None]:
    """Damage: half of a file."""

    def damage(bundle: Path) -> None:
        data = (bundle / name).read_bytes()
        (bundle / name).write_bytes(data[: len(data) // 2])

    return damage


def rewrite(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    """Damage that the hashes do not show: the manifest has those of the changed file."""

    def damage(bundle: Path) -> None:
        data = (bundle / name).read_bytes()
        assert data.count(old) > 0 and len(old) == len(new)
        data = data.replace(old, new)
        (bundle / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        edit(lambda manifest: manifest["files"][name].update(sha256=digest, chunks=[digest]))(bundle)

    return damage


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Damage: a manifest that says something else than its files."""

    def damage(bundle: Path) -> None:
        manifest = json.loads((bundle / "manifest.json").read_text())
        change(manifest)
        (bundle / "manifest.json").write_text(json.dumps(manifest))

    return damage


DAMAGE = {
    "no manifest": (lambda bundle: (bundle / "manifest.json").unlink(), "manifest.json"),
    "half a manifest": (cut("manifest.json"), "manifest.json"),
    "a newer format": (edit(lambda manifest: manifest.update(format=99)), "format"),
    "a missing file": (lambda bundle: (bundle / "vision.pt").unlink(), "vision.pt"),
    "a truncated file": (cut("vision.pt"), "vision.pt"),
    "a flipped bit in the decoder": (flip("decoder.pt"), "decoder.pt"),
    "a flipped bit in the tokenizer": (flip("tokenizer.model"), "tokenizer.model"),
    "a flipped bit in the mask decoder": (flip("mask_decoder.pt"), "mask_decoder.pt"),
    "operators with other arguments": (rewrite("decoder.pt", b"int window", b"int wandow"), "decoder.pt"),
    "another number of heads": (edit(lambda manifest: manifest["architecture"].update(heads=8)), "heads"),
    "another vocabulary": (edit(lambda manifest: manifest["tokens"].update(vocab=1663)), "vocab"),
    "locations elsewhere": (edit(lambda manifest: manifest["tokens"].update(loc_first=500)), "tokenizer.model"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_f63_a_bundle_that_contradicts_its_manifest_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    damage, named = DAMAGE[name]
    bundle = tmp_path / "bundle"
    shutil.copytree(serving.TINY, bundle)
    damage(bundle)
    code, lines = run_server(model=bundle)
    assert code == 1
    assert named in lines[-1], lines


def test_f65_while_the_model_is_loaded_calls_are_told_when_to_come_again(tmp_path: Path) -> None:
    server = serving.Server(loads_for_minutes(tmp_path / "bundle"))
    try:
        wait_for(lambda: probe_answers(server))
        assert server.http("/readyz")[0] == 503
        assert not server.serves()
        with pytest.raises(grpc.RpcError) as caught:
            server.stub.Generate(GOLDEN, timeout=60, wait_for_ready=True)
        code, reason, metadata = serving.reason_of(caught.value)
        assert (code, reason) == ("UNAVAILABLE", "MODEL_LOADING")
        assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == metadata["retry_after_ms"] != "0"
        service = serving.api("model_service_pb2")
        model = server.stub.ListModels(service.ListModelsRequest(), timeout=60).models[0]
        assert model.state == service.MODEL_STATE_LOADING
        assert server.stop() == 0
    finally:
        server.process.kill()


def test_f66_every_mistake_in_the_settings_is_listed_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max-runing": 3, "max-queued": "many", /* too */ "drain-delay": "5 days"}')
    config = f"--config={tmp_path}/config.json"
    code, lines = run_server(config, "--kv-block-size=0", "--default-deadline=10m", "--nope")
    assert code == 2
    for mistake in ("max-runing", "max-queued", "drain-delay", "kv-block-size", "--default-deadline", "--nope"):
        assert sum(mistake in line for line in lines) == 1, (mistake, lines)


def test_f66_validate_only_prints_the_settings_and_does_not_start() -> None:
    code, lines = run_server("--validate-only", "--max-queued=7")
    assert code == 0
    assert json.loads("\n".join(line for line in lines if not line.startswith("20")))["max-queued"] == 7
    code, lines = run_server("--validate-only", model=Path("/nowhere"))
    assert (code, "/nowhere" in lines[-1]) == (1, True), lines
