# SPDX-License-Identifier: Apache-2.0
"""Writes strict JSON schemas for kubeconform out of Kubernetes' OpenAPI definitions and of custom resources.

Usage: make_schemas.py OUTPUT SWAGGER.json [CUSTOM_RESOURCE_DEFINITION.yaml ...]
Strict: an object that lists its properties has no others, so a misspelt field is an error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

NUMBER_OR_STRING = {"anyOf": [{"type": "string"}, {"type": "number"}]}
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def strict(schema: Any) -> Any:
    """The schema with nothing unlisted allowed, and with Kubernetes' own types in words of JSON schema."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string") is True:
        return dict(NUMBER_OR_STRING)
    result = {key: strict(value) for key, value in schema.items() if not key.startswith("x-")}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and not open_ended:
        result["additionalProperties"] = False
    return result


def reachable(name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A definition and all that it refers to."""
    found: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found[current] = definitions[current]
        text = json.dumps(definitions[current])
        waiting += [part.split('"')[0] for part in text.split('"#/definitions/')[1:]]
    return found


def file_name(kind: str, group: str, version: str) -> str:
    """As kubeconform's {{ .ResourceKind }}{{ .KindSuffix }} has it."""
    parts = [kind.lower(), group.split(".")[0], version]
    return "-".join(part for part in parts if part) + ".json"


def write_builtin(swagger: Path, output: Path) -> int:
    """Schemas of every kind that the API server knows by itself."""
    kinds = json.loads(swagger.read_text())["definitions"]
    definitions = {name: strict(value) for name, value in kinds.items()}
    definitions[QUANTITY] = dict(NUMBER_OR_STRING)
    count = 0
    for name, definition in kinds.items():
        identities = definition.get("x-kubernetes-group-version-kind", [])
        if len(identities) != 1:
            continue  # shared by every group: DeleteOptions, WatchEvent
        (identity,) = identities
        schema = {"$ref": f"#/definitions/{name}", "definitions": reachable(name, definitions)}
        (output / file_name(identity["kind"], identity["group"], identity["version"])).write_text(json.dumps(schema))
        count += 1
    return count


def write_custom(path: Path, output: Path) -> int:
    """Schemas of a CustomResourceDefinition's versions."""
    spec = yaml.safe_load(path.read_text())["spec"]
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        # Validated by the API server, not spelled out in the definition.
        schema["properties"]["metadata"] = {"type": "object"}
        (output / file_name(spec["names"]["kind"], spec["group"], version["name"])).write_text(json.dumps(schema))
    return len(spec["versions"])


def main(arguments: list[str]) -> int:
    """Writes all of them."""
    output, swagger, *custom = map(Path, arguments)
    output.mkdir(parents=True, exist_ok=True)
    count = write_builtin(swagger, output) + sum(write_custom(path, output) for path in custom)
    print(f"{count} schemas in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
