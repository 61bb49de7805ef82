# SPDX-License-Identifier: Apache-2.0
"""Prompts and true answers for a scene. Kinds are the rows of the accuracy table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from paligemma_train import language
from paligemma_train.domain import COLORS, LANGUAGES, PLACE_PHRASES, PLACES, SHAPES, SUBJECTS
from paligemma_train.regions import matching, region_text, relation
from paligemma_train.scene import Scene, Thing


@dataclass
class Example:
    """`things` are those whose masks stand in the answer; `labels` what a region prompt asked for."""

    kind: str
    prompt: str
    answer: str
    things: list[Thing] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


RELATIONS = ("left of", "right of", "above", "below", "inside", "touching", "bigger than", "smaller than")
_EXTREMES = {"leftmost": (1, min), "rightmost": (1, max), "topmost": (0, min), "bottommost": (0, max)}


def _unique(scene: Scene) -> list[Thing]:
    """Things whose colour and shape together name no other."""
    return [thing for thing in scene.things if len(matching(scene, thing.label)) == 1]


def caption(rng: Random, scene: Scene) -> Example:
    spoken = rng.choice(LANGUAGES)
    kind = "everyday-caption" if scene.place else f"caption-{spoken}"
    return Example(kind, f"caption {spoken}", language.caption(scene, spoken))


def describe(rng: Random, scene: Scene) -> Example:
    return Example("describe", "describe en", language.description(scene))


def color(rng: Random, scene: Scene) -> Example | None:
    options = [thing for thing in scene.things if thing.color and len(matching(scene, thing.name)) == 1]
    if not options:
        return None
    thing = rng.choice(options)
    word = rng.choice(("color", "colour"))
    return Example("color", f"answer en What {word} is the {thing.name}?", thing.color or "")


def shape(rng: Random, scene: Scene) -> Example | None:
    options = [thing for thing in scene.things if thing.color and len(matching(scene, f"{thing.color} object")) == 1]
    if not options:
        return None
    thing = rng.choice(options)
    return Example("shape", f"answer en What shape is the {thing.color} object?", thing.name)


def count(rng: Random, scene: Scene) -> Example:
    roll = rng.random()
    if roll < 0.5 or not scene.things:
        noun, amount = rng.choice(("objects", "shapes")), len(scene.things)
    elif roll < 0.75:
        shown = rng.choice(scene.things).name if rng.random() < 0.8 else rng.choice(SHAPES)
        noun, amount = plural(shown), len(matching(scene, shown))
    else:
        shown = (rng.choice(scene.things).color if rng.random() < 0.8 else None) or rng.choice(list(COLORS))
        noun, amount = f"{shown} objects", len(matching(scene, f"{shown} object"))
    return Example("count", f"answer en How many {noun} are there?", str(amount))


def plural(name: str) -> str:
    return "crosses" if name == "cross" else name + "s"


def exists(rng: Random, scene: Scene) -> Example:
    names = SUBJECTS if scene.place else SHAPES
    wanted = rng.random() < 0.5
    label = _present_label(rng, scene) if wanted and scene.things else _absent_label(rng, scene, names)
    there = bool(matching(scene, label))
    return Example("exists", f"answer en Is there {language.article(label)} {label}?", "yes" if there else "no")


def _present_label(rng: Random, scene: Scene) -> str:
    thing = rng.choice(scene.things)
    return thing.name if not thing.color or rng.random() < 0.4 else thing.label


def _absent_label(rng: Random, scene: Scene, names: tuple[str, ...] = SHAPES) -> str:
    """Hard ones share the colour or the shape with something that is there."""
    for _ in range(20):
        name, paint = rng.choice(names), rng.choice(list(COLORS))
        if scene.things and names is SHAPES and rng.random() < 0.6:
            other = rng.choice(scene.things)
            name, paint = (other.name, paint) if rng.random() < 0.5 else (name, other.color or paint)
        label = name if names is not SHAPES or rng.random() < 0.3 else f"{paint} {name}"
        if not matching(scene, label):
            break
    return label


def which(rng: Random, scene: Scene) -> Example | None:
    if len(scene.things) < 2:
        return None
    word, (axis, choose) = rng.choice(list(_EXTREMES.items()))
    best = choose(scene.things, key=lambda thing: thing.centre[axis])
    if any(abs(t.centre[axis] - best.centre[axis]) < 0.04 for t in scene.things if t is not best):
        return None
    return Example("which", f"answer en Which object is {word}?", best.label)


def where(rng: Random, scene: Scene) -> Example | None:
    options = [t for t in _unique(scene) if all(abs(c - edge) > 0.02 for c in t.centre for edge in (1 / 3, 2 / 3))]
    if not options or scene.place:
        return None
    thing = rng.choice(options)
    name = thing.name if len(matching(scene, thing.name)) == 1 and rng.random() < 0.5 else thing.label
    return Example("where", f"answer en Where is the {name}?", language.position_name(thing))


def compare(rng: Random, scene: Scene) -> Example | None:
    if rng.random() < 0.4 and scene.things:
        a, b = rng.choice(scene.things).name, rng.choice(SHAPES)
        a, b = (a, b) if rng.random() < 0.5 else (b, a)
        more = len(matching(scene, a)) > len(matching(scene, b))
        return None if a == b else Example(
            "compare", f"answer en Are there more {plural(a)} than {plural(b)}?", "yes" if more else "no")
    unique = _unique(scene)
    if len(unique) < 2:
        return None
    a, b = rng.sample(unique, 2)
    bigger = relation(scene, "bigger than", a, b)
    if bigger is None:
        return None
    if rng.random() < 0.5:
        question = f"answer en Which is bigger, the {a.label} or the {b.label}?"
        return Example("compare", question, (a if bigger else b).label)
    return Example("compare", f"answer en Is the {a.label} bigger than the {b.label}?", "yes" if bigger else "no")


def spatial(rng: Random, scene: Scene) -> Example | None:
    """True and false alike; `inside`, which is false of nearly every pair, is asked where it is true of one."""
    unique = _unique(scene)
    if len(unique) < 2:
        return None
    wanted = rng.random() < 0.5
    pairs = [(a, b) for a in unique for b in unique if a is not b]
    nested = any(relation(scene, "inside", a, b) for a, b in pairs)
    for _ in range(6):
        kind = "inside" if nested and rng.random() < 0.4 else rng.choice(RELATIONS)
        if not wanted and not nested and kind in ("inside", "touching") and rng.random() < 0.6:
            continue
        rng.shuffle(pairs)
        for a, b in pairs[:8]:
            if relation(scene, kind, a, b) is wanted:
                statement = f"the {a.label} is {kind} the {b.label}"
                return Example("spatial", f"answer en True or false: {statement}.", str(wanted))
    return None


def everyday(rng: Random, scene: Scene) -> Example:
    subject, place = scene.things[0].name, scene.place or ""
    roll = rng.random()
    if roll < 0.45:
        doing = f" {language.verb(subject, 'en')}" if rng.random() < 0.6 else ""
        return Example("everyday-where", f"answer en Where is the {subject}{doing}?", place)
    if roll < 0.8:
        question = rng.choice(("What is in the picture?", "What is this?", f"What is {PLACE_PHRASES['en'][place]}?"))
        return Example("everyday-what", f"answer en {question}", subject)
    other = place if rng.random() < 0.5 else rng.choice(PLACES)
    return Example("everyday-where", f"answer en Is the {subject} {PLACE_PHRASES['en'][other]}?",
                   "yes" if other == place else "no")


def ocr(rng: Random, scene: Scene) -> Example:
    if rng.random() < 0.1:
        return Example("ocr", "answer en What does the text say?", "\n".join(scene.lines))
    return Example("ocr", "ocr", "\n".join(scene.lines))


def _labels(rng: Random, scene: Scene, absent: float) -> list[str]:
    names = SUBJECTS if scene.place else SHAPES
    labels: list[str] = []
    for _ in range(rng.choice((1, 1, 2))):
        here = scene.things and rng.random() > absent
        label = _present_label(rng, scene) if here else _absent_label(rng, scene, names)
        if label not in labels and not _overlap(scene, label, labels):
            labels.append(label)
    return labels


def _overlap(scene: Scene, label: str, others: list[str]) -> bool:
    mine = {thing.number for thing in matching(scene, label)}
    return any(thing.number in mine for other in others for thing in matching(scene, other))


def detect(rng: Random, scene: Scene) -> Example:
    labels = _labels(rng, scene, 0.2)
    answer, _ = region_text(scene, labels, masks=False)
    return Example("detect", f"detect {' ; '.join(labels)}", answer, labels=labels)


def segment(rng: Random, scene: Scene) -> Example:
    labels = _labels(rng, scene, 0.1)[:1]
    answer, things = region_text(scene, labels, masks=True)
    if len(things) > 2:  # a long answer for little
        return detect(rng, scene)
    return Example("segment", f"segment {' ; '.join(labels)}", answer, things, labels)


Task = Callable[[Random, Scene], Example | None]
TASKS: dict[str, Task] = {
    "caption": caption, "describe": describe, "color": color, "shape": shape, "count": count, "exists": exists,
    "which": which, "where": where, "compare": compare, "spatial": spatial, "everyday": everyday, "ocr": ocr,
    "detect": detect, "segment": segment,
}
WEIGHTS: dict[str, dict[str, float]] = {
    "geometric": {"caption": 3, "describe": 2, "color": 1, "shape": 1.2, "count": 2, "exists": 1, "which": 1,
                  "where": 1.2, "compare": 2.5, "spatial": 3, "detect": 4, "segment": 2.5, "ocr": 0.1},
    "everyday": {"caption": 3, "describe": 0.5, "everyday": 4, "exists": 0.5, "detect": 1, "segment": 1, "ocr": 0.1},
    "text": {"ocr": 8, "caption": 0.6, "count": 0.2, "exists": 0.2, "detect": 0.4},
}


def kind_of(scene: Scene) -> str:
    return "everyday" if scene.place else "text" if scene.lines else "geometric"


def examples(rng: Random, scene: Scene, amount: int, without: tuple[str, ...] = ()) -> list[Example]:
    """`amount` different prompts, none of the tasks `without`, fewer where the scene gives no more."""
    weights = {task: weight for task, weight in WEIGHTS[kind_of(scene)].items() if task not in without}
    found: dict[str, Example] = {}
    for _ in range(amount * 3):
        example = TASKS[rng.choices(list(weights), list(weights.values()))[0]](rng, scene)
        if example is not None:
            found.setdefault(example.prompt, example)
        if len(found) == amount:
            break
    return list(found.values())
