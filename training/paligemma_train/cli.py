# SPDX-License-Identifier: Apache-2.0
"""Trains the demo model: tower, masks, tasks, evaluation, export; `all` does one after the other."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TypeVar

import torch

from paligemma_train import (
    checkpoint,
    evaluate,
    finish,
    learn,
    schedule,
    showcase,
    tasks,
    tower,
    vocabulary,
    vqvae,
    worlds,
)
from paligemma_train.model import Config

Plan = TypeVar("Plan", tower.Plan, learn.Plan)


def _plan(kind: type[Plan], options: argparse.Namespace) -> Plan:
    """Options have the names of what they set in a plan."""
    return kind(**{field.name: getattr(options, field.name) for field in dataclasses.fields(kind)
                   if hasattr(options, field.name)})


def _config(options: argparse.Namespace) -> Config:
    """The model of the work folder; a new one has the resolution that is asked for."""
    return learn.config_of(options.work) or Config(image_size=options.image_size or Config.image_size)


def _tower(options: argparse.Namespace) -> None:
    tower.pretrain(_config(options), options.work, options.device, _plan(tower.Plan, options))


def _masks(options: argparse.Namespace) -> None:
    vqvae.train(options.work, options.device, options.mask_steps, workers=options.workers, seed=options.seed,
                report_every=options.report_every, stop_after=options.stop_after)


def _tasks(options: argparse.Namespace) -> None:
    if not (options.work / learn.TOKENIZER).exists():
        vocabulary.train(options.work / learn.TOKENIZER)
    learn.train(_config(options), options.work, options.device, _plan(learn.Plan, options))


def _trained(options: argparse.Namespace) -> evaluate.Plain:
    codec = vqvae.load(options.work)
    if codec is None:
        raise SystemExit("no trained masks yet")
    model = finish.load_model(options.work).to(options.device)
    words = vocabulary.Vocabulary(options.work / learn.TOKENIZER)
    return evaluate.Plain(model.eval(), words, codec.to(options.device), options.device)


def _evaluate(options: argparse.Namespace) -> None:
    output = options.work / "accuracy.json"
    missed = evaluate.table(_trained(options), options.cases, options.seed, output, "in PyTorch")
    print(f"{missed} floors missed")


def _showcase(options: argparse.Namespace) -> None:
    showcase.write(options.bundle, _trained(options), tuple(options.without))


def _export(options: argparse.Namespace) -> None:
    finish.export(options.work, options.output or options.work / "bundle")


def _resume_from(options: argparse.Namespace) -> None:
    finish.start_from_bundle(options.bundle, options.work, options.image_size)


def _all(options: argparse.Namespace) -> None:
    """Once stage 2 has begun, tower and masks are left alone: it trains the tower on, and the codes of the masks are
    words that it has learned."""
    begun = (options.work / learn.FILE).exists()
    for stage in (_tasks, _evaluate, _export) if begun else (_tower, _masks, _tasks, _evaluate, _export):
        if checkpoint.Deadline.stop_requested:
            print("told to stop; the same command resumes", flush=True)
            return
        print(f"stage {stage.__name__.removeprefix('_')}, work folder {options.work}", flush=True)
        stage(options)


def _common() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("--work", type=Path, default=checkpoint.default_work(), help="checkpoints and results (default: %(default)s)")
    add("--image-size", type=int, metavar="PIXELS",
        help="of a new model (default: 112), or of from-bundle where it shall differ from the bundle's")
    add("--device", default="cpu", help="cpu or cuda")
    add("--threads", type=int, default=2, help="of PyTorch; 1 is quicker where others compute beside")
    add("--workers", type=int, default=1, help="rendering processes")
    add("--seed", type=int, default=0)
    add("--report-every", type=float, default=120, metavar="SECONDS")
    add("--budget", type=float, metavar="SECONDS",
        help="run tower or tasks for so long, whatever they have seen, and let the rate run out at the end")
    add("--held", type=float, default=schedule.HELD, metavar="PART",
        help="of a run in which the full rate holds before it runs out (default: %(default)s)")
    add("--text-share", type=float, default=worlds.TEXT_SHARE, help="of pictures with text")
    add("--matrix-rate", type=float, default=0.02, help="Muon's, for the matrices of the layers")
    add("--rate", type=float, default=1.5e-3, help="AdamW's, for everything else")
    add("--stop-after", type=float, default=1e9, metavar="SECONDS", help="of each stage; a later run resumes")
    return parser


def _add_tower(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=400_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--page-share", type=float, default=0.5, help="of pictures that are full of text")


def _add_masks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mask-steps", type=int, default=3000)


def _add_tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--examples", type=int, default=1_200_000)
    parser.add_argument("--pictures", type=int, default=12, help="in a batch")
    parser.add_argument("--pages", type=int, default=32, help="pictures full of text beside them, for the tower alone")
    parser.add_argument("--prompts", type=int, default=8, help="for each picture")
    parser.add_argument("--everyday-share", type=float, default=worlds.EVERYDAY_SHARE,
                        help="of pictures without text")
    parser.add_argument("--without", nargs="*", default=[], choices=list(tasks.TASKS), metavar="TASK",
                        help="tasks to leave out, for what a short run can learn")
    parser.add_argument("--replicas", type=int, default=0,
                        help="processes that learn beside this one, each on a core of the CPU")
    parser.add_argument("--tower-rate", type=float, default=0.25, help="the tower's rate, of the decoder's")
    parser.add_argument("--coordinate-step", type=int, default=8, metavar="BINS",
                        help="of answered coordinates, 1 is exact")
    parser.add_argument("--report-cases", type=int, default=24, help="of each row in a report; 0: the loss alone")
    parser.add_argument("--things-at-start", type=int, default=2, help="6 skips the curriculum, for a resumed model")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=300, help="for each row of the table")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, help="bundle directory to make (default: bundle in the work folder)")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m paligemma_train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    stages = {"tower": (_tower, (_add_tower,), "stage 1: the vision tower on dense labels"),
              "masks": (_masks, (_add_masks,), "the codec of the masks"),
              "tasks": (_tasks, (_add_tasks,), "stage 2: the whole model"),
              "evaluate": (_evaluate, (_add_evaluate,), "the accuracy table on fresh scenes"),
              "export": (_export, (_add_export,), "checkpoint and bundle"),
              "all": (_all, (_add_tower, _add_masks, _add_tasks, _add_evaluate, _add_export), "everything, resuming")}
    for name, (run, adders, text) in stages.items():
        stage = commands.add_parser(name, help=text, parents=[_common()])
        for add in adders:
            add(stage)
        stage.set_defaults(run=run)
    show = commands.add_parser("showcase", help="make demo's pictures, into a bundle", parents=[_common()])
    show.add_argument("bundle", type=Path)
    show.add_argument("--without", nargs="*", default=[], choices=list(showcase.SCENES), metavar="SCENE",
                      help="scenes to leave out, where the model does not know them")
    show.set_defaults(run=_showcase)
    resume = commands.add_parser("from-bundle", help="start stage 2 from a bundle's weights", parents=[_common()])
    resume.add_argument("bundle", type=Path)
    resume.set_defaults(run=_resume_from)
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.run(options)
    return 0
