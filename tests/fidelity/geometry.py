# SPDX-License-Identifier: Apache-2.0
"""One exported geometry beside its references: transformers (eager, float32) and the model written in NumPy."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import ROOT, Probe
from PIL import Image

sys.path += [str(ROOT / "export"), str(ROOT / "tests/export")]

from numpy_model import NumpyModel  # noqa: E402
from paligemma_export import bundle, goldens  # noqa: E402
from paligemma_export.pictures import squashed  # noqa: E402

TOLERANCE = 1e-4  # of the largest value of a tensor
MODEL_PROBE = ROOT / "build/release/bin/model_probe"
Tensors = dict[str, np.ndarray]


def pictures() -> dict[str, Image.Image]:
    """The goldens' pictures, a photograph, and noise."""
    noise = np.random.default_rng(3).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    photograph = Image.open(ROOT / "tests/data/cat.jpg").convert("RGB")
    return goldens.pictures() | {"cat.jpg": photograph, "noise.png": Image.fromarray(noise)}


@dataclass
class Case:
    """A picture, a prompt, and what transformers says to it."""

    picture: str
    pixels: torch.Tensor  # uint8 [1, S, S, 3]
    prompt: list[int]
    tokens: list[int]  # EOS included
    logits: np.ndarray  # [len(tokens), vocab], soft-capped


@dataclass
class Model:
    """A geometry on disk: the checkpoint in transformers, the bundle behind the probe."""

    name: str
    directory: Path
    reference: goldens.Reference
    probe: Probe
    bundle: str = "bundle"  # the probe's folder

    @property
    def manifest(self) -> dict[str, Any]:
        """Of the bundle."""
        return bundle.read_manifest(self.directory / self.bundle)

    def pixel_file(self, pixels: torch.Tensor) -> str:
        """Where the probe finds these pixels."""
        file = self.directory / f"{hash(pixels.numpy().tobytes()):x}.rgb"
        file.write_bytes(pixels.numpy().tobytes())
        return str(file)

    def ask(self, picture: str, image: Image.Image, prompt: str, steps: int) -> Case:
        """transformers' greedy tokens and their logits."""
        reference, model = self.reference, self.reference.model
        pixels = squashed(image, model.config.vision_config.image_size)
        ids = reference.prompt_ids(prompt)
        given = goldens.inputs(reference, pixels, ids)
        padding = list(range(reference.vocab, model.config.text_config.vocab_size))
        found = model.generate(
            **given, do_sample=False, max_new_tokens=steps, suppress_tokens=padding, eos_token_id=goldens.EOS,
            pad_token_id=0, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        tokens = found.sequences[0, given["input_ids"].size(1) :].tolist()
        logits = torch.cat(found.logits)[: len(tokens), : reference.vocab].numpy()
        return Case(picture, pixels, ids, tokens, goldens.cap(logits, reference.final_softcap))

    def ours(self, case: Case, output: list[int]) -> Tensors:
        """Vision features, the state of every row after each layer, and the logits after each token of `output`."""
        out = self.directory / "trace.f32"
        answer = self.probe.ask(
            "trace", pixels=self.pixel_file(case.pixels), prompt=case.prompt, output=output, out=str(out)
        )
        values, at, result = np.fromfile(out, np.float32), 0, {}
        for name, shape in answer["tensors"]:
            result[name] = values[at : at + math.prod(shape)].reshape(shape)
            at += math.prod(shape)
        out.unlink()
        return result

    def transformers(self, case: Case, output: list[int]) -> Tensors:
        """The same of transformers: the prompt sees itself, the output what came before."""
        model, last = self.reference.model, []
        given = goldens.inputs(self.reference, case.pixels, case.prompt)
        own = torch.tensor([output], dtype=torch.long)
        given["input_ids"] = torch.cat([given["input_ids"], own], 1)
        given["attention_mask"] = torch.ones_like(given["input_ids"])
        given["token_type_ids"] = torch.cat([given["token_type_ids"], torch.ones_like(own)], 1)
        layer = model.model.language_model.layers[-1]
        # transformers replaces the last layer's output by the final norm's.
        handle = layer.register_forward_hook(lambda _m, _i, out: last.append(out[0] if type(out) is tuple else out))
        found = model(**given, output_hidden_states=True, logits_to_keep=len(output) + 1)
        handle.remove()
        result = {"vision": model.model.get_image_features(given["pixel_values"]).pooler_output.flatten(0, 1).numpy()}
        for index, state in enumerate([*found.hidden_states[:-1], last[0]]):
            result[f"state.{index}"] = state.reshape(-1, state.size(-1)).numpy()
        result["final_norm"] = found.hidden_states[-1][0, -len(output) - 1 :].numpy()
        logits = found.logits[0, :, : self.reference.vocab].numpy()
        return result | {"logits": goldens.cap(logits, self.reference.final_softcap)}

    def numpy(self, case: Case, output: list[int]) -> Tensors:
        """The same of the model written in NumPy, float64."""
        model = NumpyModel(self.directory / "checkpoint", self.manifest["architecture"])
        image = model.vision(case.pixels[0].numpy())
        states = model.states(image, case.prompt, output)
        normed, logits = model.read_out(states[-1][-len(output) - 1 :])
        result = {"vision": image} | {f"state.{index}": state for index, state in enumerate(states)}
        return result | {"final_norm": normed, "logits": logits}


def deviation(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def compare(found: Tensors, expected: Tensors, what: str) -> float:
    """The worst deviation; fails naming the first tensor, in order of computation, that is wrong."""
    assert found.keys() == expected.keys()
    worst = 0.0
    for name, value in found.items():
        off = deviation(value, expected[name])
        assert off <= TOLERANCE, f"{what}: the first wrong tensor is {name}, off by {off:.1e}"
        worst = max(worst, off)
    return worst


def counts(case: Case, cases: list[Case]) -> bool:
    """Whether a case proves something: its tokens vary, and another picture has others."""
    others = [other for other in cases if other.prompt == case.prompt and other.picture != case.picture]
    return len(set(case.tokens)) > 1 and all(other.tokens != case.tokens for other in others)


def load(name: str, directory: Path, isa: str = "auto") -> Probe:
    """The probe of a bundle."""
    return Probe(str(MODEL_PROBE), str(directory / name), isa)


@contextmanager
def make_model(name: str, directory: Path, seed: int) -> Iterator[Model]:
    """Exports random weights, and loads them into transformers and the probe."""
    checkpoint, _ = goldens.build(name, directory, seed=seed)
    probe = load("bundle", directory)
    try:
        yield Model(name, directory, goldens.load_reference(checkpoint), probe)
    finally:
        probe.close()


def blocks(manifest: dict[str, Any], count: int, text: int, block_size: int) -> int:
    """KV blocks that `count` sequences with `text` tokens of prompt and output need."""
    return count * -(-(manifest["image"]["tokens"] + text) // block_size)
