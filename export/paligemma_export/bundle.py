# SPDX-License-Identifier: Apache-2.0
"""Writes and reads bundle directories. A bundle appears whole or not at all: it grows in a directory beside its
place and is renamed at the end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from paligemma_export import OPERATOR_SET, __version__, manifest, operators, tokenizer
from paligemma_export.convert import QUANTIZATIONS, Converter, recipe
from paligemma_export.errors import ExportError
from paligemma_export.mask_decoder import MaskDecoder
from paligemma_export.progress import Progress
from paligemma_export.scratch import Scratch
from paligemma_export.source import Source

EXTRA_FILE = "paligemma.json"


@dataclass
class Options:
    """What the user chose. None stands for what the source has."""

    name: str = "paligemma2"
    display_name: str = ""
    dtype: str | None = None
    quantization: str = "none"
    vision_encoding: str | None = None
    resampling: str = "pillow_bicubic"
    padding: str = "squash"
    max_images: int = 1
    languages: list[str] = field(default_factory=lambda: list(manifest.LANGUAGES))
    methods: dict[str, Any] | None = None
    output_limit: int | None = None
    more_eos: list[int] = field(default_factory=list)
    suppressed: list[int] = field(default_factory=list)
    client_specials: list[str] = field(default_factory=list)
    ignored_fields: list[str] = field(default_factory=list)
    license: str = "unknown"
    travelling_files: list[Path] = field(default_factory=list)
    quiet: bool = False


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yields a directory beside `target` to fill. It is renamed to `target` on success and removed on failure."""
    if target.exists():
        raise ExportError(f"{target} already exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    growing = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield growing
        growing.chmod(0o755)
        growing.rename(target)
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise


def write(
    target: Path,
    source: Source,
    tokenizer_model: bytes,
    options: Options,
    mask_decoder: MaskDecoder | None = None,
) -> dict[str, Any]:
    """Converts a source into a bundle and returns its manifest."""
    if options.quantization not in QUANTIZATIONS:
        raise ExportError(f"--quantize={options.quantization} is none of {', '.join(QUANTIZATIONS)}")
    numbers = source.architecture
    ids = tokenizer.inspect(tokenizer_model, numbers.vocab)
    tokenizer.check_templates(tokenizer_model, options.methods or {})
    tokenizer.check_specials(tokenizer_model, options.client_specials)
    manifest.token_limits(numbers, options.methods, options.output_limit)  # before anything large is written
    dtype = options.dtype or source.dtype
    total = sum(torch.Size(shape).numel() for name, shape in numbers.tensors().items() if len(shape) > 1)
    with atomic_directory(target) as growing:
        scratch = growing / "scratch"
        progress = Progress(f"converting {target.name}", total, enabled=not options.quiet)
        converter = Converter(
            source, dtype, options.quantization, Scratch(scratch), progress, options.vision_encoding
        )
        for name, build in (("vision.pt", converter.vision), ("decoder.pt", converter.decoder)):
            module = build()
            progress.note(f"saving {name}")
            save(module, growing / name)
            del module  # frees its scratch files
        scratch.rmdir()
        progress.note("hashing")
        progress.finish()
        if mask_decoder is not None:
            save(mask_decoder, growing / "mask_decoder.pt")
        (growing / "tokenizer.model").write_bytes(tokenizer_model)
        content = describe(source, options, dtype, ids, growing, has_masks=mask_decoder is not None)
        for path in options.travelling_files:
            shutil.copyfile(path, growing / path.name)
        write_manifest(growing, content)
    return content


def save(module: torch.nn.Module, path: Path) -> None:
    """Scripts a module and saves it with the operators' schemas in extra/paligemma.json."""
    text = json.dumps({"operators": OPERATOR_SET, "schemas": operators.schemas()})
    scripted = torch.jit.script(module)
    torch.jit.save(scripted, str(path), _extra_files={EXTRA_FILE: text})


def describe(
    source: Source, options: Options, dtype: str, ids: tokenizer.TokenIds, directory: Path, has_masks: bool
) -> dict[str, Any]:
    """Returns the manifest of the files that lie in `directory`."""
    numbers = source.architecture
    output, largest_input = manifest.token_limits(numbers, options.methods, options.output_limit)
    files = {
        name: file_entry(directory / name)
        for name in ("decoder.pt", "vision.pt", "tokenizer.model", "mask_decoder.pt")
        if (directory / name).exists()
    }
    digests = files["decoder.pt"]["sha256"] + files["vision.pt"]["sha256"]
    methods = options.methods or manifest.default_methods(options.languages, has_masks, output)
    content = {
        "format": 1,
        "name": options.name,
        "display_name": options.display_name or options.name,
        "revision": hashlib.sha256(digests.encode()).hexdigest()[:16],
        "architecture": manifest.architecture_block(numbers, dtype),
        "image": {
            "size": numbers.vision.image_size,
            "tokens": numbers.vision.tokens,
            "resampling": options.resampling,
            "padding": options.padding,
            "max_count": options.max_images,
        },
        "window_mode": numbers.window_mode,
        "tokens": ids.block(),
        "dtype": dtype,
        "quantization": options.quantization,
        "recipe": recipe(dtype, options.quantization, options.vision_encoding),
        "methods": methods,
        "limits": {
            "max_input_tokens": largest_input,
            "max_output_tokens": output,
            "max_labels": 32,
        },
        "files": files,
        "provenance": {
            "source": source.description,
            "source_sha256": source.digest,
            "exporter": __version__,
            "license": options.license,
        },
    }
    for name in manifest.OPTIONAL_TOKENS:
        if getattr(options, name):
            content["tokens"][name] = getattr(options, name)
    if options.ignored_fields:
        content["provenance"]["ignored"] = options.ignored_fields
    content["format"] = manifest.needed_format(content)
    return content


def write_manifest(directory: Path, content: dict[str, Any]) -> None:
    problems = manifest.check(content)
    if problems:
        raise ExportError("manifest: " + "; ".join(problems[:3]))
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (directory / "manifest.json").write_text(text + "\n", encoding="utf-8")


def file_entry(path: Path) -> dict[str, Any]:
    """Returns size and sha256 of a file, and the sha256 of each of its 16 MiB chunks."""
    whole, chunks = hashlib.sha256(), []
    with path.open("rb") as stream:
        while block := stream.read(manifest.CHUNK_BYTES):
            whole.update(block)
            chunks.append(hashlib.sha256(block).hexdigest())
    return {"size": os.path.getsize(path), "sha256": whole.hexdigest(), "chunks": chunks}


def read_manifest(bundle: Path) -> dict[str, Any]:
    """Returns the manifest of a bundle. It and the sizes of the files are checked, the hashes are not."""
    try:
        content = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(f"{bundle.name}/manifest.json: {error.strerror}") from None
    except ValueError as error:
        raise ExportError(f"{bundle.name}/manifest.json: not JSON ({error})") from None
    problems = manifest.check(content)
    for name, entry in content.get("files", {}).items() if not problems else ():
        path = bundle / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif path.stat().st_size != entry["size"]:
            problems.append(f"{name}: {path.stat().st_size} bytes, the manifest says {entry['size']}")
    if problems:
        raise ExportError(f"{bundle.name}: " + "; ".join(problems[:3]))
    return content
