# SPDX-License-Identifier: Apache-2.0
"""Declares the paligemma:: operators from operators.txt and gives them their reference kernels.

Import this module before scripting or loading a module that calls the operators. The reference kernels are plain
PyTorch and slow; a backend registration ("CPU", "CUDA") overrides its own operator only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from paligemma_export import kernels_decoder, kernels_sample, kernels_vision

_SCHEMA_FILE = Path(__file__).with_name("operators.txt")
_library: torch.library.Library | None = None


def schemas() -> list[str]:
    """Returns the schemas, one string each, in the order of the file."""
    lines = (line.strip() for line in _SCHEMA_FILE.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def kernel(name: str) -> Callable:
    """Returns the reference kernel of an operator."""
    for module in (kernels_decoder, kernels_vision, kernels_sample):
        if hasattr(module, name):
            return getattr(module, name)
    raise KeyError(name)


def register() -> None:
    """Declares the operators and registers the kernels. A second call does nothing."""
    global _library
    if _library is not None:
        return
    _library = torch.library.Library("paligemma", "DEF")
    for schema in schemas():
        name = schema.split("(")[0]
        _library.define(schema)
        _library.impl(name, _late_bound(name), "CompositeExplicitAutograd")


def _late_bound(name: str) -> Callable:
    """Looks the kernel up at every call, so that tests can replace one."""

    def call(*arguments: object) -> object:
        return kernel(name)(*arguments)

    return call


register()
