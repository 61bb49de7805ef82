# SPDX-License-Identifier: Apache-2.0
"""The pictures of `make demo`, the questions about them, and the truth that the renderer knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from paligemma_train import everyday, language, lettering, metrics, scene, tasks, worlds
from paligemma_train.evaluate import Asker, Case, Reply
from paligemma_train.regions import matching
from paligemma_train.scene import Scene
from paligemma_train.tasks import Example

NOTE = ("A miniature of PaliGemma 2, trained by training/ on drawn scenes; every answer is compared with what was "
        "drawn. The pictures were chosen among such that it answers rightly; how often it does stands in its README.")
_SMALLEST = 300  # pixels, so that the pictures with boxes and masks can be looked at
_TRIES = 400
_OVERLAP = 0.7  # of a box with the true one, and of a mask

Asks = list[tuple[str, list[str], Example]]  # RPC, the client's arguments, prompt and truth


def _beach(rng: Random) -> tuple[Scene, Asks]:
    shown = everyday.scene(rng, "cow", "beach")
    where = Example("everyday-where", "answer en Where is the cow standing?", "beach")
    return shown, [
        ("Caption", ["caption", "PICTURE"], Example("caption-en", "caption en", language.caption(shown, "en"))),
        ("Answer", ["answer", "PICTURE", "Where is the cow standing?"], where)]


def _shapes(rng: Random) -> tuple[Scene, Asks]:
    shown = scene.geometric(rng, 4, 4, "gradient")
    count = Example("count", "answer en How many objects are there?", str(len(shown.things)))
    asks: Asks = [("Caption", ["caption", "PICTURE", "--length=long"], tasks.describe(rng, shown)),
                  ("Answer", ["answer", "PICTURE", "How many objects are there?"], count)]
    statement = tasks.spatial(rng, shown)
    if statement is not None:
        question = statement.prompt.removeprefix("answer en ")
        asks.append(("Answer", ["answer", "PICTURE", question], statement))
        asks.append(("Generate", ["generate", "PICTURE", statement.prompt], statement))
    return shown, asks


def _pasted(rng: Random) -> tuple[Scene, Asks]:
    shown = scene.geometric(rng, 3, 3, "photo")
    labels = [thing.label for thing in language.from_left(shown.things)][:2]
    named = matching(shown, labels[0]) if labels else []
    detected = Example("detect", f"detect {' ; '.join(labels)}", "", labels=labels)
    cut_out = Example("segment", f"segment {labels[0]}" if labels else "", "", named, labels[:1])
    return shown, [
        ("Detect", ["detect", "PICTURE", " ; ".join(labels), "--overlay=demo-out/detect.png"], detected),
        ("Segment", ["segment", "PICTURE", *labels[:1], "--overlay=demo-out/segment.png"], cut_out)]


def _sign(rng: Random) -> tuple[Scene, Asks]:
    shown = lettering.scene(rng, most_lines=1, longest=4)
    return shown, [("ReadText", ["read", "PICTURE"], Example("ocr", "ocr", "\n".join(shown.lines)))]


SCENES: dict[str, Callable[[Random], tuple[Scene, Asks]]] = {
    "beach": _beach, "shapes": _shapes, "pasted": _pasted, "sign": _sign}


def write(bundle: Path, ask: Asker, without: tuple[str, ...] = ()) -> None:
    """Pictures and demo.json into `bundle`; `ask` is the model, which must know the answers."""
    pictures = bundle / "demo"
    pictures.mkdir(exist_ok=True)
    entries: list[dict[str, Any]] = []
    for name, make in SCENES.items():
        if name in without:
            continue
        shown, asks, index = _first_known(name, make, ask)
        path = pictures / f"{name}.png"
        shown.picture.save(path, optimize=True)
        print(f"showcase: {name} is scene {index}", flush=True)
        entries += [_entry(shown, rpc, [str(path) if part == "PICTURE" else part for part in arguments], example)
                    for rpc, arguments, example in asks]
    text = json.dumps({"note": NOTE, "asks": entries}, indent=1, ensure_ascii=False)
    (bundle / "demo.json").write_text(text + "\n")


def _first_known(name: str, make: Callable[[Random], tuple[Scene, Asks]], ask: Asker) -> tuple[Scene, Asks, int]:
    for index, (shown, asks) in _candidates(name, make):
        replies = ask([Case(shown, example) for _, _, example in asks])
        if all(_right(shown, example, reply) for (_, _, example), reply in zip(asks, replies, strict=True)):
            return shown, asks, index
    raise SystemExit(f"showcase: no {name} scene of {_TRIES} is answered rightly throughout")


def _candidates(name: str, make: Callable[[Random], tuple[Scene, Asks]]) -> Iterator[tuple[int, tuple[Scene, Asks]]]:
    for index in range(_TRIES):
        shown, asks = make(worlds.random_of(f"held-out-demo-{name}", index))
        distinct = len({thing.label for thing in shown.things}) == len(shown.things)
        complete = len(asks) == len({rpc + example.prompt for rpc, _, example in asks}) and distinct
        if complete and min(shown.picture.size) >= _SMALLEST:
            yield index, (shown, asks)


def _right(shown: Scene, example: Example, reply: Reply) -> bool:
    if example.kind not in ("detect", "segment"):
        return reply.text == example.answer
    truth = [(label, thing.box) for label in example.labels for thing in matching(shown, label)]
    found = metrics.match_boxes(metrics.regions(reply.text), truth)
    boxes = len(found) == len(truth) > 0 and all(overlap >= _OVERLAP for _, overlap in found)
    if example.kind == "detect":
        return boxes
    return boxes and all(max((metrics.mask_iou(mask, shown.mask(thing)) for mask in reply.masks), default=0) >= _OVERLAP
                         for thing in example.things)


def _entry(shown: Scene, rpc: str, arguments: list[str], example: Example) -> dict[str, Any]:
    if example.kind not in ("detect", "segment"):
        return {"rpc": rpc, "arguments": arguments, "expect": example.answer}
    width, height = shown.picture.size
    objects = []
    for label in example.labels:
        for thing in matching(shown, label):
            y0, x0, y1, x1 = thing.box
            box = [round(x0 * width), round(y0 * height), round(x1 * width), round(y1 * height)]
            area = int(shown.mask(thing).sum())
            objects.append({"label": label, "box": box} | ({"area": area} if example.kind == "segment" else {}))
    return {"rpc": rpc, "arguments": arguments, "objects": objects}
