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

import numpy as np
import sentencepiece
import torch
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "export"))

from paligemma_export import checkpoint_writer  # noqa: E402
from paligemma_export.big_vision import BigVisionSource  # noqa: E402


def pixel_values(path: Path, size: int) -> torch.Tensor:
    """[1, 3, size, size] as the slow image processor of transformers makes them."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    levels = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy((levels / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]


def as_folder(checkpoint: Path, tokenizer: Path, query_scale: float | None, work: Path) -> Path:
    """The checkpoint as transformers reads it."""
    if checkpoint.is_dir():
        return checkpoint
    folder = work / "checkpoint"
    folder.mkdir()
    source = BigVisionSource(checkpoint, work, query_scale=query_scale)
    checkpoint_writer.write(folder, source, tokenizer.read_bytes(), quiet=True)
    return folder


def load(checkpoint: Path, windows: bool) -> Any:
    """transformers' model. It forgets the start of long sequences on every other layer, as the model was not trained;
    with `windows` false it does not."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    config = transformers.AutoConfig.from_pretrained(checkpoint, local_files_only=True)
    if not windows:
        config.text_config.layer_types = ["full_attention"] * config.text_config.num_hidden_layers
    return transformers.PaliGemmaForConditionalGeneration.from_pretrained(
        checkpoint, config=config, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()


def answer(request: dict[str, Any], work: Path) -> list[list[int]]:
    """The tokens of every case, without the end of sequence."""
    bundle = Path(request["bundle"])
    manifest = json.loads((bundle / "manifest.json").read_text())
    tokens, image = manifest["tokens"], manifest["image"]
    words = sentencepiece.SentencePieceProcessor(model_file=str(bundle / "tokenizer.model"))
    folder = as_folder(Path(request["checkpoint"]), bundle / "tokenizer.model", request["query_scale"], work)
    model = load(folder, manifest["window_mode"] != "none")
    padding = list(range(tokens["vocab"], model.get_input_embeddings().num_embeddings))
    answers = []
    for case in request["cases"]:
        text = [tokens["bos"], *words.encode(case["prompt"]), tokens["newline"]]
        ids = torch.tensor([[model.config.image_token_id] * image["tokens"] + text])
        output = model.generate(
            input_ids=ids, pixel_values=pixel_values(Path(case["picture"]), image["size"]),
            attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids), do_sample=False,
            max_new_tokens=request["tokens"], suppress_tokens=padding, eos_token_id=tokens["eos"],
            pad_token_id=tokens["pad"],
        )  # fmt: skip
        found = output[0, ids.size(1) :].tolist()
        answers.append(found[: found.index(tokens["eos"])] if tokens["eos"] in found else found)
    return answers


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    with torch.no_grad(), tempfile.TemporaryDirectory(prefix="transformers-", dir=asked["work"]) as scratch:
        print(json.dumps(answer(asked, Path(scratch))))
