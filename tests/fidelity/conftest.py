# SPDX-License-Identifier: Apache-2.0
"""Shared by the fidelity suite: the probe into core, the sizes of its corpora, and the table that it prints.

PG_FIDELITY=long asks for the whole corpora (`make fidelity`); else a part of them runs, as in `make test`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "models/tiny-a"
PROBE = ROOT / "build/release/bin/fidelity_probe"
LONG = os.environ.get("PG_FIDELITY") == "long"


def cases(long: int) -> int:
    """How many of the cases of a corpus to run: all, or a tenth."""
    return long if LONG else long // 10


class Probe:
    """A program that answers line by line: probe.cc (core/text, core/vision) or model_probe.cc (the model)."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        """One operation of the program."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"op": op, **request}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the probe ended on {op} {str(request)[:300]}"
        return json.loads(line)

    def close(self) -> None:
        """Ends the program."""
        self._process.communicate()


@dataclass
class Row:
    """One line of the table."""

    what: str
    reference: str
    cases: int | str
    worst: str
    verdict: str = "holds"

    def markdown(self) -> str:
        """As a row of docs/fidelity.md."""
        return f"| {self.what} | {self.reference} | {self.cases} | {self.worst} | {self.verdict} |"


class Table:
    """What the suite found. A row holds once its assertions held; a test that failed has one that says so."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, what: str, reference: str, number: int, worst: str) -> None:
        """Adds a row that holds."""
        self.append(Row(what, reference, number, worst))

    def append(self, row: Row) -> None:
        """Adds a row and keeps the table: a long run that is cut off leaves what it found."""
        self.rows.append(row)
        out = ROOT / "bench-out"
        out.mkdir(exist_ok=True)
        (out / "fidelity.md").write_text(self.markdown())

    def markdown(self) -> str:
        """The whole of it."""
        lines = ["| what | reference | cases | worst deviation | verdict |", "|---|---|---|---|---|"]
        return "\n".join(lines + [row.markdown() for row in self.rows]) + "\n"


_TABLE = Table()


@pytest.fixture(scope="session")
def table() -> Table:
    """The rows that hold, printed at the end."""
    return _TABLE


@pytest.fixture(scope="session")
def probe() -> Iterator[Probe]:
    """One probe for the whole session."""
    running = Probe(str(PROBE), str(BUNDLE))
    yield running
    running.close()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test that failed gets its row."""
    if report.failed:
        _TABLE.append(Row(report.nodeid.split("::", 1)[-1], "", "", "", "FAILS"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the table; bench-out/fidelity.md has it, too."""
    if _TABLE.rows:
        terminalreporter.write_line(_TABLE.markdown())
