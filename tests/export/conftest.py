# SPDX-License-Identifier: Apache-2.0
"""Shared by the exporter's tests: the tiny models, built once a session, and their transformers twins."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "export"))

from paligemma_export import bundle, goldens  # noqa: E402
from paligemma_export.bundle_source import load_module  # noqa: E402
from paligemma_export.pictures import squashed  # noqa: E402
from paligemma_export.runner import Runner  # noqa: E402

GEOMETRIES = ("tiny-a", "tiny-b", "tiny-c")
torch.set_num_threads(1)
torch.set_grad_enabled(False)


@dataclass
class Tiny:
    """One tiny model: its files, its loaded modules, transformers' answers."""

    checkpoint: Path
    bundle: Path
    manifest: dict[str, Any]
    decoder: Any
    vision: Any
    reference: goldens.Reference
    pixels: dict[str, torch.Tensor]
    cases: list[dict[str, Any]]

    def runner(self, **options: Any) -> Runner:
        return Runner.of_manifest(self.decoder, self.manifest, **options)

    def tokens(self, case: dict[str, Any], image_scale: float = 1.0) -> list[int]:
        rows = self.vision(self.pixels[case["image"]]) * image_scale
        return self.runner().generate(rows, case["prompt_ids"], case["max_tokens"]).token_ids


def make_tiny(name: str, directory: Path) -> Tiny:
    checkpoint, target = goldens.build(name, directory)
    content = bundle.read_manifest(target)
    reference = goldens.load_reference(checkpoint)
    images = goldens.pictures()
    size = content["image"]["size"]
    return Tiny(
        checkpoint=checkpoint,
        bundle=target,
        manifest=content,
        decoder=load_module(target, "decoder.pt"),
        vision=load_module(target, "vision.pt"),
        reference=reference,
        pixels={key: squashed(image, size) for key, image in images.items()},
        cases=goldens.make_cases(reference, images),
    )


@pytest.fixture(scope="session")
def tinies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tiny]:
    return {name: make_tiny(name, tmp_path_factory.mktemp(name)) for name in GEOMETRIES}


@pytest.fixture(params=GEOMETRIES)
def tiny(request: pytest.FixtureRequest, tinies: dict[str, Tiny]) -> Tiny:
    return tinies[request.param]
