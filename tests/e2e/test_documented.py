# SPDX-License-Identifier: Apache-2.0
"""The reference pages, which scripts/docs reads out of the source, say what a running server says."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import serving

sys.path.insert(0, str(serving.ROOT / "docs"))

import references  # noqa: E402


def test_settings_are_those_of_help() -> None:
    text = subprocess.run([serving.SERVER, "--help"], capture_output=True, text=True, check=True).stdout
    of_help = {}
    for name, rest in re.findall(r"^  --([a-z-]+)(?:=\S+)?((?:.|\n {20,})*)", text, re.MULTILINE):
        default = re.search(r"\(([^()]*)\)\s*$", rest)
        of_help[name] = default[1] if default else ""
    for name in ("config", "validate-only", "version", "help"):
        of_help.pop(name)
    assert of_help == {setting.name: setting.default for setting in references.settings()}


def test_settings_are_those_of_configz(server: serving.Server) -> None:
    status, text = server.http("/configz")
    assert status == 200
    assert list(json.loads(text)) == [setting.name for setting in references.settings()]


def test_metrics_are_those_of_a_scrape(server: serving.Server) -> None:
    _, text = server.http("/metrics")
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    documented = {metric.name: metric for metric in references.metrics()}
    assert {name: documented[name].type for name in types} == types
    of_tls = {"paligemma_tls_certificate_expiry_timestamp_seconds"}
    assert set(documented) - set(types) <= of_tls
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        metric = documented[name if name in documented else re.sub(r"_(bucket|sum|count)$", "", name)]
        pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        pairs.pop("le", None)
        assert set(pairs) == set(metric.labels), name
        for label, value in pairs.items():
            closed = metric.labels[label]
            assert not closed or f"`{value}`" in closed, f"{name}: {label}={value}"
