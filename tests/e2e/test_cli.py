# SPDX-License-Identifier: Apache-2.0
"""The command line client against the real server: commands, forms of output, exit codes, TLS, the load test."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import serving
from PIL import Image
from serving import TINY, pg, v1
from test_methods import first
from test_python_client import text_of

ANSWERED, FAILED, USAGE = 0, 1, 2


def run(
    *arguments: object, server: serving.Server | str | None = None, **keywords: object
) -> subprocess.CompletedProcess:
    """Runs the client to its end; `server` reaches it through the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PALIGEMMA_")}
    if server is not None:
        environment["PALIGEMMA_SERVER"] = server if isinstance(server, str) else server.address
    command = [str(serving.CLIENT), *map(str, arguments)]
    keywords.setdefault("text", True)
    return subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False, **keywords)


def objects(result: subprocess.CompletedProcess) -> list[dict]:
    """The JSON objects of the output, one a line."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def words_of(case: dict) -> list[str]:
    """The command line of a golden case's method."""
    prompt, limit = case["prompt"], f"--max-tokens={case['max_tokens']}"
    path = str(TINY / "goldens" / case["image"])
    match case["method"]:
        case "caption":
            word, language = prompt.split(" ")
            length = "long" if word == "describe" else "short"
            return ["caption", path, f"--language={language}", f"--length={length}", limit]
        case "answer":
            _, language, question = prompt.split(" ", 2)
            return ["answer", path, question, f"--language={language}", limit]
        case "detect" | "segment" as method:
            labels = prompt.removeprefix(method + " ").split(" ; ")
            return [method, path, *(f"--label={label}" for label in labels), limit]
        case "read":
            return ["read", path, limit]
    return ["generate", path, prompt, limit]


METHODS = ["caption", "answer", "detect", "segment", "read", "generate"]


@pytest.mark.parametrize("method", METHODS)
def test_each_command_answers_as_the_reference_does(server: serving.Server, method: str) -> None:
    case = first(method)
    result = run(*words_of(case), "--json", server=server)
    assert result.returncode == ANSWERED, result.stderr
    (answer,) = objects(result)
    assert answer["image"].endswith(case["image"])
    assert answer["response"]["info"]["raw_text"] == case["text"]


@pytest.mark.parametrize("method", ["caption", "answer", "read"])
def test_text_is_the_same_whole_and_streamed(server: serving.Server, method: str) -> None:
    case = first(method)
    whole = run(*words_of(case), server=server, text=False)
    streamed = run(*words_of(case), "--stream", server=server, text=False)
    expected = text_of(server.client.send(serving.generate_request(case)))
    assert whole.returncode == streamed.returncode == ANSWERED
    assert whole.stdout == streamed.stdout == expected.encode() + b"\n"


def test_a_streamed_json_answer_ends_with_the_response(server: serving.Server) -> None:
    case = first("caption")
    *events, last = objects(run(*words_of(case), "--stream", "--json", server=server))
    text = "".join(line["event"]["delta"].get("text", "") for line in events)
    assert text == last["response"]["caption"]


