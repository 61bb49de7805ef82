# SPDX-License-Identifier: Apache-2.0
"""Writes what paligemma_serving/v1 holds about proto/: descriptors.binpb, type stubs, modules.

Usage: python clients/python/generate.py [--check]     (needs grpcio-tools; --check only compares)
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(__file__).resolve().parent / "paligemma_serving" / "v1"
HEADER = "# SPDX-License-Identifier: Apache-2.0\n"
STUB_HEADER = HEADER + "# ruff: noqa\n"
MODULE = (
    HEADER
    + '''"""Messages and enums of {proto}. Written by clients/python/generate.py."""

from paligemma_serving.v1 import _descriptors

_descriptors.define("{proto}", globals())
'''
)


def run_protoc(target: Path) -> list[str]:
    """Runs protoc on every proto file; returns their names, relative to proto/."""
    protos = sorted(
        str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto/paligemma").rglob("*.proto")
    )
    well_known = Path(protoc.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"-I{ROOT / 'proto'}",
        f"-I{well_known}",
        f"--descriptor_set_out={target / 'set.binpb'}",
        f"--pyi_out={target}",
        *protos,
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc failed on proto/")
    return protos


def descriptors(path: Path) -> bytes:
    """The file descriptors as generated code has them: without json_name, which sets alone hold."""
    files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())

    def strip(message: descriptor_pb2.DescriptorProto) -> None:
        for field in message.field:
            field.ClearField("json_name")
        for nested in message.nested_type:
            strip(nested)

    for file in files.file:
        for message in file.message_type:
            strip(message)
    return files.SerializeToString(deterministic=True)


def outputs() -> dict[str, bytes]:
    """Name and content of every generated file."""
    result: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        protos = run_protoc(Path(folder))
        result["descriptors.binpb"] = descriptors(Path(folder) / "set.binpb")
        for proto in protos:
            name = Path(proto).stem + "_pb2"
            stub = (Path(folder) / proto).with_name(name + ".pyi").read_text()
            stub = re.sub(r"^from paligemma\.v1 import", "from paligemma_serving.v1 import", stub, flags=re.M)
            # A strict type checker wants the parameters that protoc leaves out.
            stub = re.sub(r"\b_Mapping\b(?=[\],])", "_Mapping[str, _Any]", stub)
            stub = stub.replace("from typing import ClassVar", "from typing import Any as _Any, ClassVar")
            result[name + ".pyi"] = (STUB_HEADER + stub).encode()
            result[name + ".py"] = MODULE.format(proto=proto).encode()
    return result


def main() -> int:
    """Writes or checks the files; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file would change")
    check = parser.parse_args().check
    drifted = []
    for name, content in outputs().items():
        path = TARGET / name
        if path.exists() and path.read_bytes() == content:
            continue
        drifted.append(name)
        if not check:
            path.write_bytes(content)
    if check and drifted:
        print(f"differs from proto/: {', '.join(drifted)}; run clients/python/generate.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
