# SPDX-License-Identifier: Apache-2.0
"""What each recipe of --quantize changes in a model of the 3B's widths with random weights and fewer layers.

Prints a Markdown table: the relative error of the vision tower's output, of the residual stream after each decoder
layer, and of the logits, against the same weights in float32, with the reference kernels. Weights are independent of
each other here, so nothing averages out and nothing was trained to bear it: recipes compare, absolute losses do not.

Usage: PYTHONPATH=export python benchmarks/quantization_error.py [--layers=4] [--vocab=16384] [--attention-std=4]
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import torch
from paligemma_export.architecture import geometry
from paligemma_export.convert import QUANTIZATIONS, Converter
from paligemma_export.modules import Decoder, Vision
from paligemma_export.progress import Progress
from paligemma_export.random_weights import RandomSource
from paligemma_export.runner import Runner
from paligemma_export.scratch import Scratch
from torch import Tensor

TEXT = [2, *range(300, 310), 108]  # begin, a question, newline


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


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

    def modules(self, recipe: str) -> tuple[Vision, Decoder]:
        progress = Progress("", 1, enabled=False)
        converter = Converter(self.source, "float32", recipe, Scratch(self.scratch), progress)
        return converter.vision(), converter.decoder()

    def run(self, decoder: Decoder, image_rows: Tensor) -> tuple[list[Tensor], Tensor]:
        """The residual stream after each layer, and the logits of all rows."""
        numbers = self.numbers
        runner = Runner(decoder, numbers.layers, numbers.kv_heads, numbers.head_dim, positions=image_rows.size(0) + 16)
        arguments = runner.prompt_arguments(image_rows, TEXT, last_only=False)
        return decoder.trace(*arguments)[1:], decoder.logits(decoder.forward(*arguments))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocab", type=int, default=16384)
    parser.add_argument("--attention-std", type=float, default=4.0)
    options = parser.parse_args()
    layers = [f"layer {layer + 1}" for layer in range(options.layers)]
    print("| recipe | vision | " + " | ".join(layers) + " | logits | logits, own vision | same arg-max |")
    print("|---" * (len(layers) + 5) + "|")
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        case = Case(options, Path(scratch))
        vision, decoder = case.modules("none")
        exact_rows = vision(case.pixels)
        exact_states, exact_logits = case.run(decoder, exact_rows)
        for recipe in QUANTIZATIONS[1:]:
            vision, decoder = case.modules(recipe)
            rows = vision(case.pixels)
            states, logits = case.run(decoder, exact_rows)
            both = case.run(decoder, rows)[1]
            same = (both.argmax(1) == exact_logits.argmax(1)).float().mean()
            errors = [relative(rows, exact_rows)]
            errors += [relative(found, exact) for found, exact in zip(states, exact_states, strict=True)]
            errors += [relative(logits, exact_logits), relative(both, exact_logits)]
            cells = " | ".join(f"{100 * error:.2f} %" for error in errors)
            print(f"| {recipe} | {cells} | {100 * same:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
