# SPDX-License-Identifier: Apache-2.0
"""Checks a bundle in plain Python: hashes, attributes against the manifest, a short generation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from paligemma_export import OPERATOR_SET, bundle, manifest, operators, tokenizer
from paligemma_export.bundle_source import load_module
from paligemma_export.errors import ExportError
from paligemma_export.runner import Runner


def verify_bundle(path: Path, tokens: int) -> Iterator[str]:
    """Yields a line for each thing that holds; raises ExportError at the first that does not."""
    content = bundle.read_manifest(path)
    for name, entry in content["files"].items():
        if bundle.file_entry(path / name) != entry:
            raise ExportError(f"{path.name}/{name}: contents differ from the manifest's hashes")
        yield f"{name}: {entry['size']:,} bytes, hashes agree"
    ids = tokenizer.inspect((path / "tokenizer.model").read_bytes(), content["tokens"]["vocab"])
    required = {name: value for name, value in content["tokens"].items() if name not in manifest.OPTIONAL_TOKENS}
    if ids.block() != required:
        raise ExportError(f"{path.name}: token ids of the tokenizer differ from the manifest's")
    yield "tokenizer.model: ids agree with the manifest"
    for name in ("vision.pt", "decoder.pt"):
        check_schemas(path / name)
    with torch.inference_mode():
        yield from _run(path, content, tokens)


def check_schemas(path: Path) -> None:
    """The operators that the file was exported with must be the ones known here."""
    extra = {bundle.EXTRA_FILE: ""}
    operators.register()
    torch.jit.load(str(path), _extra_files=extra)
    tag = json.loads(extra[bundle.EXTRA_FILE])
    if tag["operators"] != OPERATOR_SET or tag["schemas"] != operators.schemas():
        raise ExportError(f"{path.name}: exported with other operators than this exporter knows")


def check_attributes(decoder: Any, vision: Any, content: dict[str, Any]) -> None:
    numbers, name = content["architecture"], content["name"]
    pairs = [("num_layers", "layers"), ("theta", "rope_theta")]
    pairs += [
        (same, same)
        for same in (
            "vocab",
            "hidden",
            "heads",
            "kv_heads",
            "head_dim",
            "eps",
            "embed_scale",
            "final_softcap",
        )
    ]
    for ours, theirs in pairs:
        if getattr(decoder, ours) != numbers[theirs]:
            raise ExportError(
                f"{name}: decoder.{ours} is {getattr(decoder, ours)}, manifest {numbers[theirs]}"
            )
    first = numbers.get("first_position", 0)
    if getattr(decoder, "first_position", 0) != first:
        raise ExportError(f"{name}: decoder.first_position is {decoder.first_position}, manifest {first}")
    for ours, expected in (
        ("patch", numbers["vision"]["patch"]),
        ("tokens", content["image"]["tokens"]),
        ("hidden", numbers["hidden"]),
        ("eps", numbers["vision"]["eps"]),
    ):
        if getattr(vision, ours) != expected:
            raise ExportError(f"{name}: vision.{ours} is {getattr(vision, ours)}, manifest {expected}")


def _run(path: Path, content: dict[str, Any], tokens: int) -> Iterator[str]:
    decoder, vision = load_module(path, "decoder.pt"), load_module(path, "vision.pt")
    check_attributes(decoder, vision, content)
    yield "modules: attributes agree with the manifest"
    size, numbers = content["image"]["size"], content["architecture"]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=generator)
    features = vision(pixels)
    if features.shape != (content["image"]["tokens"], numbers["hidden"]) or not bool(
        features.isfinite().all()
    ):
        raise ExportError(f"{path.name}: the vision tower gives {list(features.shape)} or NaN")
    yield f"vision: {list(features.shape)}, standard deviation {features.std():.3f}"
    text = [content["tokens"]["bos"], content["tokens"]["newline"]]
    runner = Runner.of_manifest(decoder, content, positions=features.size(0) + len(text) + tokens)
    answer = runner.generate(features, text, tokens, keep_logits=True)
    if not all(bool(row.isfinite().all()) for row in answer.logits):
        raise ExportError(f"{path.name}: the decoder gives NaN or infinity")
    yield f"decoder: tokens {answer.token_ids} ({answer.finish}) from noise and an empty prompt"
    if "mask_decoder.pt" in content["files"]:
        masks = load_module(path, "mask_decoder.pt")(torch.arange(32, dtype=torch.int32).view(2, 16) * 4)
        if masks.shape != (2, 64, 64) or not bool(masks.isfinite().all()):
            raise ExportError(f"{path.name}: the mask decoder gives {list(masks.shape)} or NaN")
        yield f"mask decoder: {list(masks.shape)}, {(masks > 0).float().mean():.0%} inside"
