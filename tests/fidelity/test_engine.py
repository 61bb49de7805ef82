# SPDX-License-Identifier: Apache-2.0
"""Scheduler and runner together: whatever is batched, cut into blocks or preempted, a request's tokens are
transformers', and its log-probabilities are the same bits as alone.

tiny-a and tiny-b see everything, tiny-c has transformers' window, of 8 tokens: each of its answers goes far beyond it.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LONG, Probe, Table
from geometry import MODEL_PROBE, Case, Model, blocks, load, make_model
from paligemma_export import bundle, goldens
from paligemma_export.huggingface import HuggingFaceSource
from paligemma_export.pictures import squashed

STEPS = 20
TOP = 20  # log-probabilities looked at, of each step
NAMES = ("tiny-a", "tiny-b", "tiny-c")
ISAS = ("reference", "avx2", "avx-vnni", "avx512", "avx512-bf16")
TRANSFORMERS = "transformers, eager, float32"
Answer = list[list[Any]]  # [token, log-probability, [[token, log-probability], ...]] of each step


@dataclass
class Twin:
    """A tiny model, transformers' answers, and what the engine gives to each request alone."""

    model: Model
    cases: list[Case]
    alone: list[Answer]


def request(model: Model, case: Case) -> dict[str, Any]:
    """The case as the probe takes it."""
    return {"pixels": model.pixel_file(case.pixels), "prompt": case.prompt, "max_tokens": STEPS, "logprobs": TOP}


def run(model: Model, cases: list[Case], probe: Probe | None = None, **options: Any) -> dict[str, Any]:
    """All cases at once; by default with room for all of them."""
    wanted = {"blocks": blocks(model.manifest, len(cases), 64, options.get("block_size", 16)), **options}
    answer = (probe or model.probe).ask("generate", requests=[request(model, case) for case in cases], **wanted)
    assert "error" not in answer, answer
    return answer


def tokens(answer: Answer) -> list[int]:
    """Without what they are worth."""
    return [token for token, *_ in answer]


def length(model: Model, case: Case) -> int:
    """Of the prefix, image included."""
    return model.manifest["image"]["tokens"] + len(case.prompt)


