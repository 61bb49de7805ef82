# SPDX-License-Identifier: Apache-2.0
"""Reads deploy/ as it stands in the repository, without kustomize."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def objects(folder: Path) -> list[dict[str, Any]]:
    """Every object in the YAML files of a folder."""
    return [item for path in sorted(folder.glob("*.yaml")) for item in yaml.safe_load_all(path.read_text()) if item]


def one(items: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    (found,) = [item for item in items if item["kind"] == kind]
    return found


def server_config(text: str) -> dict[str, Any]:
    """The server's config file, which may hold comments on lines of their own."""
    return json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))


def seconds(duration: str) -> int:
    """Of a duration that the manifests use: whole seconds."""
    assert re.fullmatch(r"\d+s", duration), duration
    return int(duration[:-1])


def config_keys(source: str) -> set[str]:
    """The settings that server/config/server_config.h lists."""
    return set(re.findall(r'S\{"([a-z0-9-]+)"', source))
