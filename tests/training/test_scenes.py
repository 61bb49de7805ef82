# SPDX-License-Identifier: Apache-2.0
"""The renderer tells the truth about what it drew, and draws the same again."""

import numpy as np
import pytest
from paligemma_train import dense, everyday, language, lettering, regions, tasks, vqvae, worlds
from paligemma_train.domain import CHARACTERS, COLORS, NAMES, PLACES, SUBJECTS
from paligemma_train.scene import Scene, Thing
from PIL import Image


def scenes(kind: str | None = None, count: int = 40) -> list[Scene]:
    return [worlds.render(worlds.random_of("test", index), kind) for index in range(count)]


def blank(things: list[Thing], place: str | None = None) -> Scene:
    return Scene(Image.new("RGB", (100, 100)), np.zeros((100, 100), np.uint8), things, place)


def test_same_index_same_scene() -> None:
    for first, second in zip(scenes(count=12), scenes(count=12), strict=True):
        assert np.array_equal(np.asarray(first.picture), np.asarray(second.picture))
        assert np.array_equal(first.numbers, second.numbers)
        assert first.things == second.things and first.lines == second.lines


def test_box_is_the_extent_of_the_mask() -> None:
    for scene in scenes():
        height, width = scene.numbers.shape
        assert scene.picture.size == (width, height)
        for thing in scene.things:
            rows, columns = np.nonzero(scene.mask(thing))
            box = (rows.min() / height, columns.min() / width, (rows.max() + 1) / height, (columns.max() + 1) / width)
            assert thing.box == pytest.approx(box)
            assert thing.area == pytest.approx(scene.mask(thing).mean())


def test_no_number_without_a_thing() -> None:
    for scene in scenes():
        assert set(np.unique(scene.numbers)) - {0} == {thing.number for thing in scene.things}


def test_colour_is_what_is_seen() -> None:
    for scene in scenes("geometric", 30):
        pixels = np.asarray(scene.picture, np.float32)
        for thing in scene.things:
            middle = np.median(pixels[scene.mask(thing)], 0)
            nearest = min(COLORS, key=lambda name: np.square(np.array(COLORS[name]) - middle).sum())  # noqa: B023
            assert nearest == thing.color


def test_crop_of_the_mask_comes_back() -> None:
    for scene in scenes("geometric", 20):
        for thing in scene.things:
            crop = vqvae.to_input(scene.mask_crop(thing)[None])[0, 0].numpy()
            from paligemma_train.metrics import mask_iou, paste

            height, width = scene.numbers.shape
            assert mask_iou(paste(crop, thing.box, width, height), scene.mask(thing)) > 0.85


def test_every_subject_in_every_place() -> None:
    for subject in SUBJECTS:
        for place in PLACES:
            scene = everyday.scene(worlds.random_of(subject, 0), subject, place)
            assert scene.place == place
            assert [thing.name for thing in scene.things] == [subject]
            assert scene.things[0].area > 0.01


def test_characters_stand_inside_the_picture_in_reading_order() -> None:
    for scene in scenes("text", 30):
        assert ["".join(character for character, _ in line) for line in scene.characters] == scene.lines
        for line in scene.characters:
            for _, (y0, x0, y1, x1) in line:
                assert -0.03 <= x0 < x1 <= 1.03 and -0.03 <= y0 < y1 <= 1.06
        assert 1 <= len(scene.lines) <= 3 and all(2 <= len(line) <= 8 for line in scene.lines)


def test_dense_labels_name_the_thing_of_a_patch() -> None:
    for scene in scenes(count=20):
        labels = dense.labels(scene, 8)
        for patch in np.flatnonzero(labels.name):
            thing_names = {thing.name for thing in scene.things if thing.box == pytest.approx(labels.box[patch])}
            assert NAMES[labels.name[patch] - 1] in thing_names


def test_characters_in_the_order_of_their_labels_are_the_text() -> None:
    seen = scenes("text", 60)
    assert sum(read(scene) == scene.lines for scene in seen) >= len(seen) - 1  # a line may have no row left


def read(scene: Scene) -> list[str]:
    """The text that the labels of half patches tell, each place by the character that most of them show."""
    labels = dense.labels(scene, 8)
    shown: dict[tuple[int, int], list[str]] = {}
    cells = zip(labels.lines.flat, labels.char_indices.flat, labels.characters.flat, strict=True)
    for line, char_index, label in cells:
        if label:
            shown.setdefault((line, char_index), []).append(CHARACTERS[label - 1])
    lines = [""] * max(line for line, _ in shown)
    for (line, _), characters in sorted(shown.items()):
        assert len(set(characters)) == 1
        lines[line - 1] += characters[0]
    return lines


