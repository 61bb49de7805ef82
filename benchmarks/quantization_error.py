# SPDX-License-Identifier: Apache-2.0
"""What each recipe of --quantize, and each type of page, changes in a model of the 3B's widths with random weights and
fewer layers.

Prints two Markdown tables, all errors relative to the same weights in float32: the vision tower's output, the residual
stream after each decoder layer, and the logits of a prompt, for each recipe; and the logits of tokens decoded one by
one over bfloat16 and int8 pages. Weights are independent of each other here, so nothing averages out and nothing was
trained to bear it: recipes compare, absolute losses do not.

Usage: PYTHONPATH=export python benchmarks/quantization_error.py [--layers=4] [--vocab=16384] [--attention-std=4]
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from paligemma_export import kernels_decoder, kernels_sample, kernels_vision
from paligemma_export.architecture import geometry
from paligemma_export.convert import QUANTIZATIONS, Converter
from paligemma_export.modules import Decoder, Vision
from paligemma_export.progress import Progress
from paligemma_export.quantization import decode
from paligemma_export.random_weights import RandomSource
from paligemma_export.runner import Runner
from paligemma_export.scratch import Scratch
from torch import Tensor

TEXT = [2, *range(300, 310), 108]  # begin, a question, newline
DECODED = 16  # tokens
RECIPES = [(name, None) for name in QUANTIZATIONS[1:]] + [("int8", "int8")]  # and the tower's encoding


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def fast_linear(x: Tensor, data: Tensor, scale: Tensor, aux: Tensor) -> Tensor:
    """quantization.linear with the same operands, summed in float32: a millionth of the errors that are looked for."""
    if data.dtype in (torch.int8, torch.uint8):
        row_scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-30) / 127.0
        return (torch.round(x / row_scale) @ decode(data, scale).t()) * row_scale
    return x @ decode(data, scale).t()


class Case:
    """One image and prompt through the modules of one recipe."""

    def __init__(self, options: argparse.Namespace, scratch: Path):
        base = geometry("3b-224")
        vision = dataclasses.replace(base.vision, layers=options.layers)
        self.numbers = dataclasses.replace(base, layers=options.layers, vocab=options.vocab, vision=vision)
        self.source = RandomSource(self.numbers, 0, "float32", Scratch(scratch), options.attention_std)
        self.scratch = scratch
        size = vision.image_size
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand((1, 3, 12, 12), generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
        self.pixels = (smooth * 255).permute(0, 2, 3, 1).contiguous().to(torch.uint8)
        self.tokens = torch.randint(300, options.vocab, (DECODED,), generator=generator).tolist()

    def modules(self, recipe: str, tower: str | None = None) -> tuple[Vision, Decoder]:
        progress = Progress("", 1, enabled=False)
        converter = Converter(self.source, "float32", recipe, Scratch(self.scratch), progress, tower)
        return converter.vision(), converter.decoder()

    def runner(self, decoder: Decoder, image_rows: Tensor, kv_dtype: torch.dtype = torch.float32) -> Runner:
        numbers, positions = self.numbers, image_rows.size(0) + len(TEXT) + DECODED
        return Runner(decoder, numbers.layers, numbers.kv_heads, numbers.head_dim, positions, kv_dtype)

    def prompt(self, decoder: Decoder, image_rows: Tensor) -> tuple[list[Tensor], Tensor]:
        """The residual stream after each layer, and the logits of all rows."""
        arguments = self.runner(decoder, image_rows).prompt_arguments(image_rows, TEXT, last_only=False)
        return decoder.trace(*arguments)[1:], decoder.logits(decoder.forward(*arguments))

    def decoded(self, decoder: Decoder, image_rows: Tensor, kv_dtype: torch.dtype) -> Tensor:
        """The logits of DECODED given tokens behind the prompt, one step each."""
        runner = self.runner(decoder, image_rows, kv_dtype)
        decoder.forward(*runner.prompt_arguments(image_rows, TEXT))
        first = image_rows.size(0) + len(TEXT)
        steps = [decoder.forward(*runner.step_arguments(image_rows, token, first + i))
                 for i, token in enumerate(self.tokens)]
        return decoder.logits(torch.cat(steps))


def recipe_lines(case: Case, exact_rows: Tensor, exact: Decoder) -> Iterator[str]:
    exact_states, exact_logits = case.prompt(exact, exact_rows)
    layers = [f"layer {layer + 1}" for layer in range(len(exact_states))]
    yield "| recipe | vision | " + " | ".join(layers) + " | logits | logits, own vision | same arg-max |"
    yield "|---" * (len(layers) + 5) + "|"
    for recipe, tower in RECIPES:
        vision, decoder = case.modules(recipe, tower)
        rows = vision(case.pixels)
        states, logits = case.prompt(decoder, exact_rows)
        both = case.prompt(decoder, rows)[1]
        same = (both.argmax(1) == exact_logits.argmax(1)).float().mean()
        errors = [relative(rows, exact_rows)]
        errors += [relative(found, expected) for found, expected in zip(states, exact_states, strict=True)]
        errors += [relative(logits, exact_logits), relative(both, exact_logits)]
        cells = " | ".join(f"{100 * error:.2f} %" for error in errors)
        yield f"| {recipe}{', tower int8' if tower else ''} | {cells} | {100 * same:.1f} % |"


def page_lines(case: Case, exact_rows: Tensor, exact: Decoder) -> Iterator[str]:
    expected = case.decoded(exact, exact_rows, torch.float32)
    yield f"\n| pages | logits of {DECODED} decoded tokens | same arg-max |\n|---|---|---|"
    for kv_dtype in (torch.bfloat16, torch.int8):
        logits = case.decoded(exact, exact_rows, kv_dtype)
        same = (logits.argmax(1) == expected.argmax(1)).float().mean()
        name = str(kv_dtype).removeprefix("torch.")
        yield f"| {name} | {100 * relative(logits, expected):.2f} % | {100 * same:.1f} % |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocab", type=int, default=16384)
    parser.add_argument("--attention-std", type=float, default=4.0)
    options = parser.parse_args()
    for kernels in (kernels_decoder, kernels_sample, kernels_vision):
        kernels.linear = fast_linear
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        case = Case(options, Path(scratch))
        vision, decoder = case.modules("none")
        exact_rows = vision(case.pixels)
        for lines in (recipe_lines, page_lines):
            for line in lines(case, exact_rows, decoder):
                print(line, flush=True)


if __name__ == "__main__":
    main()
