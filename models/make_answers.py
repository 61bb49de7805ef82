# SPDX-License-Identifier: Apache-2.0
"""Writes models/tiny-a/demo.json: what transformers says of the demo's photograph, for every RPC.

Run once when the tiny bundle changes: PYTHONPATH=export python models/make_answers.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from paligemma_export import goldens
from paligemma_export.architecture import geometry
from paligemma_export.asking import squashed
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PHOTO = "tests/data/cat.jpg"
TOKENS = 24
NOTE = (
    "This model is tiny and its weights are random: its words are noise. "
    "What is checked is that every token is the one that the reference implementation computes."
)
# RPC, what the client is asked, the prompt that makes of it
ASKS = [
    ("Caption", ["caption", PHOTO], "caption en"),
    ("Caption", ["caption", PHOTO, "--length=long", "--language=de"], "describe de"),
    ("Answer", ["answer", PHOTO, "what colour is the cat?"], "answer en what colour is the cat?"),
    ("Detect", ["detect", PHOTO, "animal", "--overlay=demo-out/detect.png"], "detect animal"),
    ("Segment", ["segment", PHOTO, "cat", "--overlay=demo-out/segment.png"], "segment cat"),
    ("ReadText", ["read", PHOTO], "ocr"),
    ("Generate", ["generate", PHOTO, "where is the cat?", "--logprobs=0"], "where is the cat?"),
]


def main() -> None:
    """Asks the reference and writes the file."""
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint, _ = goldens.build("tiny-a", Path(scratch))
        reference = goldens.load_reference(checkpoint)
        pixels = squashed(Image.open(ROOT / PHOTO), geometry("tiny-a").vision.image_size)
        asks = []
        for rpc, arguments, prompt in ASKS:
            tokens, _ = goldens.generate(reference, pixels, reference.prompt_ids(prompt), TOKENS)
            ask = {"rpc": rpc, "arguments": [*arguments, f"--max-tokens={TOKENS}"],
                   "expect": reference.processor.decode(tokens)}
            if rpc == "Generate":
                ask["token_ids"] = tokens
            asks.append(ask)
    target = ROOT / "models/tiny-a/demo.json"
    target.write_text(json.dumps({"note": NOTE, "asks": asks}, indent=1, ensure_ascii=False) + "\n")
    print(f"{target.relative_to(ROOT)}: {len(asks)} questions")


if __name__ == "__main__":
    main()
