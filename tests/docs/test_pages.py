# SPDX-License-Identifier: Apache-2.0
"""What pages point at exists: links, files, commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import references

ROOT = references.ROOT
PAGES = sorted(
    name
    for name in subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if (ROOT / name).exists()
)
_NAMED = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md")
OURS = [page for page in PAGES if page in _NAMED or page.startswith("docs/")]
MAX_COLUMNS = 120  # of prose; tables and code may be wider
# Folders of the repository that code spans name files of.
FOLDERS = "benchmarks|client|clients|cmake|core|deploy|docker|docs|export|models|proto|scripts|server|tests|training"


def anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), target
        if fragment and linked.is_file():
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in {anchor(heading) for heading in headings}, target


@pytest.mark.parametrize("page", OURS)
def test_files_in_code_spans_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for span in re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text):
        name = span.rstrip("/.")
        in_tests = (ROOT / "tests" / name).exists()
        found = in_tests or (ROOT / name).exists() or list((ROOT / name).parent.glob(Path(name).name + ".*"))
        assert found, span


@pytest.mark.parametrize("page", PAGES)
def test_lines_of_prose_are_short(page: str) -> None:
    in_code = False
    long: list[int] = []
    for number, line in enumerate(references.read(page).splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and not line.lstrip().startswith("|") and len(line) > MAX_COLUMNS:
            long.append(number)
    assert long == []


@pytest.mark.parametrize("page", OURS)
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for target in re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text(encoding="utf-8")):
        assert target in targets, f"make {target}"


def test_the_index_names_every_page() -> None:
    index = references.read("docs/README.md")
    pages = [Path(page).name for page in PAGES if page.startswith("docs/") and page != "docs/README.md"]
    assert [page for page in pages if f"({page})" not in index] == []


def test_readme_names_every_rpc() -> None:
    readme = references.read("README.md")
    rpcs = [
        name
        for proto in ("paligemma_service", "model_service")
        for name in re.findall(r"^  rpc (\w+)\(", references.read(f"proto/paligemma/v1/{proto}.proto"), re.MULTILINE)
    ]
    assert rpcs
    assert [rpc for rpc in rpcs if f"`{rpc}`" not in readme] == []


def test_every_test_that_security_names_exists() -> None:
    text = references.read("SECURITY.md")
    named = re.findall(r"`((?:core|server|e2e)/\w*/?(?:test_\w+\.py|\w+_test\.cc))`", text)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []
    faults = references.read("tests/e2e/faults/README.md")
    tested = {fault for cell in re.findall(r"^\| (F[0-9, F]+) \|", faults, re.MULTILINE) for fault in cell.split(", ")}
    assert set(re.findall(r"\bF\d+\b", text)) <= tested


@pytest.mark.parametrize("page", OURS)
def test_metrics_on_pages_exist(page: str) -> None:
    known = {metric.name for metric in references.metrics()}
    ending = "total|seconds|ratio|info|bucket|sum|count|waiting|running"
    named = set(re.findall(rf"\b(?:paligemma|grpc_server)_\w+_(?:{ending})\b", references.read(page)))
    named = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in known else name for name in named}
    assert named - known == set()


def test_flags_on_pages_exist() -> None:
    known = {setting.name for setting in references.settings()}
    known |= {"name", "config", "validate-only", "version", "help"}
    for page in ("SECURITY.md", "docs/configuration.md", "docs/metrics.md", "docs/errors.md"):
        named = set(re.findall(r"`--([a-z][a-z-]+)", references.read(page)))
        assert named - known == set(), page
