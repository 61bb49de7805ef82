# SPDX-License-Identifier: Apache-2.0
"""Does the image do what the pod definition counts on? scripts/image-check runs this with a real image and podman.

The container gets the pod's user, arguments, settings, mounts and restrictions. Unlike the pod's, its network is the
host's, so the environment sets the addresses.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from manifests import DEPLOY, ROOT, objects, one, seconds, server_config

sys.path.insert(0, str(ROOT / "clients/python"))
import paligemma_serving as pg  # noqa: E402
from paligemma_serving import requests  # noqa: E402

IMAGE = f"localhost/paligemma-serving:{(ROOT / 'VERSION').read_text().strip()}"
MODEL = ROOT / "models/tiny-a"
PICTURE = ROOT / "tests/data/cat.jpg"
POD = one(objects(DEPLOY / "base"), "Deployment")["spec"]["template"]["spec"]
SPEC = POD["containers"][0]
CONFIG = server_config((DEPLOY / "base/config.json").read_text())
CLIENT = "/usr/local/bin/paligemma"
MAX_MEGABYTES = 600
RESTRICTIONS = (
    "--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=host",
    f"--user={POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}",
)  # fmt: skip


def podman(*arguments: str, code: int = 0) -> str:
    """What podman prints on standard output; fails when it ends with another code."""
    result = subprocess.run([ROOT / "docker/engine", "podman", *arguments], capture_output=True, text=True, timeout=300)
    assert result.returncode == code, result.stderr[-2000:]
    return result.stdout


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: Callable[[], bool], limit: float, failure: str) -> None:
    """Polls until `what` holds."""
    until = time.monotonic() + limit
    while not what():
        assert time.monotonic() < until, failure
        time.sleep(0.1)


class Container:
    """A server in a container."""

    def __init__(self) -> None:
        self.address, self.http_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        mounts = {"config": DEPLOY / "base", "models": MODEL}
        volumes = [f"--volume={mounts[mount['name']]}:{mount['mountPath']}:ro" for mount in SPEC["volumeMounts"]]
        variables = [
            f"--env=PALIGEMMA_LISTEN={self.address}", f"--env=PALIGEMMA_HTTP_LISTEN={self.http_address}",
            "--env=PALIGEMMA_THREADS=2", "--env=PALIGEMMA_PORT=tcp://10.0.0.1:8001",
        ]  # fmt: skip
        self.id = podman("run", "--detach", *RESTRICTIONS, *volumes, *variables, IMAGE, *SPEC["args"]).strip()
        self._channel = grpc.insecure_channel(self.address)
        self._check = self._channel.unary_unary("/grpc.health.v1.Health/Check", lambda data: data, lambda data: data)

    def probe(self, name: str) -> bool:
        """What Kubernetes' gRPC probe does: SERVING is the only good answer."""
        service = SPEC[name]["grpc"]["service"].encode()
        try:
            return self._check(b"\x0a" + bytes([len(service)]) + service, timeout=2) == b"\x08\x01"
        except grpc.RpcError:
            return False

    def state(self) -> dict[str, Any]:
        """Running or how it ended."""
        return json.loads(podman("inspect", self.id))[0]["State"]

    def logs(self) -> str:
        """What the server wrote to standard error."""
        command = [ROOT / "docker/engine", "podman", "logs", self.id]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr

    def wait_ready(self) -> None:
        """Until the start-up probe is content."""
        wait_for(lambda: self.probe("startupProbe"), 120, "the server did not become ready")

    def remove(self) -> None:
        """Whatever state it is in."""
        self._channel.close()
        podman("rm", "--force", "--time=0", self.id)


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    """A server that is ready."""
    running = Container()
    try:
        running.wait_ready()
        yield running
    finally:
        running.remove()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tarfile.TarInfo]:
    """All that the image holds."""
    archive = tmp_path_factory.mktemp("image") / "root.tar"
    name = podman("create", IMAGE).strip()
    try:
        podman("export", f"--output={archive}", name)
    finally:
        podman("rm", name)
    with tarfile.open(archive) as tar:
        return tar.getmembers()


