# SPDX-License-Identifier: Apache-2.0
"""The sampler on stored logits, as a batch calls it: log-probabilities and what may be drawn against torch, how often
it is drawn against those probabilities, and the same draws for a seed in any batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import BUNDLE, LONG, Probe, Table
from geometry import load

EOS = 1
VOCAB = 96
DRAWS = 20_000 if LONG else 4_000
ROWS = 200 if LONG else 40
# chi-square: mean of the degrees of freedom, deviation sqrt(2 of them); one in ten million is beyond five of them
# and a little, and the seeds are fixed.
DEVIATIONS = 5.5


@pytest.fixture(scope="module")
def sampler() -> Any:
    """The probe; the bundle is not looked at."""
    probe: Probe = load(BUNDLE.name, BUNDLE.parent)
    yield probe
    probe.close()


def stored_logits(count: int) -> np.ndarray:
    """Rows of logits of several spreads, on a grid of quarters so that ties abound."""
    random = np.random.default_rng(11)
    spread = random.choice([0.5, 2.0, 6.0], (count, 1))
    return (np.round(random.normal(0, 1, (count, VOCAB)) * spread * 4) / 4).astype(np.float32)


def sample(probe: Probe, folder: Path, logits: np.ndarray, wishes: list[dict[str, Any]], softcap: float = 0) -> list:
    """[token, log-probability, alternatives] of each row."""
    file = folder / "logits.f32"
    logits.astype(np.float32).tofile(file)
    requests = [{"prompt": [2, 5, 7], **wish} for wish in wishes]
    return probe.ask("sample", logits=str(file), vocab=VOCAB, softcap=softcap, requests=requests)["outputs"]


def expected(logits: np.ndarray, wish: dict[str, Any]) -> torch.Tensor:
    """Probabilities float64 [VOCAB] of what may be drawn, by torch: penalty, EOS while tokens are owed, temperature,
    top-k with ties, then min-p, then the smallest set that reaches top-p; ties at its end go to lower ids."""
    row = torch.from_numpy(logits).double()
    penalty = wish.get("repetition_penalty", 1.0)
    seen = torch.zeros(VOCAB, dtype=torch.bool)
    seen[[2, 5, 7, *wish.get("output", [])]] = True
    row = torch.where(seen, torch.where(row > 0, row / penalty, row * penalty), row)
    if len(wish.get("output", [])) < wish.get("min_tokens", 0):
        row[EOS] = -math.inf
    if wish["temperature"] == 0:
        return torch.nn.functional.one_hot(row.argmax(), VOCAB).double()
    row = row / wish["temperature"]
    if 0 < wish.get("top_k", 0) < VOCAB:
        row[row < row.sort(descending=True).values[wish["top_k"] - 1]] = -math.inf
    if wish.get("min_p", 0) > 0:
        row[row < row.max() + math.log(wish["min_p"])] = -math.inf
    if wish.get("top_p", 1) < 1:
        values, order = row.sort(descending=True, stable=True)
        chances = values.softmax(0)
        before = torch.cat([torch.zeros(1, dtype=torch.float64), chances.cumsum(0)[:-1]])
        row[order[before >= wish["top_p"]]] = -math.inf
    return row.softmax(0)


WISHES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "greedy, penalty": {"temperature": 0, "repetition_penalty": 1.75, "output": [9, 11]},
    "temperature": {"temperature": 1.5},
    "cold": {"temperature": 0.25},
    "top-k": {"temperature": 1.0, "top_k": 5},
    "top-k of more than there are": {"temperature": 1.0, "top_k": 1000},
    "top-p": {"temperature": 1.0, "top_p": 0.7},
    "top-p of nearly nothing": {"temperature": 1.0, "top_p": 1e-6},
    "min-p": {"temperature": 2.0, "min_p": 0.3},
    "all of them": {"temperature": 0.75, "top_k": 20, "top_p": 0.8, "min_p": 0.0625, "repetition_penalty": 1.25},
    "owes tokens": {"temperature": 1.0, "min_tokens": 3, "output": [4, 4]},
    "owes none": {"temperature": 1.0, "min_tokens": 2, "output": [4, 4]},
}


@pytest.mark.parametrize("name", WISHES)
def test_draws_have_the_probabilities_that_torch_computes(
    sampler: Probe, table: Table, tmp_path: Path, name: str
) -> None:
    """Pearson's statistic over all ids, those that are rarely expected in one bin; what torch excludes never comes."""
    worst = -math.inf
    for row in stored_logits(3):
        row[EOS] = row.max()  # where EOS may not come, it would have
        wish = WISHES[name]
        chances = expected(row, wish).numpy()
        found = sample(sampler, tmp_path, np.tile(row, (DRAWS, 1)), [{**wish, "seed": 1 + s} for s in range(DRAWS)])
        counts = np.bincount([token for token, *_ in found], minlength=VOCAB)
        assert counts[chances == 0].sum() == 0, np.flatnonzero((chances == 0) & (counts > 0))
        often = chances * DRAWS >= 5
        seen, wanted = counts[often].astype(float), chances[often] * DRAWS
        rest = DRAWS - wanted.sum()
        if rest >= 5:
            seen, wanted = np.append(seen, DRAWS - seen.sum()), np.append(wanted, rest)
        freedom = len(wanted) - 1
        if freedom > 0:
            statistic = ((seen - wanted) ** 2 / wanted).sum()
            worst = max(worst, (statistic - freedom) / math.sqrt(2 * freedom))
            assert worst < DEVIATIONS, f"chi-square {statistic:.1f} of {freedom} degrees of freedom"
    off = f"chi-square {worst:+.1f} deviations" if worst > -math.inf else "0"
    table.add(f"draws of {name}", "torch's probabilities", 3 * DRAWS, off)


