# SPDX-License-Identifier: Apache-2.0
"""Do the manifests agree with the server's flags, ports and drain times?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "deploy/base"
CONFIG = json.loads((BASE / "config.json").read_text())
OBJECTS = [item for path in sorted(BASE.glob("*.yaml")) for item in yaml.safe_load_all(path.read_text())]
POD = next(item for item in OBJECTS if item["kind"] == "Deployment")["spec"]["template"]["spec"]
SERVER = POD["containers"][0]


def test_config_keys_are_settings() -> None:
    """The server refuses unknown keys."""
    known = set(re.findall(r'S\{"([a-z-]+)"', (ROOT / "server/server_config.h").read_text()))
    assert set(CONFIG) <= known


def test_probes_and_ports() -> None:
    """Probes ask the management port; Services name the data port."""
    for probe, path in {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}.items():
        assert SERVER[probe]["httpGet"] == {"path": path, "port": 8002}
    assert {port["name"]: port["containerPort"] for port in SERVER["ports"]} == {"grpc": 8001, "metrics": 8002}
    assert CONFIG["listen"].endswith(":8001") and CONFIG["http-listen"].endswith(":8002")


def test_termination_covers_drain() -> None:
    """Kubernetes waits longer than the server drains."""
    drain = sum(int(CONFIG[key].removesuffix("s")) for key in ("drain-delay", "drain-timeout"))
    assert POD["terminationGracePeriodSeconds"] >= drain + 5
    assert POD["enableServiceLinks"] is False


def test_restricted_and_pinned() -> None:
    """The restricted profile, resources, and no moving tag."""
    assert POD["securityContext"]["runAsNonRoot"] and SERVER["securityContext"]["readOnlyRootFilesystem"]
    assert SERVER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert SERVER["resources"]["requests"]["memory"] == SERVER["resources"]["limits"]["memory"]
    assert re.search(r":[0-9][^:]*$|@sha256:", SERVER["image"])
