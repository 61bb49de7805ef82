# SPDX-License-Identifier: Apache-2.0
"""Do the manifests agree with the server's settings, ports, health services and drain?"""

from __future__ import annotations

import re

import pytest
import yaml
from manifests import DEPLOY, ROOT, config_keys, objects, one, seconds, server_config

BASE = objects(DEPLOY / "base")
DEPLOYMENT = one(BASE, "Deployment")
POD = DEPLOYMENT["spec"]["template"]["spec"]
SERVER = POD["containers"][0]
CONFIG = server_config((DEPLOY / "base/config.json").read_text())
SETTINGS = config_keys((ROOT / "server/config/server_config.h").read_text())
GRPC_SERVER = (ROOT / "server/services/grpc_server.cc").read_text()
GRPC_SERVER_HEADER = (ROOT / "server/services/grpc_server.h").read_text()
LABELS = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def port_of(address: str) -> int:
    """The port of HOST:PORT."""
    return int(address.rsplit(":", 1)[1])


def test_the_config_file_holds_settings_alone() -> None:
    """The server refuses to start with an unknown one."""
    assert SETTINGS, "server_config.h is not written as this test reads it"
    assert set(CONFIG) <= SETTINGS


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_flag_and_variable_is_a_setting(path) -> None:
    """Also those in patches."""
    text = path.read_text()
    flags = set(re.findall(r"--([a-z0-9-]+)=", text)) - {"config"}
    variables = {name.lower().replace("_", "-") for name in re.findall(r"name: PALIGEMMA_([A-Z_]+)", text)}
    assert flags | variables <= SETTINGS


def test_ports_are_those_the_server_listens_on() -> None:
    """The Services and the policy name them."""
    ports = {port["name"]: port["containerPort"] for port in SERVER["ports"]}
    assert ports == {"grpc": port_of(CONFIG["listen"]), "metrics": port_of(CONFIG["http-listen"])}
    services = [item for item in BASE if item["kind"] == "Service"]
    assert [port["targetPort"] for service in services for port in service["spec"]["ports"]] == ["grpc", "grpc"]
    policy = one(BASE, "NetworkPolicy")["spec"]
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == set(ports)


def test_probes_ask_health_services_that_the_server_has() -> None:
    """Readiness and start-up depend on the model, liveness does not."""
    known = set(re.findall(r'"(readiness|liveness)"', GRPC_SERVER))
    asked = {probe: SERVER[probe]["grpc"]["service"] for probe in PROBES}
    assert asked == {"startupProbe": "readiness", "readinessProbe": "readiness", "livenessProbe": "liveness"}
    assert set(asked.values()) == known
    assert {SERVER[probe]["grpc"]["port"] for probe in PROBES} == {port_of(CONFIG["listen"])}


def test_start_up_has_time_to_load_the_largest_model() -> None:
    """A 28B bfloat16 bundle, 56 GB at 50 MB/s; the rollout waits longer than that."""
    budget = SERVER["startupProbe"]["periodSeconds"] * SERVER["startupProbe"]["failureThreshold"]
    assert budget >= 56_000 / 50
    assert DEPLOYMENT["spec"]["progressDeadlineSeconds"] > budget


def test_the_drain_is_long_enough_for_every_call_and_kubernetes_waits_for_it() -> None:
    """No call outlives its deadline, the delay outlasts the readiness probe, the grace the server's worst case."""
    delay, timeout = seconds(CONFIG["drain-delay"]), seconds(CONFIG["drain-timeout"])
    cancel_grace = int(re.search(r"kCancelGrace\{(\d+)\}", GRPC_SERVER_HEADER).group(1)) / 1000
    readiness = SERVER["readinessProbe"]
    assert timeout >= seconds(CONFIG["max-deadline"])
    assert delay > readiness["periodSeconds"] * readiness["failureThreshold"] + readiness["timeoutSeconds"]
    assert POD["terminationGracePeriodSeconds"] > delay + timeout + 1 + cancel_grace


