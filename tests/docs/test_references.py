# SPDX-License-Identifier: Apache-2.0
"""The reference pages say what the source says. `make docs` writes them anew."""

from __future__ import annotations

import re

import pytest
import references


@pytest.mark.parametrize("page", references.PAGES)
def test_page_is_what_the_source_says(page: str) -> None:
    text = references.read(page)
    assert references.render(text) == text, f"{page} is out of date: run `make docs` and commit it"


def test_every_region_is_on_some_page() -> None:
    pages = "".join(references.read(page) for page in references.PAGES)
    for region in references.REGIONS:
        assert f"<!-- generated: {region} -->" in pages


def test_settings_have_help_and_a_variable() -> None:
    settings = {setting.name: setting for setting in references.settings()}
    assert settings["max-queued"].environment == "PALIGEMMA_MAX_QUEUED"
    assert settings["max-image-bytes"].default == str(16 << 20)
    assert settings["drain-timeout"].default == "30s"
    assert all(setting.help for setting in settings.values())


def test_settings_are_all_members_of_the_config() -> None:
    ways_to_run = {"config_file", "validate_only", "help", "version"}
    settings = references.settings()
    assert {setting.member.split(".")[0] for setting in settings} == set(references.members()) - ways_to_run
    assert len({setting.member for setting in settings}) == len(settings)
    for setting in settings:  # a member of the configuration itself has the flag's name
        assert "." in setting.member or setting.member == setting.name.replace("-", "_")


def test_a_default_stands_once() -> None:
    """The server's configuration holds core's options by value: no limit of core has a second default there."""
    own = references.members()
    for struct in set(references.OPTIONS) - {"ServerConfig"}:
        assert set(own) & set(references.members(struct)) <= {"device"}, struct


def test_metrics_have_labels_and_values() -> None:
    metrics = {metric.name: metric for metric in references.metrics()}
    assert metrics["paligemma_requests_rejected_total"].labels["reason"].startswith("`overloaded`")
    assert metrics["paligemma_batch_size"].labels == {"phase": "`vision`, `prefill`, `decode`"}
    assert "grpc_code" in metrics["grpc_server_handled_total"].labels


def test_codes_of_reasons_are_those_of_the_source() -> None:
    reasons = references.error_reasons()
    documented = {(references.camel(reason.name), references.camel(reason.code)) for reason in reasons}
    pairs = 0
    for path, text in references.sources():
        for code, reason in re.findall(r"StatusCode::(k\w+),\s*Reason::(k\w+)", text):
            pairs += 1
            assert (reason, code) in documented, f"{path.name}: {code}, {reason}"
    assert pairs > 10


def test_reasons_of_the_source_are_all_documented() -> None:
    documented = {references.camel(reason.name) for reason in references.error_reasons()}
    assert references.emitted() - {"kNone"} <= documented


def test_every_key_of_the_access_log_is_documented() -> None:
    page = references.read("docs/metrics.md")
    keys = set(re.findall(r'json\["(\w+)"\]', references.read("server/access/access_log.cc")))
    assert keys, "access_log.cc writes its keys in another form"
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def test_the_python_clients_lower_bounds_are_those_of_its_package() -> None:
    page = references.read("docs/compatibility.md")
    package = references.read("clients/python/pyproject.toml")
    bounds = re.findall(r'"(grpcio|protobuf)>=([0-9.]+)"', package)
    bounds += re.findall(r'requires-(python) = ">=([0-9.]+)"', package)
    assert len(bounds) == 3
    for name, oldest in bounds:
        assert re.search(rf"^\| {name} \| {re.escape(oldest)} \|", page, re.MULTILINE | re.IGNORECASE), name


def test_unknown_source_is_an_error_and_not_a_gap() -> None:
    with pytest.raises(references.SourceError):
        references.integer("SomeFunction(3)")
    with pytest.raises(references.SourceError):
        references.MetricsSource('prometheus::Family("paligemma_new_total", "Registered in another way")').metrics()
