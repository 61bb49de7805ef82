# SPDX-License-Identifier: Apache-2.0
"""What a quantised bundle loses: the same fresh scenes asked of two bundles over gRPC, and the mean difference of their
scores with its 95 % interval. Needs clients/python on the path; `scripts/eval-demo` calls this where AGAINST is set.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from paligemma_serving import Client

from paligemma_train import evaluate
from paligemma_train.evaluate import Case, Reply, Row
from paligemma_train.over_grpc import OverGrpc, served


def score(row: Row, case: Case, reply: Reply) -> float:
    """Of one case, 0 to 1: the row's first measure that says anything about it."""
    values = [value for value in row.score([case], [reply]).values() if not np.isnan(value)]
    return values[0] if values else 0.0


def answers(server: Path, bundle: Path, found: list[list[Case]], *flags: str) -> list[list[Reply]]:
    with served(server, bundle, *flags) as address, Client(address, timeout=120) as client:
        ask = OverGrpc(client)
        replies = [ask(cases) for cases in found]
    if ask.failures:
        raise SystemExit(f"{bundle}: {ask.failures} calls failed")
    return replies


def interval(differences: np.ndarray) -> str:
    """Mean and half of the 95 % interval, in points."""
    half = 1.96 * differences.std(ddof=1) / len(differences) ** 0.5
    return f"{100 * differences.mean():+.2f} ± {100 * half:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=Path, required=True, help="the paligemma-server program")
    parser.add_argument("--master", type=Path, required=True, help="the bundle that the others are compared with")
    parser.add_argument("--cases", type=int, default=320, help="for each of the rows")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--flags", default="", help="of the servers of the other bundles")
    parser.add_argument("bundles", type=Path, nargs="+")
    options = parser.parse_args()
    found = [evaluate.cases(row, options.cases, options.seed) for row in evaluate.TABLE]
    before = _scores(found, answers(options.server, options.master, found))
    print(f"{options.master}: {100 * before.mean():.2f} points over {before.size} cases\n\n"
          "| bundle | difference, points | same score |\n|---|---|---|", flush=True)
    for bundle in options.bundles:
        after = _scores(found, answers(options.server, bundle, found, *options.flags.split()))
        print(f"| {bundle.name} | {interval(after - before)} | {100 * (after == before).mean():.1f} % |", flush=True)
    return 0


def _scores(found: list[list[Case]], replies: list[list[Reply]]) -> np.ndarray:
    return np.array([score(row, case, reply) for row, cases, said in zip(evaluate.TABLE, found, replies, strict=True)
                     for case, reply in zip(cases, said, strict=True)])


if __name__ == "__main__":
    sys.exit(main())