def test_the_image_holds_two_programs_and_libraries(files: list[tarfile.TarInfo]) -> None:
    """No shell, interpreter, compiler or package manager; nothing with another's rights."""
    regular = [file for file in files if file.isfile()]
    programs = {file.name for file in regular if file.mode & 0o111 and ".so" not in Path(file.name).name}
    assert programs == {"usr/local/bin/paligemma-server", "usr/local/bin/paligemma"}
    assert not [file.name for file in files if file.mode & 0o6000]
    assert not [file.name for file in regular if file.name.endswith((".py", ".a", ".h"))]


def test_the_image_is_small_and_says_what_it_is() -> None:
    """Most of it is LibTorch."""
    image = json.loads(podman("image", "inspect", IMAGE))[0]
    assert image["Size"] < MAX_MEGABYTES * 1_000_000
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image["Labels"].items()}
    assert labels["version"] == IMAGE.split(":")[-1] and labels["licenses"] == "Apache-2.0" and labels["revision"]
    assert image["Config"]["User"] == f"{POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}"
    assert image["Config"]["StopSignal"] == "SIGTERM"


def test_licences_and_packages_are_listed(files: list[tarfile.TarInfo]) -> None:
    """Each package that a scanner finds brings its licence."""
    names = {file.name for file in files}
    packages = [Path(name).name for name in names if name.startswith("var/lib/dpkg/status.d/")]
    assert {"libc6", "libgrpc++1.51", "libssl3"} <= set(packages)
    assert all(f"usr/share/doc/{package}/copyright" in names for package in packages)
    assert "usr/share/doc/torch/LICENSE" in names


def test_a_wrong_setting_ends_the_container_with_the_code_of_usage() -> None:
    """So that a crash loop can be told from a fault."""
    podman("run", "--rm", *RESTRICTIONS, IMAGE, "--model=/nowhere", "--max-queued=none", code=2)


def test_every_probe_of_the_pod_is_content(container: Container) -> None:
    """Although a Service's variable is in the environment."""
    assert all(container.probe(name) for name in ("startupProbe", "readinessProbe", "livenessProbe"))
    assert "PALIGEMMA_PORT means nothing here" in container.logs()


def test_the_server_has_no_rights(container: Container) -> None:
    """As the kernel sees the process."""
    process = Path("/proc") / str(container.state()["Pid"])
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["65532"] * 4 and status["Gid"].split() == ["65532"] * 4
    assert status["NoNewPrivs"] == "1"
    assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == [0] * 5
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    options = {fields[4]: fields[5].split(",") for fields in mounts}
    assert all("ro" in options[path] for path in ("/", "/mnt/models", "/etc/paligemma"))


def test_the_bundled_client_gets_the_golden_tokens(container: Container) -> None:
    """Token for token what the reference computes, asked from within the same image."""
    ask = next(ask for ask in json.loads((MODEL / "demo.json").read_text())["asks"] if "token_ids" in ask)
    arguments = [argument.replace(str(PICTURE.relative_to(ROOT)), "/data/cat.jpg") for argument in ask["arguments"]]
    output = podman(
        "run", "--rm", *RESTRICTIONS, f"--volume={PICTURE.parent}:/data:ro", f"--entrypoint={CLIENT}", IMAGE,
        *arguments, "--json", f"--server={container.address}",
    )  # fmt: skip
    (candidate,) = json.loads(output)["response"]["candidates"]
    assert candidate.get("tokenIds", candidate.get("token_ids")) == ask["token_ids"]
    assert podman("exec", container.id, CLIENT, "health", f"--server={container.address}").strip() == "SERVING"


REQUEST = requests.generate([PICTURE], "where is the cat?", config={"max_output_tokens": 8})


