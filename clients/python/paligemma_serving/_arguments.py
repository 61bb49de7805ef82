# SPDX-License-Identifier: Apache-2.0
"""The keyword arguments of the clients' methods, for type checkers; requests and client explain them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Union

from paligemma_serving.requests import Config, Enum, Options, Region

Seconds = Union[float, None]  # noqa: UP007 (evaluated, and Python 3.9 lacks the other form)
Text = Union[str, None]  # noqa: UP007
Number = Union[float, None]  # noqa: UP007


class CallArguments(TypedDict, total=False):
    """Arguments that every call takes."""

    timeout: Seconds
    request_id: Text
    metadata: Sequence[tuple[str, str]]


class GenerateArguments(CallArguments, total=False):
    """Arguments that every call takes that generates text."""

    model: str
    config: Config
    options: Options


class AnswerArguments(GenerateArguments, total=False):
    """Arguments of answer."""

    language: str


class CaptionArguments(AnswerArguments, total=False):
    """Arguments of caption."""

    length: Enum
    region: Region


class DetectArguments(GenerateArguments, total=False):
    """Arguments of detect."""

    label_mode: Enum
    max_objects: int
    min_score: Number


class SegmentArguments(DetectArguments, total=False):
    """Arguments of segment."""

    mask_format: Enum
    mask_extent: Enum
    mask_threshold: Number


def split(arguments: object) -> tuple[CallArguments, dict[str, Any]]:
    """Splits keyword arguments into those of the call and those of the request."""
    given: dict[str, Any] = dict(arguments)  # type: ignore[call-overload]
    call = {name: given.pop(name) for name in CallArguments.__annotations__ if name in given}
    return call, given  # type: ignore[return-value]
