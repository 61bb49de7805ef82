# SPDX-License-Identifier: Apache-2.0
"""Do alerts, dashboard and autoscaler name metrics and label values that the server exports?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from manifests import DEPLOY, ROOT, objects, one

SOURCE = (ROOT / "core/metrics/metrics.cc").read_text()
MONITORING = DEPLOY / "components/monitoring"
ALERTS = [rule for group in one(objects(MONITORING), "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
# What Kubernetes, the Prometheus operator and kube-state-metrics add.
FOREIGN_METRICS = {"up", "kube_deployment_status_replicas_available", "kube_deployment_spec_replicas"}
FOREIGN_LABELS = {"namespace", "pod", "job", "deployment", "le"}
FUNCTIONS = {"sum", "rate", "by", "on", "and", "group_left", "histogram_quantile", "avg_over_time", "time"}
FUNCTIONS |= {"label_values"}  # Grafana's


def exported() -> dict[str, str]:
    """The kind of each metric, by name, as metrics.cc adds them."""
    return {name: kind for kind, name in re.findall(r'Add(Counter|Histogram|Gauge)\(\s*"([a-z_]+)"', SOURCE)}


def series() -> set[str]:
    """The names that a query may use: a histogram has three."""
    suffixes = {"Histogram": ("_bucket", "_sum", "_count")}
    return {name + suffix for name, kind in exported().items() for suffix in suffixes.get(kind, ("",))}


def panels() -> Iterator[dict[str, Any]]:
    """Of the dashboard, rows left out."""
    return (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> list[str]:
    """Every query."""
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    queries += [variable["query"] for variable in DASHBOARD["templating"]["list"]]
    return [rule["expr"] for rule in ALERTS] + queries


def test_the_source_is_read_as_it_is_written() -> None:
    """Else the tests below would accept or refuse anything."""
    kinds = exported()
    assert kinds["paligemma_requests_waiting"] == "Gauge"
    assert kinds["grpc_server_handled_total"] == "Counter"
    assert kinds["paligemma_batch_size"] == "Histogram"
    assert len(kinds) == len(set(re.findall(r'"((?:paligemma|grpc_server)_[a-z_]+)"', SOURCE)))


@pytest.mark.parametrize("expression", expressions())
def test_queries_name_metrics_labels_and_values_that_exist(expression: str) -> None:
    """Names against metrics.cc; a label's values too, where the query spells them out."""
    bare = re.sub(r'"[^"]*"|\$\w+|\[[^\]]*\]', "", expression)
    grouped = re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", bare)
    matched = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", bare)
    labels = {name.strip() for names in grouped for name in names.split(",")} | set(matched)
    assert {name for name in labels if f'"{name}"' not in SOURCE} <= FOREIGN_LABELS
    names = set(re.findall(r"\b[a-z][a-z_]+\b", bare)) - labels - FUNCTIONS - {"prometheus"}
    assert names <= series() | FOREIGN_METRICS | FOREIGN_LABELS
    for values in re.findall(r'(?:grpc_code|reason|phase)(?:=~|!=|=)"([^"]*)"', expression):
        assert all(f'"{value}"' in SOURCE for value in values.split("|"))


def test_the_autoscaler_names_a_gauge() -> None:
    """A Pods metric is averaged as it is: a counter would only ever scale up."""
    scaler = one(objects(DEPLOY / "components/autoscaling"), "HorizontalPodAutoscaler")
    names = [metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]]
    assert names and all(exported()[name] == "Gauge" for name in names)
    assert all(name in (DEPLOY / "README.md").read_text() for name in names)


def test_every_alert_says_what_to_do() -> None:
    """A section of the runbook each, and no section without an alert."""
    runbook = (DEPLOY / "runbook.md").read_text()
    assert re.findall(r"^## (\w+)$", runbook, flags=re.MULTILINE) == [rule["alert"] for rule in ALERTS]
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"deploy/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning") and rule["for"]


def test_the_dashboard_is_whole() -> None:
    """Panels have ids, titles, their own place and a source that can be chosen."""
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    for panel in panels():
        assert panel["title"] and panel["datasource"]["uid"] == "${datasource}"
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_every_alert_is_tested_below_above_and_resolved() -> None:
    """promtool runs the cases (scripts/deploy-check); none of the alerts may lack one."""
    cases = [case["name"] for case in yaml.safe_load((ROOT / "tests/deploy/alerts_test.yaml").read_text())["tests"]]
    for rule in ALERTS:
        assert f"{rule['alert']} stays quiet just below its threshold" in cases
        assert f"{rule['alert']} fires just above its threshold and resolves" in cases


def test_inhibit_rules_name_alerts_and_labels_that_both_sides_have() -> None:
    """Alertmanager treats a label that both alerts lack as equal, which would silence other namespaces."""
    by_name = {rule["alert"]: rule["expr"] for rule in ALERTS}
    for rule in yaml.safe_load((DEPLOY / "alertmanager.yaml").read_text())["inhibit_rules"]:
        (source,), (target,) = rule["source_matchers"], rule["target_matchers"]
        names = [name for text in (source, target) for name in re.findall(r"PaliGemma\w+", text)]
        assert set(names) <= set(by_name) and len(names) == len(set(names)), "no alert silences itself"
        for name in names:
            for label in rule["equal"]:
                grouped = re.search(r"\bby \(([^)]*)\)", by_name[name])
                assert grouped is None or label in grouped[1], f"{name} has no label {label}"
