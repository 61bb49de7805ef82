# SPDX-License-Identifier: Apache-2.0
"""`make verify-model` on a small checkpoint with the published names: right, tampered with, and incomplete."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serving

sys.path += [str(serving.ROOT / "export"), str(serving.ROOT / "tests/export")]

from npz_layout import as_npz  # noqa: E402
from paligemma_export.huggingface import HuggingFaceSource  # noqa: E402

VERIFY = serving.ROOT / "tests/real_weights/verify.py"
GOLDENS = serving.TINY / "goldens"
GEOMETRY, SEED = "tiny-a", 8  # of models/tiny-a, so that its goldens are known answers
QUERY_SCALE = 18**-0.5  # of tiny-a


def random_model(folder: Path, seed: int, geometry: str = GEOMETRY) -> tuple[Path, Path]:
    """A checkpoint in the published names, and its bundle."""
    checkpoint, bundle = folder / f"tiny-{seed}-pt", folder / f"bundle-{seed}"
    command = [sys.executable, "-m", "paligemma_export", "random", f"--geometry={geometry}", f"--seed={seed}"]
    command += ["--quiet", f"--output={bundle}", f"--checkpoint-output={checkpoint}"]
    environment = os.environ | {"PYTHONPATH": str(serving.ROOT / "export")}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=240)
    return checkpoint, bundle


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("verify"), SEED)[0]


def verify(checkpoint: Path, *flags: str) -> tuple[int, list[list[str]], str]:
    """(exit code, [verdict, check, detail] of each line, all that was printed)."""
    command = [sys.executable, str(VERIFY), str(checkpoint), "--tokens=20", "--threads=1", *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    rows = [[word.strip() for word in line.split("  ", 2)] for line in done.stdout.splitlines()]
    return done.returncode, rows, done.stdout + done.stderr


def verdicts(rows: list[list[str]], check: str) -> list[str]:
    """The verdicts of a check."""
    return [row[0] for row in rows if row[1:] and row[1] == check]


def answers_file(folder: Path, change: dict[str, Any], extra: list[dict[str, Any]]) -> Path:
    """Known answers: three goldens, each changed, and more."""
    cases = [case for case in serving.golden_cases() if case["prompt"] == "caption en"]
    known = [{"picture": case["image"], "prompt": case["prompt"], "equals": case["text"]} | change for case in cases]
    path = folder / "answers.json"
    path.write_text(json.dumps(known + extra))
    return path


def test_a_good_checkpoint_passes_and_says_what_is_not_there(checkpoint: Path, tmp_path: Path) -> None:
    absent = {"picture": "absent.jpg", "prompt": "ocr", "equals": ""}
    answers = answers_file(tmp_path, {}, [absent])
    code, rows, text = verify(checkpoint, f"--answers={answers}", f"--pictures={GOLDENS}")
    assert code == 0, text
    assert verdicts(rows, "export") == verdicts(rows, "serve") == verdicts(rows, "transformers") == ["PASS"]
    assert verdicts(rows, "known answer") == ["PASS", "PASS", "PASS", "SKIP"]
    assert "the tokens of 16 of 16 cases are equal" in text
    assert "absent.jpg is not there: put it into a folder, name that with --pictures=DIR" in text
    assert "name the published vae-oid.npz with --mask-decoder=FILE" in text
    assert "verdict: served right" in rows[-1][0]


def test_another_models_answers_fail(checkpoint: Path, tmp_path: Path) -> None:
    """The bundle is of other weights than the checkpoint, so that neither transformers nor the known answers agree."""
    answers = answers_file(tmp_path, {"advisory": True}, [])
    other = random_model(tmp_path, SEED + 1)[1]
    code, rows, text = verify(checkpoint, f"--bundle={other}", f"--answers={answers}", f"--pictures={GOLDENS}")
    assert code == 1, text
    assert verdicts(rows, "transformers") == ["FAIL"]
    assert verdicts(rows, "known answer") == ["NOTE", "NOTE", "NOTE"]
    assert "verdict: NOT served right" in rows[-1][0]


def test_a_wrong_answer_fails(checkpoint: Path, tmp_path: Path) -> None:
    answers = answers_file(tmp_path, {"equals": "another answer"}, [])
    code, rows, text = verify(checkpoint, f"--answers={answers}", f"--pictures={GOLDENS}")
    assert code == 1 and verdicts(rows, "known answer") == ["FAIL"] * 3, text
    assert verdicts(rows, "transformers") == ["PASS"]


def test_a_tampered_file_fails_before_anything_is_served(checkpoint: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad-pt"
    shutil.copytree(checkpoint, bad)
    weights = bad / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, rows, text = verify(bad)
    assert code == 1 and verdicts(rows, "export") == ["FAIL"] and verdicts(rows, "serve") == [], text
    assert "model.safetensors" in rows[0][2]


@pytest.fixture(scope="module")
def npz(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights in the other published layout."""
    folder = tmp_path_factory.mktemp("npz")
    np.savez(folder / "tiny-pt.npz", **as_npz(HuggingFaceSource(checkpoint)))
    shutil.copy(checkpoint / "tokenizer.model", folder)
    return folder / "tiny-pt.npz"


def test_an_npz_is_compared_with_transformers(checkpoint: Path, npz: Path) -> None:
    code, rows, text = verify(npz, f"--query-scale={QUERY_SCALE}", f"--reference={checkpoint}")
    assert code == 0 and verdicts(rows, "transformers") == ["PASS"], text
    assert "the tokens of 4 of 4 cases are equal" in text and "same code" not in text
    code, rows, text = verify(npz, f"--query-scale={QUERY_SCALE}")  # written as a Hugging Face folder
    assert code == 0 and verdicts(rows, "transformers") == ["PASS"], text
    assert "both sides read the npz with the same code: --reference=DIR names the model's Hugging Face folder" in text


def test_an_npz_of_another_model_fails(npz: Path, tmp_path: Path) -> None:
    other = random_model(tmp_path, SEED + 1)[0]
    code, rows, text = verify(npz, f"--query-scale={QUERY_SCALE}", f"--reference={other}")
    assert code == 1 and verdicts(rows, "transformers") == ["FAIL"], text


def test_answers_beyond_the_window_are_compared_without_one(tmp_path: Path) -> None:
    """In tiny-c transformers forgets what lies more than 8 tokens back; the server does not, nor did training."""
    code, rows, text = verify(random_model(tmp_path, 1, "tiny-c")[0])
    assert code == 0 and verdicts(rows, "transformers") == ["PASS"], text


def test_a_file_that_is_not_there_is_a_usage_error(checkpoint: Path) -> None:
    code, _, text = verify(checkpoint, "--mask-decoder=absent.npz")
    assert code == 2 and "absent.npz does not exist" in text
