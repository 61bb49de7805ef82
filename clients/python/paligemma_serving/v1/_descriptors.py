# SPDX-License-Identifier: Apache-2.0
"""Builds message classes from descriptors at import time.

protoc's own Python output asks for a runtime of its version or newer and at most one major ahead. Descriptors
ask for nothing: the same file works with every protobuf from 3.20 on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory
from google.protobuf.internal import enum_type_wrapper

_WELL_KNOWN = (duration_pb2,)  # imported so that the pool has the files ours depend on


def _load() -> None:
    pool = descriptor_pool.Default()
    files = descriptor_pb2.FileDescriptorSet.FromString(
        Path(__file__).with_name("descriptors.binpb").read_bytes()
    )
    waiting = {file.name: file for file in files.file}
    while waiting:
        for name, file in list(waiting.items()):
            if not any(dependency in waiting for dependency in file.dependency):
                pool.AddSerializedFile(file.SerializeToString())
                del waiting[name]


def _message_class(descriptor: Any) -> Any:
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return _FACTORY.GetPrototype(descriptor)  # protobuf below 4.22


def define(proto: str, namespace: dict[str, Any]) -> None:
    """Puts the messages, enums and enum values of a proto file into a module's namespace."""
    file = descriptor_pool.Default().FindFileByName(proto)
    namespace["DESCRIPTOR"] = file
    for name, descriptor in file.message_types_by_name.items():
        message = _message_class(descriptor)
        message.__module__ = namespace["__name__"]
        namespace[name] = message
    for name, enum in file.enum_types_by_name.items():
        namespace[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        for value in enum.values:
            namespace[value.name] = value.number


_load()
_FACTORY: Any = (
    None
    if hasattr(message_factory, "GetMessageClass")
    else message_factory.MessageFactory(descriptor_pool.Default())
)
