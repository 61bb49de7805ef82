# SPDX-License-Identifier: Apache-2.0
"""The manifest's rules, hashes, Final attributes, the command line, and the memory of a larger export."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, Tiny
from paligemma_export import bundle, cli, manifest, operators
from paligemma_export.architecture import geometries, geometry
from paligemma_export.bundle_source import load_module

MEMORY_LIMIT = 1 << 30


def change(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(content)
    *parents, last = path.split("/")
    block = content
    for name in parents:
        block = block[name]
    if value is None:
        del block[last]
    else:
        block[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("name", None, "name: missing"),
        ("name", "Bad Name", "not a lower-case label"),
        ("format", 3, "newer"),
        ("format", 0, "format: 0 is not 1 to 2"),
        ("limits/max_output_tokens", 4097, "limits.max_output_tokens: 4097 is above 4096"),
        ("image/size", "224", "image.size: wrong type"),
        ("image/tokens", 10, "image.tokens"),
        ("architecture/windows", [0], "architecture.windows"),
        ("architecture/first_position", 2, "architecture.first_position: 2 is neither 0 nor 1"),
        ("architecture/first_position", True, "architecture.first_position: True"),
        ("tokens/vocab", 5, "tokens.vocab"),
        ("dtype", "float16", "dtype"),
        ("methods/caption/languages", None, "methods.caption.languages"),
        ("methods/read/prompt", None, "methods.read.prompt: missing"),
        ("methods/translate", {}, "unknown method"),
        ("files/mask_decoder.pt", None, "needs mask_decoder.pt"),
        ("files/vision.pt", None, "files.vision.pt: missing"),
        ("files/decoder.pt/chunks", [], "not one for each 16 MiB"),
    ],
)
def test_manifest_problems_are_named(tinies: dict[str, Tiny], path: str, value: Any, problem: str) -> None:
    content = tinies["tiny-a"].manifest
    assert manifest.check(content) == []
    assert any(problem in line for line in manifest.check(change(content, path, value)))


def test_every_bundle_verifies(tiny: Tiny, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["verify", str(tiny.bundle)]) == 0
    assert "attributes agree" in capsys.readouterr().out
    extra = {bundle.EXTRA_FILE: ""}
    torch.jit.load(str(tiny.bundle / "decoder.pt"), _extra_files=extra)
    assert json.loads(extra[bundle.EXTRA_FILE]) == {"operators": 1, "schemas": operators.schemas()}
    assert not hasattr(tiny.decoder, "sample")
    assert tiny.decoder.embedding.aux.numel() == 0


def test_a_flipped_byte_is_found(
    tinies: dict[str, Tiny], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(tinies["tiny-a"].bundle, tmp_path / "b")
    data = bytearray((tmp_path / "b" / "vision.pt").read_bytes())
    data[1000] ^= 1
    (tmp_path / "b" / "vision.pt").write_bytes(data)
    assert cli.main(["verify", str(tmp_path / "b")]) == 1
    assert "vision.pt" in capsys.readouterr().err
    (tmp_path / "b" / "vision.pt").unlink()
    assert cli.main(["inspect", str(tmp_path / "b")]) == 1
    assert "vision.pt: missing" in capsys.readouterr().err


def test_a_recipe_names_a_known_encoding_for_each_part(tinies: dict[str, Tiny]) -> None:
    good = tinies["tiny-a"].manifest
    assert good["recipe"] == dict.fromkeys(("embedding", "attention", "mlp", "vision"), "float32")
    old = {name: value for name, value in good.items() if name != "recipe"}
    assert manifest.check(old) == []
    assert manifest.check(change(good, "architecture/first_position", None)) == []
    assert manifest.check({**good, "recipe": {**good["recipe"], "mlp": "int3"}}) == ["recipe.mlp: 'int3' is unknown"]
    assert manifest.check({**good, "recipe": {"mlp": "int8"}})[0] == "recipe.embedding: missing"


def test_quantize_command(tinies: dict[str, Tiny], tmp_path: Path) -> None:
    arguments = ["quantize", str(tinies["tiny-c"].bundle), "--quantize=int8", f"--output={tmp_path / 'q'}"]
    assert cli.main(arguments) == 0
    content = bundle.read_manifest(tmp_path / "q")
    assert content["name"] == "paligemma2-tiny-c-int8" and "segment" in content["methods"]
    assert content["architecture"] == tinies["tiny-c"].manifest["architecture"]
    assert load_module(tmp_path / "q", "decoder.pt").embedding.data.dtype == torch.int8
    assert cli.main(["verify", str(tmp_path / "q")]) == 0
    assert cli.main(["quantize", str(tmp_path / "q"), "--quantize=int8", f"--output={tmp_path / 'r'}"]) == 1


def test_parameter_counts_of_the_published_sizes() -> None:
    def count(name: str) -> int:
        return sum(torch.Size(shape).numel() for shape in geometry(name).tensors().values())

    assert count("3b-224") == 3_032_094_960 and count("3b-896") == 3_036_518_640
    assert count("10b-448") == 9_663_294_192 and count("28b-224") == 27_650_192_112
    assert len([name for name in geometries() if name.split("-")[0] in ("3b", "10b", "28b")]) == 9


def test_random_with_few_layers(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The other numbers stay, so that the 28B's true shapes can be tried where the whole does not fit."""
    command = ["random", "--geometry=tiny-c", "--quiet"]
    assert cli.main([*command, "--layers=2", f"--output={tmp_path / 'b'}"]) == 0
    block = bundle.read_manifest(tmp_path / "b")["architecture"]
    assert (block["layers"], block["vision"]["layers"], block["hidden"]) == (2, 2, geometry("tiny-c").hidden)
    assert cli.main([*command, "--layers=4", f"--output={tmp_path / 'c'}"]) == 1
    assert "--layers=4" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["export", "random", "quantize", "verify", "inspect", "goldens"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert "usage:" in capsys.readouterr().out


def anonymous_bytes(process: int) -> int:
    """RssAnon: resident memory that no file backs."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def test_memory_of_a_larger_export(tmp_path: Path) -> None:
    """Three times the largest tensor in float32 plus 1 GB, here for a model of 500 MB: well below its size."""
    command = [sys.executable, "-m", "paligemma_export", "random", "--geometry=middle", "--seed=1", "--quiet"]
    command += [f"--output={tmp_path / 'bundle'}", f"--checkpoint-output={tmp_path / 'checkpoint'}"]
    process = subprocess.Popen(command, env={"PYTHONPATH": str(ROOT / "export"), "OMP_NUM_THREADS": "1"})
    peak = 0

    def sample() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(0.02)

    sampler = threading.Thread(target=sample)
    sampler.start()
    assert process.wait(timeout=120) == 0
    sampler.join()
    largest = max(torch.Size(shape).numel() for shape in geometry("middle").tensors().values()) * 4
    size = (tmp_path / "bundle" / "decoder.pt").stat().st_size
    print(f"peak {peak >> 20} MiB, largest tensor {largest >> 20} MiB, decoder.pt {size >> 20} MiB")
    assert size > 250 << 20
    assert 0 < peak <= MEMORY_LIMIT // 2 + 3 * largest, "reading holds more than a few tensors"
    shutil.rmtree(tmp_path / "bundle")
    shutil.rmtree(tmp_path / "checkpoint")