def test_a_sampled_answer_repeats_with_its_seed(server: serving.Server) -> None:
    picture = TINY / "goldens" / first("caption")["image"]
    flags = ["--temperature=1", "--max-tokens=8", "--json"]
    texts = [
        objects(run("caption", picture, *flags, f"--seed={seed}", server=server))[0]["response"]["caption"]
        for seed in (7, 7, 8)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_standard_input_is_a_picture(server: serving.Server) -> None:
    case = first("caption")
    words = words_of(case)
    words[1] = "-"
    result = run(*words, "--json", server=server, text=False, input=serving.image_bytes(case))
    assert json.loads(result.stdout)["response"]["info"]["raw_text"] == case["text"]


def test_a_directory_is_a_call_for_each_picture_and_a_bad_one_fails_alone(
    server: serving.Server, tmp_path: Path
) -> None:
    case = first("caption")
    for name in ("a.png", "b.png"):
        shutil.copy(TINY / "goldens" / case["image"], tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    words = words_of(case)
    words[1] = str(tmp_path)
    result = run(*words, "--json", server=server)
    assert result.returncode == FAILED
    by_name = {Path(line["image"]).name: line for line in objects(result)}
    assert set(by_name) == {"a.png", "b.png", "broken.png"}
    assert by_name["a.png"]["response"]["info"]["raw_text"] == case["text"]
    error = by_name["broken.png"]["error"]
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "IMAGE_FORMAT_UNSUPPORTED")
    assert error["message"]


def test_together_is_one_request_of_several_pictures(server: serving.Server) -> None:
    picture = TINY / "goldens" / first("caption")["image"]
    (line,) = objects(run("caption", picture, picture, "--together", "--json", server=server))
    limit = server.client.models()[0].limits.max_image_count
    if limit >= 2:
        assert line["response"]["info"]["usage"]["image_count"] == 2
    else:
        assert line["error"]["reason"] == "FIELD_INVALID"
        assert line["error"]["metadata"]["limit"] == str(limit)


def test_an_overlay_has_the_size_of_the_picture(server: serving.Server, tmp_path: Path) -> None:
    case = first("detect")
    result = run(*words_of(case), f"--overlay={tmp_path / 'out.png'}", server=server)
    assert result.returncode == ANSWERED, result.stderr
    with Image.open(tmp_path / "out.png") as drawn, Image.open(TINY / "goldens" / case["image"]) as picture:
        assert drawn.size == picture.size


def test_masks_are_written_one_file_an_object(server: serving.Server, tmp_path: Path) -> None:
    case = first("segment")
    (line,) = objects(run(*words_of(case), f"--masks={tmp_path / 'masks'}", "--json", server=server))
    found = line["response"].get("objects", [])
    assert len(list((tmp_path / "masks").glob("*.png"))) == len(found)
    for number, thing in enumerate(found, 1):
        (path,) = (tmp_path / "masks").glob(f"{Path(case['image']).stem}-{number}-*.png")
        with Image.open(path) as mask:
            box = thing["pixel_box"]
            assert mask.size == (box["x_max"] - box.get("x_min", 0), box["y_max"] - box.get("y_min", 0))


def test_models_and_health(server: serving.Server) -> None:
    (model,) = objects(run("models", "--json", server=server))
    assert model["name"] == server.client.models()[0].name
    assert model["name"] in run("models", server=server).stdout
    health = run("health", server=server)
    assert (health.returncode, health.stdout) == (ANSWERED, "SERVING\n")
    assert objects(run("health", "--json", server=server)) == [{"status": "SERVING"}]


def test_a_model_that_is_not_there_is_not_found(server: serving.Server) -> None:
    picture = TINY / "goldens" / first("caption")["image"]
    result = run("caption", picture, "--model=other", "--json", server=server)
    assert result.returncode == FAILED
    assert objects(result)[0]["error"]["reason"] == "MODEL_NOT_FOUND"


def test_nobody_listens() -> None:
    address = f"127.0.0.1:{serving.free_port()}"
    assert run("health", f"--server={address}", "--timeout=5s").returncode == FAILED
    result = run("caption", TINY / "goldens" / first("caption")["image"], "--json", server=address)
    assert result.returncode == FAILED
    assert objects(result)[0]["error"]["code"] == "UNAVAILABLE"


def test_health_waits_for_a_server_that_starts_and_not_longer_than_asked() -> None:
    address = f"127.0.0.1:{serving.free_port()}"
    started = time.monotonic()
    assert run("health", "--wait=1s", server=address).returncode == FAILED
    assert 0.5 < time.monotonic() - started < 30
    command = [str(serving.CLIENT), f"--server={address}", "health", "--wait=60s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        with serving.Server(TINY, f"--listen={address}"):
            assert waiting.wait(timeout=60) == ANSWERED
        assert waiting.stdout is not None and waiting.stdout.read() == "SERVING\n"


def test_a_wrong_port_is_named_for_what_it_is(server: serving.Server, tmp_path: Path) -> None:
    management = run("health", server=f"127.0.0.1:{server.http_port}")
    assert management.returncode == FAILED and "management port" in management.stderr
    roots = tmp_path / "roots.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=roots", "-keyout", tmp_path / "key.pem", "-out", roots],
        check=True, capture_output=True, timeout=60,
    )
    plain = run("health", f"--tls-ca={roots}", server=server)
    assert plain.returncode == FAILED and "does not speak TLS" in plain.stderr
    nobody = run("health", server=f"127.0.0.1:{serving.free_port()}")
    assert nobody.returncode == FAILED and "Nothing listens at" in nobody.stderr
    for result in (management, plain, nobody):
        assert len(result.stderr.splitlines()) == 1, result.stderr