class Load:
    """Clients that call without pause, one half unary, the other streaming, and never try again."""

    def __init__(self, address: str, num_clients: int = 8) -> None:
        self.stop = threading.Event()
        self.failures: list[str] = []
        self.ended: list[float] = []
        self.started: list[float] = []
        self._threads = [threading.Thread(target=self._run, args=(address, i % 2 == 0)) for i in range(num_clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, address: str, streaming: bool) -> None:
        with pg.Client(address, max_attempts=1) as client:
            while not self.stop.is_set():
                self.started.append(time.monotonic())
                try:
                    client.stream(REQUEST).result() if streaming else client.send(REQUEST)
                except pg.PaliGemmaError as error:
                    self.failures.append(str(error))
                    return
                self.ended.append(time.monotonic())

    def join(self) -> None:
        """Until the last call has ended."""
        self.stop.set()
        for thread in self._threads:
            thread.join()


class Prometheus:
    """A real Prometheus that scrapes one server, with the labels that the operator would add."""

    def __init__(self, folder: Path, target: str) -> None:
        labels = {"namespace": "ns", "pod": "a"}
        job = {
            "job_name": "ns/paligemma",
            "scrape_interval": "1s",
            "static_configs": [{"targets": [target], "labels": labels}],
        }
        (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))
        self.address = f"127.0.0.1:{free_port()}"
        command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        self._log = open(folder / "log", "w")  # noqa: SIM115 (lives as long as the process)
        self._process = subprocess.Popen([*command, f"--web.listen-address={self.address}"], stderr=self._log)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now; none while Prometheus starts."""
        url = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        except OSError:
            return []

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


def test_prometheus_answers_every_query_of_the_dashboard(container: Container, tmp_path: Path) -> None:
    """After a few scrapes under load: each panel has data, but those that count what did not happen."""
    dashboard = json.loads((DEPLOY / "components/monitoring/dashboard.json").read_text())
    queries = {
        target["expr"].replace("$namespace", "ns").replace("$__rate_interval", "10s"): panel["title"]
        for panel in dashboard["panels"] for target in panel.get("targets", [])
    }  # fmt: skip
    prometheus = Prometheus(tmp_path, container.http_address)
    load = Load(container.address, 4)
    try:
        wait_for(lambda: bool(prometheus.query("rate(paligemma_output_tokens_total[10s]) > 0")), 60, "no scrape")
        wait_for(lambda: all(map(prometheus.query, queries)), 60, "")
    except AssertionError:
        empty = [title for query, title in queries.items() if not prometheus.query(query)]
        raise AssertionError(f"no data in {empty}") from None
    finally:
        load.join()
        prometheus.stop()
    assert load.failures == []


def test_sigterm_under_load_fails_no_call() -> None:
    """Not ready at once, still taking calls while endpoints spread, then drained: exit code 0."""
    container = Container()
    try:
        container.wait_ready()
        load = Load(container.address)
        try:
            wait_for(lambda: len(load.ended) >= 16, 60, f"no load: {load.failures}")
            stopper = threading.Thread(
                target=podman, args=("stop", f"--time={POD['terminationGracePeriodSeconds']}", container.id)
            )
            stopper.start()
            readiness = SPEC["readinessProbe"]
            wait_for(lambda: not container.probe("readinessProbe"), 30, "still ready after SIGTERM")
            unready = time.monotonic()
            # Endpoints are gone when the probe has failed often enough; clients call on until then.
            time.sleep(readiness["periodSeconds"] * readiness["failureThreshold"] + readiness["timeoutSeconds"])
            assert container.probe("livenessProbe")
        finally:
            load.join()
        late = [moment for moment in load.started if moment > unready]
        stopper.join()
        print(f"{len(load.ended)} of {len(load.started)} calls answered, {len(late)} of them begun after SIGTERM")
        assert load.failures == []
        assert late and len(load.ended) == len(load.started)
        state = container.state()
        assert (state["Status"], state["ExitCode"]) == ("exited", 0)
        assert seconds(CONFIG["drain-delay"]) > 0 and "drained" in container.logs()
    finally:
        container.remove()