@pytest.mark.parametrize("softcap", [0.0, 30.0])
def test_log_probabilities_are_those_of_torch(sampler: Probe, table: Table, tmp_path: Path, softcap: float) -> None:
    """Of the logits as they are: before penalty, temperature and truncation; alternatives from the best."""
    logits = stored_logits(ROWS) * 3
    wishes = [
        {**list(WISHES.values())[i % len(WISHES)], "seed": i, "logprobs": [0, 1, 5, 20][i % 4]} for i in range(ROWS)
    ]
    worst = 0.0
    for row, wish, (token, logprob, top) in zip(
        logits, wishes, sample(sampler, tmp_path, logits, wishes, softcap), strict=True
    ):
        exact = torch.from_numpy(row).double()
        exact = (torch.tanh(exact / softcap) * softcap if softcap else exact).log_softmax(0)
        assert len(top) == wish["logprobs"] and len({other for other, _ in top}) == len(top)
        best = exact.sort(descending=True).values
        off = [abs(logprob - exact[token].item())]
        off += [abs(value - exact[other].item()) for other, value in top]
        off += [abs(value - best[i].item()) for i, (_, value) in enumerate(top)]
        worst = max(worst, *off)
    assert worst < 1e-5
    table.add(f"log-probabilities, soft-cap {softcap:.0f}", "torch, float64", ROWS, f"{worst:.1e}")


def test_a_seed_draws_the_same_in_any_batch_and_run(sampler: Probe, table: Table, tmp_path: Path) -> None:
    logits = stored_logits(ROWS)
    drawing = [wish for wish in WISHES.values() if wish["temperature"] > 0]
    wishes = [{**drawing[i % len(drawing)], "seed": (i * 7919) << (i % 32)} for i in range(ROWS)]
    together = sample(sampler, tmp_path, logits, wishes)
    order = np.random.default_rng(2).permutation(ROWS)
    mixed = sample(sampler, tmp_path, logits[order], [wishes[i] for i in order])
    assert [mixed[list(order).index(i)] for i in range(ROWS)] == together
    for i in range(0, ROWS, 7):
        assert sample(sampler, tmp_path, logits[i : i + 1], [wishes[i]]) == [together[i]]
    again = load(BUNDLE.name, BUNDLE.parent)  # another process
    try:
        assert sample(again, tmp_path, logits, wishes) == together
    finally:
        again.close()
    other = sample(sampler, tmp_path, logits, [{**wish, "seed": wish["seed"] + 1} for wish in wishes])
    assert sum(a[0] != b[0] for a, b in zip(other, together, strict=True)) > ROWS / 4
    table.add("draws of a seed, in any batch and run", "the same seed", ROWS, "0")


def test_a_wrong_temperature_would_be_seen(sampler: Probe, tmp_path: Path) -> None:
    """A control of the distribution test."""
    row = np.linspace(0, 6, VOCAB).astype(np.float32)
    found = sample(sampler, tmp_path, np.tile(row, (DRAWS, 1)), [{"temperature": 1.0, "seed": s} for s in range(DRAWS)])
    counts = np.bincount([token for token, *_ in found], minlength=VOCAB)
    wanted = expected(row, {"temperature": 1.25}).numpy() * DRAWS
    often = wanted >= 5
    statistic, freedom = ((counts - wanted)[often] ** 2 / wanted[often]).sum(), often.sum() - 1
    assert (statistic - freedom) / math.sqrt(2 * freedom) > DEVIATIONS
