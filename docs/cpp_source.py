# SPDX-License-Identifier: Apache-2.0
"""Reads the C++ sources strictly: what is not understood is an error here, never a gap in a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class SourceError(Exception):
    """The source has a form that this program does not know."""


def read(path: str) -> str:
    """A file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def string_literals(text: str) -> list[str]:
    """The contents of all string literals; adjacent ones stay apart."""
    return [literal.replace('\\"', '"') for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', text)]


def split_arguments(text: str, start: int) -> list[str]:
    """The arguments of the call whose opening parenthesis is at text[start]."""
    arguments, depth, begin, quoted = [], 0, start + 1, False
    for i in range(start, len(text)):
        char = text[i]
        if char == '"' and text[i - 1] != "\\":
            quoted = not quoted
        if quoted:
            continue
        if char in "({[":
            depth += 1
        elif char in ")}]":
            depth -= 1
        if (char == "," and depth == 1) or depth == 0:
            arguments.append(text[begin:i].strip())
            begin = i + 1
        if depth == 0:
            return [argument for argument in arguments if argument]
    raise SourceError(f"a call without an end: {text[start : start + 60]!r}")


def calls(text: str, name: str) -> Iterator[tuple[re.Match[str], list[str]]]:
    """Every `NAME(...)`, with its arguments; `name` is a pattern."""
    for match in re.finditer(rf"\b{name}\(", text):
        yield match, split_arguments(text, match.end() - 1)


def integer(expression: str, names: dict[str, int] | None = None) -> int:
    """The value of a constant expression of integers."""
    text = re.sub(r"std::int64_t\{(\w+)\}", r"\1", expression).replace("'", "")
    for name, value in (names or {}).items():
        text = re.sub(rf"\b{name}\b", str(value), text)
    if not re.fullmatch(r"[0-9+*()<\- ]+", text):
        raise SourceError(f"not a constant: {expression!r}")
    return int(eval(text, {"__builtins__": {}}))  # digits and operators alone, see above


def constants(text: str) -> dict[str, int]:
    """All integer constants `kName = expression` of a file."""
    found: dict[str, int] = {}
    for name, expression in re.findall(r"\b(k[A-Z]\w*) = ([^,;{}\"]+)[,;]", text):
        try:
            found[name] = integer(expression, found)
        except (SourceError, SyntaxError):
            continue
    return found
