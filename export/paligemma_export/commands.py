# SPDX-License-Identifier: Apache-2.0
"""What each subcommand does; cli.py reads the arguments."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import tempfile
from pathlib import Path

from paligemma_export import bundle, checkpoint_writer, manifest, mask_decoder, planning, tokenizer
from paligemma_export.architecture import Architecture, geometry
from paligemma_export.errors import ExportError
from paligemma_export.huggingface import HuggingFaceSource
from paligemma_export.identify import checkpoint_at
from paligemma_export.random_weights import RandomSource
from paligemma_export.scratch import Scratch
from paligemma_export.source import Source


def export(arguments: argparse.Namespace) -> None:
    """Converts a checkpoint, checking every tensor's name and shape and every field of its files; a failure leaves
    nothing behind."""
    checkpoint = checkpoint_at(arguments.checkpoint)
    _refuse_existing(arguments.output)
    with tempfile.TemporaryDirectory(prefix=".paligemma-", dir=_parent(arguments.output)) as scratch:
        plan = planning.make(checkpoint, Path(scratch), arguments)
        options = _options(arguments)
        planning.fill(options, plan, arguments)
        if not arguments.quiet:
            for note in plan.decisions.notes:
                print(f"note: {note}", file=sys.stderr)
        _write_bundle(arguments, plan.source, plan.tokenizer_model, options)


def import_(arguments: argparse.Namespace) -> None:
    """Leads from a checkpoint to a server: reads and exports the checkpoint, runs the bundle, compares a few greedy
    answers with transformers if that is installed, says what was decided, and prints the command that serves it."""
    from paligemma_export import importing

    if arguments.output is None:
        stem = checkpoint_at(arguments.checkpoint).resolve().name.split(".npz")[0]
        arguments.output = str(Path("bundles") / stem)
    importing.run(arguments, _options(arguments))


def random(arguments: argparse.Namespace) -> None:
    """Makes random weights that exercise the model (see random_weights.py), for tests and benchmarks."""
    _refuse_existing(arguments.output, arguments.checkpoint_output)
    numbers = _shallow(geometry(arguments.geometry), arguments.layers)
    model = tokenizer.train(numbers.vocab)
    options = _options(arguments)
    options.license = "Apache-2.0"
    if arguments.geometry.startswith("tiny"):
        options.languages, options.max_images = ["en", "de", "fr"], 2
    with tempfile.TemporaryDirectory(prefix=".paligemma-", dir=_parent(arguments.output)) as scratch:
        source: Source = RandomSource(
            numbers,
            arguments.seed,
            arguments.dtype or "float32",
            Scratch(Path(scratch)),
            arguments.attention_std,
        )
        if arguments.checkpoint_output:
            description, digest = source.description, source.digest
            write_checkpoint(Path(arguments.checkpoint_output), source, model, arguments.quiet)
            source = HuggingFaceSource(Path(arguments.checkpoint_output), numbers.window_mode)
            source.architecture = numbers
            source.description, source.digest = description, digest
        _write_bundle(arguments, source, model, options)


def _shallow(numbers: Architecture, layers: int | None) -> Architecture:
    if layers is None:
        return numbers
    if not 1 <= layers <= min(numbers.layers, numbers.vision.layers):
        raise ExportError(f"--layers={layers} is not between 1 and the geometry's")
    return numbers.replace(layers=layers, vision=dataclasses.replace(numbers.vision, layers=layers))


def write_checkpoint(directory: Path, source: Source, model: bytes, quiet: bool) -> None:
    with bundle.atomic_directory(directory) as growing:
        checkpoint_writer.write(growing, source, model, quiet)


def quantize(arguments: argparse.Namespace) -> None:
    """Quantises a plain bundle."""
    from paligemma_export.bundle_source import BundleSource

    path = Path(arguments.bundle)
    _refuse_existing(arguments.output)
    content = bundle.read_manifest(path)
    if content["quantization"] != "none":
        raise ExportError(f"{path.name} is quantised already ({content['quantization']})")
    source = BundleSource(path, content)
    options = bundle.Options(
        name=arguments.name or f"{content['name']}-{arguments.quantize}"[:63],
        display_name=content["display_name"],
        quantization=arguments.quantize,
        vision_encoding=arguments.quantize_vision,
        resampling=content["image"]["resampling"],
        padding=content["image"]["padding"],
        max_images=content["image"]["max_count"],
        methods=content["methods"],
        output_limit=content["limits"]["max_output_tokens"],
        **{name: content["tokens"].get(name, []) for name in manifest.OPTIONAL_TOKENS},
        ignored_fields=content["provenance"].get("ignored", []),
        license=content["provenance"]["license"],
        quiet=arguments.quiet,
        travelling_files=planning.travelling_files(path),
    )
    masks = source.mask_decoder()
    bundle.write(Path(arguments.output), source, tokenizer.read(path / "tokenizer.model"), options, masks)
    print(f"wrote {arguments.output}")


def verify(arguments: argparse.Namespace) -> None:
    """Compares every file with its hash, generates a few tokens with the reference kernels, and answers what --ask
    asks as the server would, without a server."""
    from paligemma_export.asking import Asker
    from paligemma_export.verify import verify_bundle

    for line in verify_bundle(Path(arguments.bundle), arguments.tokens):
        print(line, flush=True)
    asker = Asker(Path(arguments.bundle)) if arguments.ask else None
    for picture, prompt in arguments.ask:
        print(f"{picture}, {prompt!r}: {asker.answer(Path(picture), prompt)!r}", flush=True)


def inspect(arguments: argparse.Namespace) -> None:
    """Checks the manifest and prints it."""
    print(json.dumps(bundle.read_manifest(Path(arguments.bundle)), indent=1, ensure_ascii=False))


def goldens(arguments: argparse.Namespace) -> None:
    """Makes a tiny checkpoint, its bundle, and the answers that transformers gives for it (needs transformers)."""
    from paligemma_export.goldens import write_goldens

    write_goldens(arguments.geometry, Path(arguments.output))


def _options(arguments: argparse.Namespace) -> bundle.Options:
    if arguments.quantize == "none" and arguments.quantize_vision:
        raise ExportError("--quantize-vision goes with --quantize; without it all matrices are of --dtype")
    name = arguments.name or re.sub(r"[^-a-z0-9.]+", "-", Path(arguments.output).name.lower()).strip("-.")
    return bundle.Options(
        name=name or "paligemma2",
        display_name=arguments.display_name,
        dtype=arguments.dtype,
        quantization=arguments.quantize,
        vision_encoding=arguments.quantize_vision,
        quiet=arguments.quiet,
    )


def _write_bundle(
    arguments: argparse.Namespace, source: Source, model: bytes, options: bundle.Options
) -> None:
    masks = mask_decoder.load(Path(arguments.mask_decoder))[0] if arguments.mask_decoder else None
    content = bundle.write(Path(arguments.output), source, model, options, masks)
    size = sum(entry["size"] for entry in content["files"].values())
    print(f"wrote {arguments.output}: {content['name']}, {size / 1e6:.1f} MB, revision {content['revision']}")


def _refuse_existing(*paths: str | None) -> None:
    for path in paths:
        if path and Path(path).exists():
            raise ExportError(f"{path} already exists")


def _parent(path: str) -> Path:
    parent = Path(path).absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    return parent
