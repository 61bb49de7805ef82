# SPDX-License-Identifier: Apache-2.0
"""`import`: one command from a checkpoint to the command that serves it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import assert_same_weights, npz_flags, rewrite
from conftest import Tiny
from npz_layout import as_npz
from paligemma_export import against_transformers, bundle, cli, importing
from paligemma_export.huggingface import HuggingFaceSource


def imported(checkpoint: Path, target: Path, *flags: str) -> int:
    return cli.main(["import", str(checkpoint), f"--output={target}", "--quiet", *flags])


def test_a_checkpoint_becomes_a_bundle_that_is_compared_with_transformers(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    tiny = tinies["tiny-a"]
    assert imported(tiny.checkpoint, tmp_path / "bundle") == 0
    captured = capsys.readouterr()
    assert "the first 12 tokens of 8 of 8 cases equal transformers'" in captured.out
    assert f"paligemma-server --model={tmp_path}/bundle" in captured.out
    for line in ("checkpoint", "weights", "pictures", "attention", "limits", "caption", "segment", "license", "check"):
        assert f"\n{line} " in "\n" + captured.out, line
    assert [f"[{step}/4]" in captured.err for step in (1, 2, 3, 4)] == [True] * 4
    assert_same_weights(tmp_path / "bundle", tiny.bundle)


def test_pictures_are_compared_as_the_checkpoint_prepares_them(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Bilinear, another mean and deviation: transformers' processor and the bundle agree, token by token."""
    given = tmp_path / "given"
    shutil.copytree(tinies["tiny-a"].checkpoint, given)
    fields = {"resample": 2, "size": {"height": 42, "width": 42}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.3] * 3}
    (given / "preprocessor_config.json").write_text(json.dumps(fields))
    assert imported(given, tmp_path / "bundle") == 0
    out = capsys.readouterr().out
    assert "8 of 8 cases" in out and "bilinear_antialias" in out and "folded into the weights" in out


def test_the_default_output_is_named_after_the_checkpoint(
    tinies: dict[str, Tiny], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(tinies["tiny-a"].checkpoint, tmp_path / "My-Finetune")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["import", "My-Finetune", "--no-compare", "--quiet"]) == 0
    assert "paligemma-server --model=bundles/My-Finetune" in capsys.readouterr().out
    assert bundle.read_manifest(tmp_path / "bundles/My-Finetune")["name"] == "my-finetune"


def test_a_bundle_that_differs_is_not_to_be_served(
    tinies: dict[str, Tiny], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    real = against_transformers.compare

    def tampered(checkpoint: Path, path: Path) -> Iterator[Any]:
        for index, case in enumerate(real(checkpoint, path)):
            yield dataclasses.replace(case, ours=[*case.ours[:3], 7]) if index == 2 else case

    monkeypatch.setattr(against_transformers, "compare", tampered)
    assert imported(tinies["tiny-a"].checkpoint, tmp_path / "bundle") == 1
    captured = capsys.readouterr()
    assert "7 of 8 cases" in captured.err and "'detect cat' differs from step 3 on" in captured.err
    assert "paligemma-server" not in captured.out


def test_rounding_is_no_verdict(tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    half = rewrite(tinies["tiny-a"], tmp_path / "half", lambda t: {name: value.bfloat16() for name, value in t.items()})
    assert imported(half, tmp_path / "half-bundle") == 0
    assert imported(tinies["tiny-a"].checkpoint, tmp_path / "int8", "--quantize=int8") == 0
    assert "int8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("patch", "told"),
    [
        ({"is_installed": lambda: False}, "transformers is not installed"),
        ({"bytes_available": lambda: 1000}, "are free"),
    ],
)
def test_what_was_not_compared_is_said(
    tinies: dict[str, Tiny],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    patch: dict[str, Any],
    told: str,
) -> None:
    for name, value in patch.items():
        monkeypatch.setattr(against_transformers, name, value)
    assert imported(tinies["tiny-a"].checkpoint, tmp_path / "bundle") == 0
    out = capsys.readouterr().out
    assert "not compared" in out and told in out and "paligemma-server" in out


def test_an_npz_is_imported_too(tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    np.savez(tmp_path / "pt.npz", **as_npz(HuggingFaceSource(tinies["tiny-a"].checkpoint)))
    assert imported(tmp_path / "pt.npz", tmp_path / "bundle", *npz_flags(tinies["tiny-a"])) == 0
    assert "does not read big_vision archives" in capsys.readouterr().out
    assert_same_weights(tmp_path / "bundle", tinies["tiny-a"].bundle)


def test_a_refusal_leaves_nothing_behind(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = tmp_path / "given"
    shutil.copytree(tinies["tiny-a"].checkpoint, given)
    (given / "generation_config.json").write_text('{"num_beams": 4}')
    assert imported(given, tmp_path / "out" / "bundle") == 1
    assert "num_beams is 4" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []
    assert len(importing.STEPS) == 4
