# SPDX-License-Identifier: Apache-2.0
"""Reference answers for the tiny geometries: what transformers (eager attention, float32, greedy) says.

Writes checkpoint/ (Hugging Face layout), bundle/ and goldens/ with cases.json, the pictures and, for a few cases,
activations.safetensors. Cases whose tokens are all equal, or that another picture does not change, are an error: such
a case proves nothing, and the seed must be changed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from torch import Tensor

from paligemma_export import bundle, checkpoint_writer, mask_decoder, tokenizer
from paligemma_export.architecture import geometry
from paligemma_export.errors import ExportError
from paligemma_export.huggingface import HuggingFaceSource
from paligemma_export.modules import normalisation_table
from paligemma_export.pictures import squashed
from paligemma_export.random_weights import RandomSource
from paligemma_export.scratch import Scratch

SEEDS = {"tiny-a": 8, "tiny-b": 1, "tiny-c": 1}
MAX_TOKENS = 20
EOS = 1
# method, arguments of the typed call, the prompt they make
PROMPTS: list[tuple[str, dict[str, Any], str]] = [
    ("caption", {"language": "en", "length": "short"}, "caption en"),
    ("caption", {"language": "de", "length": "long"}, "describe de"),
    (
        "answer",
        {"language": "en", "question": "what colour is the cat?"},
        "answer en what colour is the cat?",
    ),
    ("answer", {"language": "fr", "question": "combien de chats ?"}, "answer fr combien de chats ?"),
    ("detect", {"labels": ["cat", "dog"]}, "detect cat ; dog"),
    ("segment", {"labels": ["bicycle"]}, "segment bicycle"),
    ("read", {}, "ocr"),
    ("generate", {"prompt": ""}, ""),
    ("generate", {"prompt": "Größe <loc0100> 4711"}, "Größe <loc0100> 4711"),
]
ACTIVATION_CASES = 3


@dataclass
class Reference:
    """A transformers model with what its inputs need."""

    model: Any
    processor: Any  # sentencepiece
    newline: int
    vocab: int
    final_softcap: float

    def prompt_ids(self, prompt: str) -> list[int]:
        return [tokenizer.BOS, *self.processor.encode(prompt), self.newline]


def load_reference(checkpoint: Path) -> Reference:
    """The checkpoint in transformers: eager attention, float32."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.PaliGemmaForConditionalGeneration.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    data = (checkpoint / "tokenizer.model").read_bytes()
    ids = tokenizer.inspect(data)
    config = json.loads((checkpoint / "config.json").read_text())
    return Reference(
        model,
        tokenizer.load(data),
        ids.newline,
        ids.vocab,
        config["text_config"].get("final_logit_softcapping") or 0.0,
    )


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [B,S,S,3] -> f32 [B,3,S,S] as transformers takes it."""
    return normalisation_table()[pixels.long()].permute(0, 3, 1, 2)


def inputs(reference: Reference, pixels: Tensor, text_ids: list[int]) -> dict[str, Tensor]:
    vision = reference.model.config.vision_config
    tokens = (vision.image_size // vision.patch_size) ** 2 * pixels.size(0)
    ids = torch.tensor([[reference.model.config.image_token_id] * tokens + text_ids])
    return {
        "input_ids": ids,
        "pixel_values": normalise(pixels),
        "token_type_ids": torch.zeros_like(ids),
        "attention_mask": torch.ones_like(ids),
    }


def generate(reference: Reference, pixels: Tensor, text_ids: list[int], limit: int) -> tuple[list[int], str]:
    """Greedy tokens without EOS, and how they finished. Ids behind the vocabulary are suppressed."""
    model = reference.model
    prompt = inputs(reference, pixels, text_ids)
    padding = list(range(reference.vocab, model.config.text_config.vocab_size))
    output = model.generate(
        **prompt,
        do_sample=False,
        max_new_tokens=limit,
        suppress_tokens=padding,
        eos_token_id=EOS,
        pad_token_id=0,
    )
    tokens = output[0, prompt["input_ids"].size(1) :].tolist()
    if EOS in tokens:
        return tokens[: tokens.index(EOS)], "stop"
    return tokens, "length"


def activations(reference: Reference, pixels: Tensor, text_ids: list[int]) -> dict[str, Tensor]:
    """Vision features, every layer's residual, and the last position's logits with the final soft-cap applied.

    transformers replaces the last layer's output by the final norm's, so a hook catches it.
    """
    model = reference.model
    last: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        last.append(output[0] if isinstance(output, tuple) else output)

    handle = model.model.language_model.layers[-1].register_forward_hook(keep)
    output = model(**inputs(reference, pixels, text_ids), output_hidden_states=True)
    handle.remove()
    features = model.model.get_image_features(normalise(pixels)).pooler_output
    states = [*output.hidden_states[:-1], last[0]]
    result = {"vision": features.flatten(0, 1)}
    result |= {f"state.{index}": state.view(-1, state.size(-1)) for index, state in enumerate(states)}
    result["final_norm"] = output.hidden_states[-1][0, -1:]
    result["logits"] = torch.from_numpy(
        cap(output.logits[0, -1:, : reference.vocab].numpy(), reference.final_softcap)
    )
    return {name: value.contiguous().clone() for name, value in result.items()}


def cap(logits: np.ndarray, softcap: float) -> np.ndarray:
    """The final soft-cap, which transformers leaves out for this model; in float64."""
    if softcap <= 0:
        return logits
    return (np.tanh(logits.astype(np.float64) / softcap) * softcap).astype(np.float32)


def pictures() -> dict[str, Image.Image]:
    """Small deterministic pictures of several sizes: smooth, striped and blocky."""
    result = {}
    for index, (name, width, height) in enumerate(
        (("gradient.png", 64, 48), ("stripes.png", 37, 90), ("blocks.png", 120, 80))
    ):
        y, x = np.mgrid[0:height, 0:width].astype(np.float64)
        channels = []
        for channel in range(3):
            if index == 0:
                values = 255 * ((x / width) * (channel + 1) + (y / height) * (3 - channel)) / 4
            elif index == 1:
                values = 127.5 + 127.5 * np.sign(np.sin((x + (2 + channel) * y) * math.pi / 9))
            else:
                values = ((x // 20) * 53 + (y // 16) * 91 * (channel + 1)) % 256
            channels.append(values)
        result[name] = Image.fromarray(np.stack(channels, -1).clip(0, 255).astype(np.uint8), "RGB")
    return result


def build(name: str, directory: Path, seed: int | None = None) -> tuple[Path, Path]:
    """Writes checkpoint/ and bundle/ of a tiny geometry below `directory`."""
    numbers = geometry(name)
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint, target = directory / "checkpoint", directory / "bundle"
    seed = SEEDS[name] if seed is None else seed
    model = tokenizer.train(numbers.vocab)
    random = RandomSource(numbers, seed, "float32", Scratch(directory / "scratch"))
    with bundle.atomic_directory(checkpoint) as growing:
        checkpoint_writer.write(growing, random, model, quiet=True)
    (directory / "scratch").rmdir()
    source = HuggingFaceSource(checkpoint, numbers.window_mode)
    source.description, source.digest = random.description, random.digest
    masks = directory / "masks.npz"
    with torch.no_grad():
        mask_decoder.write_random(masks, seed)
        options = bundle.Options(
            name=f"paligemma2-{name}",
            languages=["en", "de", "fr"],
            max_images=2,
            quiet=True,
            display_name=f"PaliGemma 2 {name} (random weights)",
            license="Apache-2.0",
        )
        bundle.write(target, source, model, options, mask_decoder.load(masks)[0])
    return checkpoint, target


@torch.no_grad()
def make_cases(reference: Reference, images: dict[str, Image.Image]) -> list[dict[str, Any]]:
    """Every picture with every prompt; complains about cases that prove nothing."""
    size = reference.model.config.vision_config.image_size
    prepared = {name: squashed(image, size) for name, image in images.items()}
    cases = []
    for image, pixels in prepared.items():
        for index, (method, arguments, prompt) in enumerate(PROMPTS):
            ids = reference.prompt_ids(prompt)
            tokens, finish = generate(reference, pixels, ids, MAX_TOKENS)
            cases.append(
                {
                    "name": f"{image.removesuffix('.png')}-{index}-{method}",
                    "image": image,
                    "method": method,
                    "arguments": arguments,
                    "prompt": prompt,
                    "prompt_ids": ids,
                    "max_tokens": MAX_TOKENS,
                    "token_ids": tokens,
                    "finish": finish,
                    "text": reference.processor.decode(tokens),
                }
            )
    return cases


def useless(cases: list[dict[str, Any]]) -> list[str]:
    """Names of cases whose tokens are all equal or the same for another picture."""
    names = []
    for case in cases:
        others = [other for other in cases if other["prompt"] == case["prompt"] and other is not case]
        same = any(other["token_ids"] == case["token_ids"] for other in others)
        if same or (len(set(case["token_ids"])) < 2 and case["finish"] == "length"):
            names.append(case["name"])
    return names


@torch.no_grad()
def write_goldens(name: str, directory: Path) -> None:
    """The whole of it for one geometry."""
    checkpoint, target = build(name, directory)
    print(f"wrote {checkpoint} and {target}; asking transformers", flush=True)
    reference = load_reference(checkpoint)
    images = pictures()
    cases = make_cases(reference, images)
    if useless(cases):
        raise ExportError(f"goldens: cases that prove nothing: {', '.join(useless(cases))}; change the seed")
    with bundle.atomic_directory(directory / "goldens") as growing:
        for file_name, image in images.items():
            image.save(growing / file_name, optimize=True)
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
        (growing / "cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
        size = reference.model.config.vision_config.image_size
        tensors = {}
        for case in cases[:: len(cases) // ACTIVATION_CASES][:ACTIVATION_CASES]:
            found = activations(reference, squashed(images[case["image"]], size), case["prompt_ids"])
            tensors |= {f"{case['name']}/{key}": value.numpy() for key, value in found.items()}
        save_file(tensors, growing / "activations.safetensors")
    stops = sum(case["finish"] == "stop" for case in cases)
    print(f"wrote {directory / 'goldens'}: {len(cases)} cases, {stops} end by themselves")
