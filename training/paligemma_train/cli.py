# SPDX-License-Identifier: Apache-2.0
"""The command line: one subcommand for each stage, and `all`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from paligemma_train import checkpoint
from paligemma_train.model import Config


def _tower(options: argparse.Namespace) -> None:
    from paligemma_train import tower

    tower.pretrain(Config(), options.work, options.device, options.images, options.batch, options.rate,
                   options.workers, options.seed, options.report_every, options.stop_after)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m paligemma_train", description=__doc__)
    parser.add_argument("--work", type=Path, default=checkpoint.default_work(), help="checkpoints and results")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="rendering processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report-every", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--stop-after", type=float, default=1e9, metavar="SECONDS")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tower = commands.add_parser("tower", help="stage 1: the vision tower on dense labels")
    tower.add_argument("--images", type=int, default=200_000)
    tower.add_argument("--batch", type=int, default=64)
    tower.add_argument("--rate", type=float, default=2e-3)
    tower.set_defaults(run=_tower)
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.run(options)
    return 0
