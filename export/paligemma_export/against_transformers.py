# SPDX-License-Identifier: Apache-2.0
"""A bundle's greedy tokens beside those of transformers on the checkpoint that it was exported from.

Pictures go through the checkpoint's own image processor, so that its resampling and normalisation are compared too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from paligemma_export import bundle, goldens, pictures, tokenizer
from paligemma_export.bundle_source import load_module
from paligemma_export.runner import Runner

PROMPTS = ("caption en", "answer en What is in the picture?", "detect cat", "")
TOKENS = 12


@dataclass(frozen=True)
class Case:
    """One picture with one prompt, and the tokens that both sides give."""

    picture: str
    prompt: str
    ours: list[int]
    theirs: list[int]

    @property
    def first_difference(self) -> int | None:
        """The step from which on the tokens differ; None if they do not."""
        if self.ours == self.theirs:
            return None
        pairs = enumerate(zip(self.ours, self.theirs, strict=False))
        return next((step for step, (a, b) in pairs if a != b), min(len(self.ours), len(self.theirs)))


def is_installed() -> bool:
    try:
        import transformers  # noqa: F401
    except ImportError:
        return False
    return True


def bytes_needed(content: dict[str, Any]) -> int:
    """Memory of both models at once: transformers' in float32 and the bundle's own, mapped from its file."""
    stored = sum(entry["size"] for entry in content["files"].values())
    width = 2 if content["dtype"] == "bfloat16" else 4
    return 4 * stored // width + stored


def bytes_available() -> int | None:
    """Of the machine; None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


@torch.inference_mode()
def compare(checkpoint: Path, path: Path) -> Iterator[Case]:
    """Every prompt on two pictures."""
    content = bundle.read_manifest(path)
    words = tokenizer.load((path / "tokenizer.model").read_bytes())
    model = load_model(checkpoint, windows=content["window_mode"] != "none")
    processor = image_processor(checkpoint, content["image"]["size"])
    vision, decoder = load_module(path, "vision.pt"), load_module(path, "decoder.pt")
    for name, image in list(goldens.pictures().items())[:2]:
        features = vision(pictures.prepared(image, content["image"]))
        values = processor(image.convert("RGB"), return_tensors="pt")["pixel_values"]
        for prompt in PROMPTS:
            text = [content["tokens"]["bos"], *words.encode(prompt), content["tokens"]["newline"]]
            runner = Runner.of_manifest(decoder, content, positions=features.size(0) + len(text) + TOKENS)
            ours = runner.generate(features, text, TOKENS).token_ids
            yield Case(name, prompt, ours, generate(model, values, text, content, TOKENS))


def load_model(checkpoint: Path, windows: bool) -> Any:
    """transformers' model, with eager attention and in float32. It forgets the start of long sequences on every other
    layer, as the model was not trained; with `windows` false it does not."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    config = transformers.AutoConfig.from_pretrained(checkpoint, local_files_only=True)
    if not windows:
        config.text_config.layer_types = ["full_attention"] * config.text_config.num_hidden_layers
    return transformers.PaliGemmaForConditionalGeneration.from_pretrained(
        checkpoint, config=config, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()


def image_processor(checkpoint: Path, size: int) -> Any:
    """transformers' own, with the fields that the checkpoint's files set."""
    import transformers

    for name in ("processor_config.json", "preprocessor_config.json"):
        if (checkpoint / name).exists():
            fields = json.loads((checkpoint / name).read_text(encoding="utf-8"))
            fields = fields.get("image_processor") if name.startswith("processor") else fields
            if isinstance(fields, dict):
                fields = {key: value for key, value in fields.items() if value is not None}
                return transformers.SiglipImageProcessor(**{"size": {"height": size, "width": size}, **fields})
    return transformers.SiglipImageProcessor(size={"height": size, "width": size})


def generate(model: Any, values: torch.Tensor, text: list[int], content: dict[str, Any], limit: int) -> list[int]:
    """transformers' greedy tokens without the end of sequence; rows behind the vocabulary are suppressed."""
    ids = torch.tensor([[model.config.image_token_id] * content["image"]["tokens"] + text])
    tokens = content["tokens"]
    ends = [tokens["eos"], *tokens.get("more_eos", [])]
    padding = range(tokens["vocab"], model.get_input_embeddings().num_embeddings)
    output = model.generate(
        input_ids=ids,
        pixel_values=values,
        attention_mask=torch.ones_like(ids),
        token_type_ids=torch.zeros_like(ids),
        do_sample=False,
        max_new_tokens=limit,
        suppress_tokens=[*tokens.get("suppressed", []), *padding] or None,
        eos_token_id=ends,
        pad_token_id=tokens["pad"],
    )
    found = output[0, ids.size(1) :].tolist()
    return found[: next((at for at, token in enumerate(found) if token in ends), len(found))]