def test_a_flag_wins_over_the_environment(server: serving.Server) -> None:
    nobody = f"127.0.0.1:{serving.free_port()}"
    assert run("health", f"--server={server.address}", server=nobody).returncode == ANSWERED
    assert run(f"--server={server.address}", "health", server=nobody).returncode == ANSWERED


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["paint"],
        ["caption"],
        ["caption", "x.png", "--no-such-flag"],
        ["caption", "x.png", "--length=medium"],
        ["caption", "x.png", "--timeout=soon"],
        ["answer", "x.png"],
        ["detect", "x.png"],
        ["caption", "x.png", "--tls-ca=no/such.pem"],
        ["caption", "x.png", "--server=models.example:8001", "--token=secret"],
        ["bench", "x.png", "--mix=paint"],
        ["bench", "x.png", "--rate=5", "--concurrency=2"],
        ["bench", "x.png", "--rate=0"],
        ["bench", "no/such/folder"],
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_usage_errors_exit_with_two_and_say_something(words: list[str]) -> None:
    result = run(*words)
    assert result.returncode == USAGE
    assert result.stdout == "" and result.stderr


COMMON = "--server --timeout --json --tls --tls-ca --tls-cert --tls-key --token --token-file"
OF_TASKS = "--stream --overlay --model --max-tokens --temperature --seed --together"
FLAGS = {
    "caption": f"{COMMON} {OF_TASKS} --length --language",
    "answer": f"{COMMON} {OF_TASKS} --language",
    "detect": f"{COMMON} {OF_TASKS} --label",
    "segment": f"{COMMON} {OF_TASKS} --label --masks",
    "read": f"{COMMON} {OF_TASKS}",
    "generate": f"{COMMON} {OF_TASKS} --masks",
    "models": COMMON,
    "health": COMMON,
    "bench": f"{COMMON} --mix --concurrency --rate --duration --warmup --runs --seed --model",
}