def test_every_selector_finds_the_pods() -> None:
    """Services, budget, policy, monitor, spreading."""
    selectors = [item["spec"]["selector"] for item in BASE if item["kind"] == "Service"]
    selectors += [DEPLOYMENT["spec"]["selector"]["matchLabels"]]
    selectors += [one(BASE, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    selectors += [one(BASE, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    monitor = one(objects(DEPLOY / "components/monitoring"), "PodMonitor")["spec"]
    selectors += [monitor["selector"]["matchLabels"]]
    selectors += [spread["labelSelector"]["matchLabels"] for spread in POD["topologySpreadConstraints"]]
    assert all(selector == LABELS for selector in selectors)
    assert [endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]] == ["metrics"]


def test_the_pod_meets_the_restricted_profile() -> None:
    """Pod Security Standards, and what they leave open: a read-only root, no token, no injected variables."""
    pod, container = POD["securityContext"], SERVER["securityContext"]
    assert pod["runAsNonRoot"] is True and pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False and container["capabilities"] == {"drop": ["ALL"]}
    assert container["readOnlyRootFilesystem"] is True
    assert POD["automountServiceAccountToken"] is False and POD["enableServiceLinks"] is False
    assert {volume["name"] for volume in POD["volumes"]} == {mount["name"] for mount in SERVER["volumeMounts"]}
    assert all(mount["readOnly"] for mount in SERVER["volumeMounts"])


def test_every_file_of_the_base_is_applied() -> None:
    """A file that no kustomization names does nothing."""
    named = yaml.safe_load((DEPLOY / "base/kustomization.yaml").read_text())
    assert {path.name for path in (DEPLOY / "base").glob("*.yaml")} == {"kustomization.yaml", *named["resources"]}
    assert named["configMapGenerator"][0]["files"] == ["config.json"]


def test_clients_can_balance_by_themselves_or_through_a_proxy_that_speaks_http_2() -> None:
    """The headless Service has the pods' addresses, and both say what the port speaks."""
    services = {item["metadata"]["name"]: item["spec"] for item in BASE if item["kind"] == "Service"}
    assert services["paligemma-headless"]["clusterIP"] == "None" and "clusterIP" not in services["paligemma"]
    for service in services.values():
        assert [port["appProtocol"] for port in service["ports"]] == ["kubernetes.io/h2c"]


def test_neither_a_rollout_nor_a_drained_node_takes_the_last_pod() -> None:
    """There are two, of which one may be disrupted; a rollout brings the new one first."""
    spec, budget = DEPLOYMENT["spec"], one(BASE, "PodDisruptionBudget")["spec"]
    assert spec["replicas"] > budget["maxUnavailable"] >= 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0 < spec["strategy"]["rollingUpdate"]["maxSurge"]


def test_the_server_gets_what_it_needs_and_no_more() -> None:
    """Threads for the cores that it asked for, a log for machines, no way out, no token."""
    threads = next(variable for variable in SERVER["env"] if variable["name"] == "PALIGEMMA_THREADS")
    assert threads["valueFrom"]["resourceFieldRef"] == {"containerName": SERVER["name"], "resource": "requests.cpu"}
    assert float(SERVER["resources"]["requests"]["cpu"]) >= 1
    assert CONFIG["log-format"] == "json"
    policy = one(BASE, "NetworkPolicy")["spec"]
    assert policy["egress"] == [] and set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert one(BASE, "ServiceAccount")["automountServiceAccountToken"] is False


def test_the_image_is_the_one_that_is_built_here() -> None:
    """Its tag is VERSION, and it runs as the user that the pod names."""
    assert SERVER["image"] == f"paligemma-serving:{(ROOT / 'VERSION').read_text().strip()}"
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    assert f"USER {POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}\n" in dockerfile
    assert SERVER["resources"]["requests"]["memory"] == SERVER["resources"]["limits"]["memory"]


def test_every_overlay_and_component_is_named_in_the_readme() -> None:
    """A stranger finds them there."""
    readme = (DEPLOY / "README.md").read_text()
    folders = [path.parent.relative_to(DEPLOY) for path in DEPLOY.rglob("kustomization.yaml")]
    assert [str(folder) for folder in folders if f"`{folder}`" not in readme] == []
    for path in DEPLOY.rglob("kustomization.yaml"):
        assert yaml.safe_load(path.read_text())["kind"] in ("Kustomization", "Component")


@pytest.mark.parametrize(("component", "flag"), [("auth", "--auth-tokens-file"), ("tls", "--tls-cert")])
def test_a_component_mounts_the_secret_that_its_flag_names(component: str, flag: str) -> None:
    """A file of a Secret that is mounted read-only."""
    patches = yaml.safe_load((DEPLOY / "components" / component / "kustomization.yaml").read_text())["patches"]
    steps = yaml.safe_load(patches[0]["patch"])
    values = {step["path"].split("/")[-2]: step["value"] for step in steps if step["path"].endswith("/-")}
    flags = [step["value"] for step in steps if step["path"].endswith("args/-")]
    assert any(value.startswith(f"{flag}={values['volumeMounts']['mountPath']}/") for value in flags)
    assert values["volumeMounts"]["name"] == values["volumes"]["name"] and values["volumeMounts"]["readOnly"] is True
    assert values["volumes"]["secret"]["secretName"] in (DEPLOY / "README.md").read_text()
