# SPDX-License-Identifier: Apache-2.0
"""Does a real Kubernetes API server take the manifests? `scripts/deploy-check --api-server` runs this.

etcd and kube-apiserver alone: objects are defaulted, validated and admitted as in a cluster, but nothing runs them.
"""

from __future__ import annotations

import copy
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import ROOT, one

RENDERED = sorted((ROOT / "build/deploy-check").glob("*.yaml"))
OVERLAYS = [path for path in RENDERED if path.stem in ("cpu", "gpu", "full") or path.stem.startswith("with-")]
CRDS = os.environ.get("PALIGEMMA_TEST_CRDS", "")
TOKEN = "only-on-this-machine"
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "paligemma", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}


def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """An API server with its store, both on the loopback interface."""

    def __init__(self, folder: Path) -> None:
        peer, client, self.port = free_port(), free_port(), free_port()
        key = folder / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (folder / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
        self._log = open(folder / "log", "w+")  # noqa: SIM115 (lives as long as the processes)
        self._processes = [
            self._start(
                "etcd", f"--data-dir={folder / 'etcd'}", f"--listen-client-urls=http://127.0.0.1:{client}",
                f"--advertise-client-urls=http://127.0.0.1:{client}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
            ),
            self._start(
                "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", f"--cert-dir={folder / 'certificates'}",
                "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self.port}",
                "--endpoint-reconciler-type=none", "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24", f"--token-auth-file={folder / 'tokens.csv'}",
                "--service-account-issuer=https://kubernetes.invalid", f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
            ),
        ]  # fmt: skip

    def _start(self, *command: str) -> subprocess.Popen:
        return subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def kubectl(self, *arguments: str, given: Any = None) -> subprocess.CompletedProcess:
        """Runs kubectl as the administrator; `given` goes to its standard input as YAML."""
        text = given if isinstance(given, str) else yaml.safe_dump(given)
        flags = [f"--server=https://127.0.0.1:{self.port}", f"--token={TOKEN}", "--insecure-skip-tls-verify"]
        command = ["kubectl", "--kubeconfig=/dev/null", *flags, "--namespace=paligemma", *arguments]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)

    def apply(self, given: Any, *flags: str) -> subprocess.CompletedProcess:
        """As `kubectl apply --server-side`, a misspelt field an error."""
        return self.kubectl("apply", "--server-side", "--validate=strict", *flags, "--filename=-", given=given)

    def wait_ready(self) -> None:
        """Until the API server says so."""
        until = time.monotonic() + 180
        while self.kubectl("get", "--raw=/readyz").returncode != 0:
            self._log.flush()
            assert time.monotonic() < until, Path(self._log.name).read_text()[-3000:]
            time.sleep(0.5)

    def stop(self) -> None:
        """Ends both processes."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait(60)
        self._log.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with the monitoring operator's resources and a namespace that enforces the restricted profile."""
    assert shutil.which("etcd") and shutil.which("kube-apiserver")
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        running.wait_ready()
        for path in CRDS.split():
            created = running.apply(Path(path).read_text())
            assert created.returncode == 0, created.stderr
        until = time.monotonic() + 60
        while running.kubectl("get", "podmonitors,prometheusrules").returncode != 0:
            assert time.monotonic() < until, "the custom resources are not served"
            time.sleep(0.5)
        assert running.apply(NAMESPACE).returncode == 0
        yield running
    finally:
        running.stop()


def pod_of(path: Path) -> dict[str, Any]:
    """The Deployment's pod, by itself."""
    template = one(list(yaml.safe_load_all(path.read_text())), "Deployment")["spec"]["template"]
    metadata = {"name": "trial", "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_every_overlay_is_applied_and_its_pod_meets_the_restricted_profile(cluster: Cluster, path: Path) -> None:
    """The pod is admitted as a trial: with no node to run it, the Deployment makes none."""
    applied = cluster.apply(path.read_text(), "--force-conflicts")
    assert applied.returncode == 0 and "Warning" not in applied.stderr, applied.stderr
    admitted = cluster.kubectl("create", "--dry-run=server", "--validate=strict", "--filename=-", given=pod_of(path))
    assert admitted.returncode == 0, admitted.stderr


def test_the_checks_can_fail(cluster: Cluster) -> None:
    """A misspelt field and a pod that wants more rights are refused."""
    text = next(path for path in OVERLAYS if path.stem == "cpu").read_text()
    assert "enableServiceLink" in cluster.apply(text.replace("enableServiceLinks", "enableServiceLink")).stderr
    pod = pod_of(next(path for path in OVERLAYS if path.stem == "cpu"))
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    refused = cluster.kubectl("create", "--dry-run=server", "--filename=-", given=pod)
    assert refused.returncode != 0 and "PodSecurity" in refused.stderr
