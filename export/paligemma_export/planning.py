# SPDX-License-Identifier: Apache-2.0
"""What an export will do, decided before anything is written: source, tokenizer, pictures, prompts, limits."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paligemma_export import bundle, checkpoint_files, manifest, tokenizer, tokenizer_reader
from paligemma_export.adapted_source import AdaptedSource
from paligemma_export.big_vision import BigVisionSource
from paligemma_export.checkpoint_files import AnswerRule, PictureRule
from paligemma_export.errors import ExportError
from paligemma_export.fields.rules import Decisions
from paligemma_export.hf_config import architecture_of
from paligemma_export.huggingface import HuggingFaceSource
from paligemma_export.normalized_source import NormalizedSource
from paligemma_export.source import Source

_TRAVELLING = re.compile(r"(LICENSE|LICENCE|NOTICE|USE_POLICY)(\.\w+)?", re.IGNORECASE)


@dataclass
class Plan:
    """A checkpoint that was read and found good."""

    source: Source
    tokenizer_model: bytes
    picture: PictureRule
    decisions: Decisions
    answers: AnswerRule
    folder: Path  # holds the checkpoint's other files


def make(checkpoint: Path, scratch: Path, arguments: argparse.Namespace) -> Plan:
    """Reads everything but the weights themselves; raises ExportError with the first things that are wrong."""
    decisions = Decisions(arguments.ignore)
    if checkpoint.is_dir():
        plan = _of_folder(checkpoint, decisions, arguments)
    else:
        plan = _of_archive(checkpoint, scratch, decisions, arguments)
    decisions.finish()
    numbers = plan.source.architecture.replace(first_position=arguments.first_position)
    plan.source.architecture = numbers
    return plan


def _of_folder(folder: Path, decisions: Decisions, arguments: argparse.Namespace) -> Plan:
    config = checkpoint_files.load_json(folder / "config.json", required=True)
    numbers = architecture_of(config, arguments.window_mode, arguments.final_softcap)
    checkpoint_files.check_config(config, decisions)
    picture = checkpoint_files.check_beside(folder, numbers, decisions)
    answers = checkpoint_files.answer_rule(folder, config, decisions)
    decisions.finish()
    model = tokenizer_reader.read(folder, arguments.tokenizer, numbers.vocab, decisions)
    vocab = tokenizer.load_checked(model).get_piece_size()
    source: Source = HuggingFaceSource(folder, arguments.window_mode, arguments.final_softcap, vocab, decisions)
    if arguments.adapter:
        source = AdaptedSource(source, Path(arguments.adapter), decisions)
    if not picture.is_usual:
        source = NormalizedSource(source, picture)
    return Plan(source, model, picture, decisions, answers, folder)


def _of_archive(path: Path, scratch: Path, decisions: Decisions, arguments: argparse.Namespace) -> Plan:
    if arguments.adapter:
        raise ExportError("--adapter goes with a Hugging Face folder; an npz has other names")
    model = tokenizer_reader.read(path.parent, arguments.tokenizer, None, decisions)
    source = BigVisionSource(
        path, scratch, arguments.window_mode, arguments.final_softcap, arguments.query_scale, decisions
    )
    return Plan(source, model, PictureRule(), decisions, AnswerRule(), path.parent)


def fill(options: bundle.Options, plan: Plan, arguments: argparse.Namespace) -> None:
    """What the flags and the checkpoint's files say about the manifest."""
    found = plan.picture.resampling or "pillow_bicubic"
    options.resampling = arguments.resampling or found
    if options.resampling != found:
        plan.decisions.note(f"--resampling={options.resampling} replaces the checkpoint's {found}")
    options.padding, options.max_images = arguments.padding, arguments.max_images
    options.methods = _methods(arguments.methods)
    options.output_limit = arguments.max_output_tokens
    vocab = plan.source.architecture.vocab  # ids behind the vocabulary never come out
    options.more_eos = [token for token in plan.answers.more_eos if token < vocab]
    options.suppressed = [token for token in plan.answers.suppressed if token < vocab]
    options.client_specials = arguments.client_special
    options.ignored_fields = plan.decisions.given_up
    options.travelling_files = travelling_files(plan.folder)
    names = [path.name for path in options.travelling_files]
    options.license = arguments.license or (f"see {', '.join(names)}" if names else "unknown")


def _methods(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ExportError(f"--methods={path}: not JSON ({error})") from None
    if not isinstance(content, dict) or not all(isinstance(method, dict) for method in content.values()):
        known = ", ".join(manifest.METHODS)
        raise ExportError(f"--methods={path}: not an object of methods ({known}), each an object")
    return content


def travelling_files(folder: Path) -> list[Path]:
    """Licences and notices, which go with the weights."""
    return [path for path in sorted(folder.iterdir()) if _TRAVELLING.fullmatch(path.name)]
