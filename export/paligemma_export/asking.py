# SPDX-License-Identifier: Apache-2.0
"""A bundle asked about a picture in plain Python: Pillow, sentencepiece and the reference kernels, no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from paligemma_export import bundle, tokenizer
from paligemma_export.bundle_source import load_module
from paligemma_export.errors import ExportError
from paligemma_export.runner import Runner

LIMIT = 256  # answered tokens


class Asker:
    """Holds the modules of the bundle `path`."""

    def __init__(self, path: Path):
        self._content: dict[str, Any] = bundle.read_manifest(path)
        self._words = tokenizer.load((path / "tokenizer.model").read_bytes())
        self._vision, self._decoder = load_module(path, "vision.pt"), load_module(path, "decoder.pt")

    @torch.inference_mode()
    def answer(self, picture: Path, prompt: str) -> str:
        """The greedy answer to a task prompt as the model reads it, such as "caption en", coordinates and masks as
        <loc> and <seg> tokens: what the server returns as raw_text."""
        features = self._vision(squashed(opened(picture), self._content["image"]["size"]))
        text = [tokenizer.BOS, *self._words.encode(prompt), self._content["tokens"]["newline"]]
        positions = features.size(0) + len(text) + LIMIT
        runner = Runner.of_manifest(self._decoder, self._content, positions=positions)
        return self._words.decode(runner.generate(features, text, LIMIT).token_ids)


def opened(picture: Path) -> Image.Image:
    """Raises ExportError with the picture's name."""
    try:
        with Image.open(picture) as image:
            image.load()
            return image
    except OSError as error:
        raise ExportError(f"picture {picture}: {error}") from None


def squashed(image: Image.Image, size: int) -> torch.Tensor:
    """uint8 [1,size,size,3] by Pillow's bicubic filter, whatever the aspect ratio."""
    pixels = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(pixels))[None]