def test_pages_hold_many_characters_and_nothing_to_ask_about() -> None:
    pages = [lettering.page(worlds.random_of("test", index)) for index in range(20)]
    written = sum(len(line) for page in pages for line in page.characters)
    assert written > 25 * len(pages)
    assert sum((dense.labels(page, 8).characters > 0).sum() for page in pages) > 0.97 * written
    assert not any(page.lines or page.things for page in pages)
    char_indices = np.concatenate([dense.labels(page, 8).char_indices for page in pages])
    assert set(np.unique(char_indices)) == {dense.IGNORED, *range(dense.LONGEST + 1)}


def test_parts_of_a_page_know_where_their_characters_stand() -> None:
    for part in lettering.pages(worlds.random_of("test", 3), 6):
        assert part.picture.size == part.numbers.shape[::-1]
        boxes = [box for line in part.characters for _, box in line]
        assert len(boxes) > 4
        grey = np.asarray(part.picture.convert("L"), np.float32)
        height, width = grey.shape
        inked = [grey[max(0, int(y0 * height)):int(y1 * height) + 1, max(0, int(x0 * width)):int(x1 * width) + 1].std()
                 for y0, x0, y1, x1 in boxes]
        assert np.mean(np.array(inked) > 12) > 0.9


def test_coordinates_are_unbiased() -> None:
    assert regions.location_text((0.0, 0.5, 0.25, 1.0)) == "<loc0000><loc0512><loc0256><loc1023>"


def test_relations() -> None:
    small = Thing("star", "red", "small", 1, (0.4, 0.4, 0.6, 0.6))
    large = Thing("ring", "blue", "large", 2, (0.2, 0.2, 0.8, 0.8))
    right = Thing("heart", "green", "small", 3, (0.4, 0.85, 0.55, 1.0))
    scene = blank([small, large, right])
    assert regions.relation(scene, "inside", small, large) is True
    assert regions.relation(scene, "inside", large, small) is False
    assert regions.relation(scene, "inside", right, large) is False
    assert regions.relation(scene, "left of", small, right) is True
    assert regions.relation(scene, "above", small, large) is None
    assert regions.relation(scene, "bigger than", large, small) is True


def test_phrases() -> None:
    star = Thing("star", "red", "small", 1, (0.1, 0.1, 0.2, 0.2))
    circle = Thing("circle", "white", "large", 2, (0.4, 0.4, 0.6, 0.6))
    scene = blank([circle, star])
    assert language.caption(scene, "en") == "a red star and a white circle"
    assert language.caption(scene, "de") == "ein roter Stern und ein weißer Kreis"
    assert language.caption(scene, "fr") == "une étoile rouge et un cercle blanc"
    assert language.description(scene) == "red star top left, white circle center"
    assert language.caption(blank([circle]), "fr") == "un grand cercle blanc"
    cow = blank([Thing("cow", None, "large", 1)], "beach")
    assert language.caption(cow, "en") == "cow standing on the beach"
    assert language.caption(cow, "de") == "Kuh steht am Strand"


def test_answers_are_true() -> None:
    for index in range(60):
        rng = worlds.random_of("answers", index)
        scene = worlds.render(rng)
        for example in tasks.examples(rng, scene, 4):
            if example.prompt.endswith(("objects are there?", "shapes are there?")) and example.kind == "count":
                color = example.prompt.split()[4]
                wanted = [t for t in scene.things if color in ("objects", "shapes", t.color)]
                assert example.answer == str(len(wanted))
            if example.kind in ("detect", "segment"):
                assert example.answer.count("<loc") == 4 * sum(
                    len(regions.matching(scene, label)) for label in example.labels)
            if example.kind == "ocr":
                assert example.answer == "\n".join(scene.lines)
            if example.kind == "color":
                assert example.answer in {t.color for t in scene.things if t.name == example.prompt.split()[-1][:-1]}


def test_every_relation_is_asked_with_both_answers() -> None:
    asked = set()
    for index in range(700):
        rng = worlds.random_of("relations", index)
        example = tasks.spatial(rng, worlds.render(rng, "geometric", least_things=3))
        if example is not None:
            asked.add((next(kind for kind in tasks.RELATIONS if f" {kind} " in example.prompt), example.answer))
    assert asked == {(kind, answer) for kind in tasks.RELATIONS for answer in ("True", "False")}
