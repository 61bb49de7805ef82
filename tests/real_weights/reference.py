# SPDX-License-Identifier: Apache-2.0
"""Greedy tokens of transformers (eager attention, float32) on a checkpoint, in a process of its own.

Reads a request from standard input: {checkpoint, bundle, tokens, cases: [{picture, prompt}]}; writes the token lists of
the cases to standard output, one JSON list. The process ends before the server starts, so that only one of the two
holds the weights.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from PIL import Image, ImageOps


def pixel_values(path: Path, size: int) -> torch.Tensor:
    """[1, 3, size, size] as the slow image processor of transformers makes them."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    levels = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy((levels / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]


def answer(request: dict[str, Any]) -> list[list[int]]:
    """The tokens of every case, without the end of sequence."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    bundle = Path(request["bundle"])
    manifest = json.loads((bundle / "manifest.json").read_text())
    tokens, image = manifest["tokens"], manifest["image"]
    words = sentencepiece.SentencePieceProcessor(model_file=str(bundle / "tokenizer.model"))
    model = transformers.PaliGemmaForConditionalGeneration.from_pretrained(
        request["checkpoint"], dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
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
    with torch.no_grad():
        print(json.dumps(answer(json.load(sys.stdin))))