@pytest.fixture(scope="module", params=NAMES)
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    """A tiny model with every third of its cases, prompts of seven lengths among them."""
    name = request.param
    with torch.no_grad(), make_model(name, tmp_path_factory.mktemp(name), goldens.SEEDS[name]) as model:
        texts = [prompt for _, _, prompt in goldens.PROMPTS]
        chosen = list(goldens.pictures().items())
        cases = [model.ask(*chosen[(i + i // 9) % 3], texts[i % 9], STEPS) for i in range(18)]
        alone = [run(model, [case])["answers"][0] for case in cases]
        assert [tokens(answer) for answer in alone] == [case.tokens for case in cases]
        assert len({length(model, case) for case in cases}) > 4
        yield Twin(model, cases, alone)


def test_neighbours_and_prompts_of_other_lengths_change_nothing(twin: Twin, table: Table) -> None:
    draw, number = random.Random(4), 0
    for count in (2, 3, 5, 9, 18):
        for limit in (1, 60, 8192):  # prompts one by one, a few, all in one step
            chosen = draw.sample(range(18), count)
            found = run(twin.model, [twin.cases[i] for i in chosen], max_batch_tokens=limit, threads=2)
            assert found["answers"] == [twin.alone[i] for i in chosen]
            assert found["largest_batch"] > 1
            number += count
    table.add(f"{twin.model.name}: tokens among neighbours, bits of log-probabilities", "alone", number, "0")


def test_block_boundaries_change_nothing(twin: Twin, table: Table) -> None:
    number = 0
    for case, alone in list(zip(twin.cases, twin.alone, strict=True))[:9:3]:
        prefix, ends = length(twin.model, case), set()
        for size in range(1, prefix + 3):  # the prompt ends on a block's end, one before, one after, and elsewhere
            assert run(twin.model, [case], block_size=size)["answers"] == [alone], f"blocks of {size}"
            ends |= {prefix % size == 0, prefix % size == size - 1, prefix % size == 1}
            number += 1
    table.add(f"{twin.model.name}: blocks of every size", "alone", number, "0")


def test_preemption_at_every_step_changes_no_token(twin: Twin, table: Table) -> None:
    """Blocks of one token: as many sequences take as many of them a step, and the last one is put back when none is
    left."""
    number, whole = 0, [i for i in range(18) if len(twin.alone[i]) == STEPS]
    for chosen in (whole[:4], whole[4:8]):
        assert len(chosen) == 4
        cases = [twin.cases[i] for i in chosen]
        prefixes = sum(length(twin.model, case) for case in cases)
        for step in range(1, STEPS):
            found = run(twin.model, cases, block_size=1, blocks=prefixes + 4 * (step - 1))
            assert found["preemptions"] >= 1, f"none at step {step}"
            assert found["answers"] == [twin.alone[i] for i in chosen], f"preempted at step {step}"
            number += 1
    table.add(f"{twin.model.name}: preempted at each step", TRANSFORMERS, number, "0")


@pytest.mark.skipif(not LONG, reason="4096 image tokens: with PG_FIDELITY=long")
@pytest.mark.parametrize("mode", ["none", "hf"])
def test_neighbours_and_preemption_change_nothing_beyond_the_window(table: Table, tmp_path: Path, mode: str) -> None:
    """The 3B in small at 896, with transformers' window of 4096 and without; test_geometries.py has its tokens."""
    checkpoint, _ = goldens.build("scaled-3b-896", tmp_path, seed=5)
    source = HuggingFaceSource(checkpoint, mode)
    options = bundle.Options(name="windows", languages=["en"], quiet=True)
    bundle.write(tmp_path / "windows", source, (checkpoint / "tokenizer.model").read_bytes(), options, None)
    probe = load("windows", tmp_path)
    model = Model(mode, tmp_path, None, probe)
    pixels = [squashed(image, 896) for image in list(goldens.pictures().values())[:2]]
    cases = [Case(str(i), image, [2, 9 + i, 30, 108], [], np.empty(0)) for i, image in enumerate(pixels)]
    alone = [run(model, [case])["answers"][0] for case in cases]
    assert all(len({logprob for _, logprob, _ in answer}) > STEPS // 2 for answer in alone), "bits that prove nothing"
    room = 2 * length(model, cases[0])
    found = run(model, cases, block_size=1, blocks=room + 2 * (STEPS // 2))
    probe.close()
    assert found["answers"] == alone
    table.add(f"3b in small at 896, window mode {mode}: preempted among neighbours", "alone", 2, "0")
    assert found["preemptions"] >= 1 and found["largest_batch"] == 2


@pytest.mark.parametrize("isa", ISAS)
def test_a_row_is_the_same_bits_alone_and_in_any_batch(twin: Twin, table: Table, isa: str) -> None:
    """States of every layer and logits, of a prompt alone and with 19 replayed tokens behind it; whole answers, too."""
    if isa not in isas_of_this_machine():
        pytest.skip(f"this machine has no {isa}")
    model, cases = twin.model, twin.cases
    probe = load("bundle", model.directory, isa)
    try:
        whole = Model(model.name, model.directory, model.reference, probe)
        for case in cases[:4]:
            one, many = whole.ours(case, []), whole.ours(case, case.tokens[:-1])
            for name, value in one.items():
                kept = many[name][: len(value)]
                assert np.array_equal(value, kept), f"{isa}: {name} differs by {np.abs(value - kept).max():.1e}"
        one_thread = [run(model, [case], probe)["answers"][0] for case in cases]
        for threads in (1, 2):
            alone = [run(model, [case], probe, threads=threads)["answers"][0] for case in cases]
            assert run(model, cases, probe, threads=threads)["answers"] == alone, f"{isa}, {threads} threads"
            apart = furthest(alone, one_thread)
            if isa == "reference":  # whose BLAS sums otherwise with another number of threads
                assert apart < 1e-4
            else:
                assert alone == one_thread
        assert [tokens(answer) for answer in alone] == [case.tokens for case in cases]
    finally:
        probe.close()
    table.add(f"{model.name}: bits of states, logits and log-probabilities in a batch, {isa}", "alone", 18, "0")
    if isa == "reference":
        table.add(f"{model.name}: log-probabilities, reference operators, 2 threads", "1 thread", 18, f"{apart:.1e}")


def furthest(some: list[Answer], others: list[Answer]) -> float:
    """The largest difference of the log-probabilities of the same answers."""
    pairs = [(step, other) for one, two in zip(some, others, strict=True) for step, other in zip(one, two, strict=True)]
    assert all(step[0] == other[0] for step, other in pairs)
    return max(abs(step[1] - other[1]) for step, other in pairs)


def isas_of_this_machine() -> tuple[str, ...]:
    """The reference operators and what the probe can run here; PG_MAX_CPU_ISA may allow less."""
    return ("reference", *subprocess.check_output([MODEL_PROBE, "--isas"], text=True).split())
