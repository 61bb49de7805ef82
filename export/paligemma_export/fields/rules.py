# SPDX-License-Identifier: Apache-2.0
"""The kinds of rules for a field, and `Decisions`, which applies a table of them to the content of a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paligemma_export.errors import ExportError

# Values that switch a field off, for every field.
NEUTRAL: tuple[Any, ...] = (None, False, "", [], {})


@dataclass(frozen=True)
class Honoured:
    """The exporter reads the field; `how` says what becomes of it."""

    how: str


@dataclass(frozen=True)
class Harmless:
    """The field changes no answer; `why` says so."""

    why: str


@dataclass(frozen=True)
class Told:
    """The field changes what transformers does when its caller says nothing, which here is said elsewhere. A value
    that is set goes into the summary with `why`."""

    why: str


@dataclass(frozen=True)
class Only:
    """The field changes answers, and only these values are served. null always means the usual one."""

    accepted: tuple[Any, ...]
    why: str


Rule = Honoured | Harmless | Told | Only
Table = Mapping[str, Rule]


@dataclass
class Decisions:
    """What was decided about the checkpoint's files. `ignored` holds the fields that the user gave up with
    --ignore=FILE:FIELD; each of them must be one that is refused without it."""

    ignored: Iterable[str] = ()
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def refuse(self, file: str, name: str, value: Any, accepted: str) -> None:
        """Books that a field is refused, unless the user gave it up."""
        key, shown = f"{file}:{name}", json.dumps(value, ensure_ascii=False, default=str)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        if key in self.ignored:
            self.given_up.append(key)
            self.note(
                f"{file}: {name} is {shown} and is ignored, as --ignore asked; answers may differ from transformers'"
            )
        else:
            self.problems.append(f"{file}: {name} is {shown}; {accepted} (--ignore={key} exports without it)")

    def check(self, file: str, content: Mapping[str, Any], table: Table, prefix: str = "") -> None:
        """Applies a table to an object of a file; fields that no table knows are refused unless they are off."""
        for name, value in content.items():
            rule, where = table.get(name), prefix + name
            if rule is None:
                if not _is_neutral(value):
                    self.refuse(file, where, value, "the exporter does not know this field")
            elif isinstance(rule, Only) and not _accepts(rule, value):
                accepted = ", ".join(json.dumps(one, ensure_ascii=False) for one in rule.accepted)
                self.refuse(file, where, value, f"accepted: {accepted} ({rule.why})")
            elif isinstance(rule, Told) and not _is_neutral(value):
                shown = json.dumps(value, ensure_ascii=False, default=str)
                self.note(f"{file}: {where} is {shown if len(shown) <= 60 else shown[:57] + '...'}: {rule.why}")

    def finish(self) -> None:
        """Raises ExportError with the refused fields, or with an --ignore that named none."""
        if self.problems:
            more = f"; and {len(self.problems) - 3} more" if len(self.problems) > 3 else ""
            raise ExportError("; ".join(self.problems[:3]) + more)
        unused = [key for key in self.ignored if key not in self.given_up]
        if unused:
            raise ExportError(f"--ignore={unused[0]} names no field that would be refused")


def _is_neutral(value: Any) -> bool:
    return any(type(value) is type(one) and value == one for one in NEUTRAL)


def _accepts(rule: Only, value: Any) -> bool:
    if value is None:
        return True
    for one in rule.accepted:
        same_kind = isinstance(value, bool) == isinstance(one, bool)
        if same_kind and (value == one or isinstance(value, tuple) and list(value) == one):
            return True
    return False
