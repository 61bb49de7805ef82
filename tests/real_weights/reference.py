# SPDX-License-Identifier: Apache-2.0
"""Greedy tokens of transformers (eager attention, float32) on a checkpoint, in a process of its own.

Reads a request from standard input: {checkpoint, bundle, tokens, query_scale, work, cases: [{picture, prompt}]}; writes
the token lists of the cases to standard output, one JSON list. A big_vision npz is written as a Hugging Face folder
below `work` first. The process ends before the server starts, so that only one of the two holds the weights.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "export"))

from paligemma_export import against_transformers, checkpoint_writer  # noqa: E402
from paligemma_export.big_vision import BigVisionSource  # noqa: E402


def as_folder(checkpoint: Path, tokenizer: Path, query_scale: float | None, work: Path) -> Path:
    """The checkpoint as transformers reads it."""
    if checkpoint.is_dir():
        return checkpoint
    folder = work / "checkpoint"
    folder.mkdir()
    source = BigVisionSource(checkpoint, work, query_scale=query_scale)
    checkpoint_writer.write(folder, source, tokenizer.read_bytes(), quiet=True)
    return folder


def answer(request: dict[str, Any], work: Path) -> list[list[int]]:
    """The tokens of every case, without the end of sequence."""
    bundle = Path(request["bundle"])
    manifest = json.loads((bundle / "manifest.json").read_text())
    tokens, image = manifest["tokens"], manifest["image"]
    words = sentencepiece.SentencePieceProcessor(model_file=str(bundle / "tokenizer.model"))
    folder = as_folder(Path(request["checkpoint"]), bundle / "tokenizer.model", request["query_scale"], work)
    model = against_transformers.load_model(folder, windows=manifest["window_mode"] != "none")
    processor = against_transformers.image_processor(folder, image["size"])
    answers = []
    for case in request["cases"]:
        text = [tokens["bos"], *words.encode(case["prompt"]), tokens["newline"]]
        picture = ImageOps.exif_transpose(Image.open(case["picture"])).convert("RGB")
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
        answers.append(against_transformers.generate(model, pixels, text, manifest, request["tokens"]))
    return answers


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    with torch.no_grad(), tempfile.TemporaryDirectory(prefix="transformers-", dir=asked["work"]) as scratch:
        print(json.dumps(answer(asked, Path(scratch))))
