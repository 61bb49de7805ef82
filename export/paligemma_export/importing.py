# SPDX-License-Identifier: Apache-2.0
"""One command from a checkpoint to a server: inspect, export, verify, and the command that serves the bundle."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from paligemma_export import against_transformers, bundle, mask_decoder, planning
from paligemma_export.errors import ExportError
from paligemma_export.fields.rules import Decisions
from paligemma_export.identify import checkpoint_at
from paligemma_export.verify import verify_bundle

STEPS = ("reading the checkpoint", "writing the bundle", "checking the bundle", "comparing with transformers")


def _step(number: int) -> None:
    print(f"[{number}/{len(STEPS)}] {STEPS[number - 1]}", file=sys.stderr, flush=True)


def run(arguments: argparse.Namespace, options: bundle.Options) -> None:
    """Does all of it. Raises ExportError at the first thing that is wrong; the bundle of a failed comparison stays, so
    that it can be looked at."""
    _step(1)
    checkpoint, target = checkpoint_at(arguments.checkpoint), Path(arguments.output)
    if target.exists():
        raise ExportError(f"{target} already exists")
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".paligemma-", dir=target.absolute().parent) as scratch:
        plan = planning.make(checkpoint, Path(scratch), arguments)
        planning.fill(options, plan, arguments)
        masks = mask_decoder.load(Path(arguments.mask_decoder))[0] if arguments.mask_decoder else None
        _step(2)
        content = bundle.write(target, plan.source, plan.tokenizer_model, options, masks)
    _step(3)
    for line in verify_bundle(target, tokens=4):
        print(f"  {line}", file=sys.stderr, flush=True)
    _step(4)
    verdict, equal = _compare(checkpoint, target, content, arguments)
    print(summary(content, checkpoint, plan.decisions, verdict))
    if not equal:
        raise ExportError(f"{target}: {verdict}; do not serve it before you know why")
    print(f"\nServe it:\n  paligemma-server --model={target}")


def _compare(
    checkpoint: Path, target: Path, content: dict[str, Any], arguments: argparse.Namespace
) -> tuple[str, bool]:
    """(what came of the comparison, False if the bundle is wrong)."""
    if arguments.no_compare:
        return "not compared with transformers: --no-compare", True
    if arguments.adapter:
        return "not compared with transformers, which would need peft and the adapter", True
    if not checkpoint.is_dir():
        return "not compared with transformers, which does not read big_vision archives", True
    if not against_transformers.is_installed():
        return "not compared: transformers is not installed", True
    needed, available = against_transformers.bytes_needed(content), against_transformers.bytes_available()
    if available is not None and needed > available:
        return (
            f"not compared with transformers: both models take {needed / 1e9:.0f} GB, {available / 1e9:.0f} are free",
            True,
        )
    cases = list(against_transformers.compare(checkpoint, target))
    equal = [case for case in cases if case.first_difference is None]
    told = f"the first {against_transformers.TOKENS} tokens of {len(equal)} of {len(cases)} cases equal transformers'"
    if len(equal) == len(cases):
        return told, True
    worst = min((case for case in cases if case not in equal), key=lambda case: case.first_difference or 0)
    told += f" ({worst.picture}, {worst.prompt!r} differs from step {worst.first_difference} on)"
    if content["quantization"] != "none" or content["dtype"] != "float32":
        return f"{told}; {content['dtype']}, {content['quantization']} quantisation: rounding may turn near ties", True
    return told, False


def summary(content: dict[str, Any], checkpoint: Path, decisions: Decisions, verdict: str) -> str:
    """Everything that was decided, line by line."""
    numbers, image, limits = content["architecture"], content["image"], content["limits"]
    size = sum(entry["size"] for entry in content["files"].values())
    recipe = ", ".join(f"{part} {encoding}" for part, encoding in content["recipe"].items())
    rows = [
        ("checkpoint", str(checkpoint)),
        ("bundle", f"{content['name']}, format {content['format']}, {size / 1e6:.1f} MB"),
        ("model", f"{numbers['layers']} layers of width {numbers['hidden']}, {numbers['vocab']} tokens"),
        ("weights", f"{content['dtype']}; {recipe}"),
        ("pictures", f"{image['size']} x {image['size']}, {image['resampling']}, {image['padding']}, "
                     f"at most {image['max_count']} in a request"),
        ("attention", f"window mode {content['window_mode']}, soft-cap {numbers['attention_softcap']:g}, of the "
                      f"logits {numbers['final_softcap']:g}, positions from {numbers['first_position']}"),
        ("limits", f"{limits['max_input_tokens']} tokens in, {limits['max_output_tokens']} out, "
                   f"{numbers['max_positions']} positions, {limits['max_labels']} labels"),
    ]  # fmt: skip
    for name, method in content["methods"].items():
        prompts = [*method.get("prompts", {}).values(), *([method["prompt"]] if "prompt" in method else [])]
        shown = " or ".join(repr(prompt) for prompt in prompts) or "any prompt"
        rows.append((name, f"{shown}, {method['default_tokens']} tokens, at most {method['max_tokens']}"))
    if "segment" not in content["methods"]:
        rows.append(("segment", "not offered: name the mask decoder with --mask-decoder=vae-oid.npz"))
    rows += [("note", note) for note in decisions.notes]
    rows += [("license", content["provenance"]["license"]), ("check", verdict)]
    return "\n".join(f"{name:<11} {text}" for name, text in rows)