@pytest.mark.parametrize("command", FLAGS)
def test_help_names_every_flag(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == ANSWERED and result.stderr == ""
    assert set(FLAGS[command].split()) <= set(re.findall(r"^  (--[a-z-]+)", result.stdout, re.MULTILINE))


def test_help_and_version() -> None:
    result = run("--help")
    assert result.returncode == ANSWERED
    assert set(re.findall(r"^  ([a-z]+)  ", result.stdout, re.MULTILINE)) == set(FLAGS)
    version = (serving.ROOT / "VERSION").read_text().strip()
    assert run("--version").stdout.startswith(f"paligemma {version} (")


def test_tls_with_certificates_of_both_sides(tmp_path: Path) -> None:
    for name in ("server", "client"):
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem",
            ],
            check=True, capture_output=True, timeout=60,
        )
    ours = [f"--tls-ca={tmp_path / 'server.pem'}"]
    mutual = [*ours, f"--tls-cert={tmp_path / 'client.pem'}", f"--tls-key={tmp_path / 'client.key'}"]
    flags = [f"--tls-{what}={tmp_path / name}" for what, name in
             (("cert", "server.pem"), ("key", "server.key"), ("client-ca", "client.pem"))]
    with serving.Server(TINY, *flags) as server:
        assert run("models", *mutual, "--token=secret", "--timeout=10s", server=server).returncode == ANSWERED
        assert run("models", *ours, "--timeout=3s", server=server).returncode == FAILED, "no certificate"
        plain = run("models", "--timeout=3s", server=server)
        assert plain.returncode == FAILED and "speaks TLS. Use --tls" in plain.stderr
        untrusting = run("models", "--tls", "--timeout=3s", server=server)
        assert untrusting.returncode == FAILED and "--tls-ca=FILE" in untrusting.stderr
        assert len(untrusting.stderr.splitlines()) == 1, "no lines of gRPC's own"
        credentials = serving.grpc.ssl_channel_credentials(
            *((tmp_path / name).read_bytes() for name in ("server.pem", "client.key", "client.pem"))
        )
        with pg.Client(server.address, credentials=credentials, token="secret") as client:
            assert client.models()[0].state == v1.MODEL_STATE_READY


def test_bench_reports_in_the_form_of_every_benchmark(server: serving.Server) -> None:
    picture = TINY / "goldens" / first("caption")["image"]
    result = run(
        "bench", picture, "--mix=caption,answer:stream,detect,read:stream", "--duration=1s", "--warmup=200ms",
        "--max-tokens=4", "--concurrency=4", "--json", "--token", "secret", server=server,
    )
    assert result.returncode == ANSWERED, result.stderr
    (report,) = objects(result)
    assert report["benchmark"] == "paligemma bench"
    assert set(report) == {"benchmark", "machine", "commit", "flags", "server", "rows", "errors"}
    assert set(report["machine"]) == {"cpu", "cores", "isa", "memory_gb", "gpu"}
    percents = ("p50", "p90", "p95", "p99", "p99.9")
    latencies = ("latency_from_schedule", "latency_from_send", "time_to_first_token")
    assert [(row["name"], row["unit"]) for row in report["rows"]] == [
        ("requests_due", "requests"), ("requests_answered", "requests"), ("requests_failed", "requests"),
        ("offered", "requests/s"), ("throughput", "requests/s"), ("images", "images/s"), ("tokens", "tokens/s"),
        ("image_cache_hits", "%"), ("latest_send", "ms"),
        *((f"{name}_{percent}", "ms") for name in latencies for percent in percents),
    ]
    for row in report["rows"]:
        assert set(row) == {"name", "unit", "ours", "reference", "reference_name", "ratio", "note"}
        assert row["reference"] is row["reference_name"] is row["ratio"] is None
        assert row["note"] if row["ours"] is None else row["ours"]["min"] <= row["ours"]["median"] <= row["ours"]["max"]
    assert report["commit"] and "--max-tokens=4" in report["flags"] and "secret" not in result.stdout
    assert server.client.models()[0].name in report["server"]
    rows = {row["name"]: row for row in report["rows"]}
    assert rows["requests_answered"]["ours"]["median"] > 0
    assert rows["requests_failed"]["ours"]["median"] == 0
    assert rows["tokens"]["ours"]["median"] > 0
    assert rows["latency_from_send_p99.9"]["ours"] is None
    assert "needs 10000 answers" in rows["latency_from_send_p99.9"]["note"]
    assert report["errors"] == []


def test_bench_counts_errors_by_code_and_reason(server: serving.Server, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    result = run("bench", tmp_path, "--rate=40", "--duration=500ms", "--warmup=100ms", "--json", server=server)
    assert result.returncode == FAILED
    (error,) = objects(result)[0]["errors"]
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "IMAGE_FORMAT_UNSUPPORTED")
    assert error["count"] > 0
