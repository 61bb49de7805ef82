# SPDX-License-Identifier: Apache-2.0
"""Objects in a model's output against the grammar of the published parser, written here as its regular expression."""

from __future__ import annotations

import re
from typing import Any

import evaluator
import numpy as np
import pytest
import sentencepiece
from conftest import BUNDLE, Probe, Table, cases
from test_text import CODES, LOCATIONS

SEED = 22
# reference: semantics 6.2. Text before a match is content and no object.
OBJECT = re.compile(
    r"(?s:.*?)" + r"<loc(\d{4})>" * 4 + r"\s*(?:" + r"<seg(\d{3})>" * 16 + r")?\s*([^;<>]+)? ?(?:; )?"
)
LABELS = ["cat", " cat", "red car", "two  dogs ", "Straße", ""]


@pytest.fixture(scope="module")
def pieces() -> sentencepiece.SentencePieceProcessor:
    """sentencepiece on the bundle's own model."""
    return sentencepiece.SentencePieceProcessor(model_file=str(BUNDLE / "tokenizer.model"))


def outputs(number: int, pieces: sentencepiece.SentencePieceProcessor) -> list[list[int]]:
    """Outputs of one to four objects, one in three of them damaged: a location or code too few, text in between."""
    random = np.random.default_rng(SEED)
    found = []
    for _ in range(number):
        ids: list[int] = []
        for k in range(random.integers(1, 5)):
            damage = random.integers(0, 18)  # 0 to 5: one of the damages below
            locations = [int(i) for i in random.choice(LOCATIONS, 3 if damage == 0 else 5 if damage == 1 else 4)]
            codes = [int(i) for i in random.choice(CODES, 7 if damage == 2 else 16)] if random.random() < 0.5 else []
            label = str(random.choice(LABELS))
            if damage == 3:
                locations.insert(2, pieces.encode(" ")[0])
            if damage == 4:
                label += " < b"
            ids += pieces.encode(" ; ") if k else []
            ids += pieces.encode("so: ") if damage == 5 else []
            ids += [*locations, *codes, *pieces.encode(label)]
        found.append(ids)
    return found


def published(text: str, require_codes: bool) -> list[dict[str, Any]]:
    """What the expression finds, less what no client can use: empty boxes, exact repetitions, and boxes with a mask
    whose codes break off, of which the expression keeps the box and loses the label."""
    objects = []
    while match := OBJECT.match(text):
        *numbers, label = match.groups()
        text = text[match.end() :]
        y0, x0, y1, x1 = bins = [int(number) for number in numbers[:4]]
        codes = None if numbers[4] is None else [int(number) for number in numbers[4:]]
        one = {"bins": bins, "label": (label or "").strip(), "codes": codes}
        whole = codes or not (text.startswith("<seg") or require_codes)
        if y0 < y1 and x0 < x1 and whole and one not in objects:
            objects.append(one)
    return objects


@pytest.mark.parametrize("require_codes", [False, True], ids=["detect", "segment"])
def test_objects_are_those_of_the_published_expression(
    probe: Probe, table: Table, pieces: sentencepiece.SentencePieceProcessor, require_codes: bool
) -> None:
    todo = outputs(cases(10_000), pieces)
    found = 0
    for ids in todo:
        answer = probe.ask("regions", ids=ids, require_codes=require_codes)
        expected = published(pieces.decode(ids), require_codes)
        assert answer["objects"] == expected, pieces.decode(ids)
        found += len(expected)
    assert found > len(todo) / 10
    name = "objects with masks" if require_codes else "objects"
    table.add(f"{name} in damaged and whole outputs", "the published expression", len(todo), "0")


def test_swapped_sides_of_a_box_would_be_seen(probe: Probe, pieces: sentencepiece.SentencePieceProcessor) -> None:
    """A control: x before y."""
    differing = 0
    for ids in outputs(100, pieces):
        ours = probe.ask("regions", ids=ids, require_codes=False)["objects"]
        swapped = [{**one, "bins": [one["bins"][i] for i in (1, 0, 3, 2)]} for one in ours]
        differing += swapped != published(pieces.decode(ids), False)
    assert differing > 25


def test_what_the_strict_evaluator_reads_is_our_first_object(
    probe: Probe, table: Table, pieces: sentencepiece.SentencePieceProcessor
) -> None:
    """Of an output that the published evaluator accepts, ours is the same; what it refuses is never made up."""
    first = (int(LOCATIONS[0]), int(CODES[0]))
    todo, valid = outputs(cases(10_000), pieces), 0
    for ids in todo:
        strict = evaluator.read(ids, *first)
        objects = probe.ask("regions", ids=ids, require_codes=True)["objects"]
        codes = [one["codes"] for one in objects]
        assert all(len(one) == 16 for one in codes), pieces.decode(ids)
        if strict:
            valid += 1
            assert (tuple(objects[0]["bins"]), tuple(codes[0])) == (strict.bins, strict.codes), pieces.decode(ids)
        elif objects:  # then it stands further behind, where the evaluator does not look
            assert ids[:4] != [first[0] + one for one in objects[0]["bins"]] or ids[4] < first[1]
    assert valid > len(todo) / 20
    table.add("objects that the strict evaluator accepts", "the published evaluator", valid, "0")


def test_pixels_are_the_contracts_and_not_the_evaluators(probe: Probe, table: Table) -> None:
    """bin / 1024 of the side, half to even; the evaluator's rule lies within a pixel and one in a thousand."""
    random = np.random.default_rng(SEED)
    todo, other = cases(10_000), 0
    for _ in range(todo):
        width, height = (int(side) for side in random.integers(1, 4000, 2))
        bins = [int(value) for value in random.integers(0, 1024, 4)]
        ours = probe.ask("pixel_box", bins=bins, width=width, height=height)["box"]
        exact = [bins[i] * side / 1024 for i, side in ((1, width), (0, height), (3, width), (2, height))]
        assert ours == [round(value) for value in exact]  # Python rounds half to even, too
        theirs = evaluator.pixels(tuple(bins), width, height)
        assert all(abs(a - b) <= 1 + max(width, height) / 1000 for a, b in zip(ours, theirs, strict=True))
        other += list(theirs) != ours
    assert other > todo / 4, "the evaluator's rule would not be told from ours"
    table.add("pixels of boxes", "bin / 1024, half to even", todo, "0")
