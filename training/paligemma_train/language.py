# SPDX-License-Identifier: Apache-2.0
"""Phrases about things in English, German and French."""

from __future__ import annotations

from paligemma_train.domain import (
    FRENCH_COLORS,
    FRENCH_NOUNS,
    GERMAN_COLORS,
    GERMAN_NOUNS,
    PLACE_PHRASES,
    VERBS,
)
from paligemma_train.scene import Scene, Thing

_AND = {"en": "and", "de": "und", "fr": "et"}
_ENDINGS = {"m": "er", "f": "e", "n": "es"}
_EMPTY = {"en": "an empty background", "de": "ein leerer Hintergrund", "fr": "un fond vide"}
_ROWS, _COLUMNS = ("top", "", "bottom"), ("left", "", "right")
_LISTED = 3  # things that a short caption names before it counts


def noun_phrase(thing: Thing, language: str, size: bool = False) -> str:
    """With the indefinite article: a red circle, ein roter Kreis, un cercle rouge."""
    if language == "de":
        gender, noun = GERMAN_NOUNS[thing.name]
        words = [GERMAN_COLORS[thing.color] + _ENDINGS[gender]] if thing.color else []
        if size:
            words.insert(0, ("klein" if thing.size == "small" else "groß") + _ENDINGS[gender])
        return " ".join(["eine" if gender == "f" else "ein", *words, noun])
    if language == "fr":
        gender, noun = FRENCH_NOUNS[thing.name]
        words = ["une" if gender == "f" else "un", noun]
        if thing.color:
            words.append(FRENCH_COLORS[thing.color][gender == "f"])
        if size:
            adjective = ("petit" if thing.size == "small" else "grand") + ("e" if gender == "f" else "")
            words.insert(1, adjective)
        return " ".join(words)
    words = ([thing.size] if size else []) + ([thing.color] if thing.color else []) + [thing.name]
    return " ".join([article(words[0]), *words])


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def position_name(thing: Thing) -> str:
    """Which ninth of the picture: top left, top, ..., center, ..., bottom right."""
    y, x = thing.centre
    words = _ROWS[min(2, int(y * 3))], _COLUMNS[min(2, int(x * 3))]
    return " ".join(filter(None, words)) or "center"


def from_left(things: list[Thing]) -> list[Thing]:
    return sorted(things, key=lambda thing: (thing.centre[1], thing.centre[0]))


def everyday_caption(scene: Scene, language: str) -> str:
    """cow standing on the beach, Kuh steht am Strand, vache debout sur la plage."""
    subject = scene.things[0].name
    nouns = {"en": subject, "de": GERMAN_NOUNS[subject][1], "fr": FRENCH_NOUNS[subject][1]}
    assert scene.place is not None
    return f"{nouns[language]} {verb(subject, language)} {PLACE_PHRASES[language][scene.place]}"


def verb(subject: str, language: str) -> str:
    return VERBS[language].get(subject, VERBS[language][""])


def caption(scene: Scene, language: str) -> str:
    if scene.place:
        return everyday_caption(scene, language)
    things = from_left(scene.things)
    if scene.lines:
        nouns = [noun_phrase(thing, language) for thing in things]
        return _joined([_lines_phrase(len(scene.lines), language), *nouns], language)
    if not things:
        return _EMPTY[language]
    if len(things) == 1:
        return noun_phrase(things[0], language, size=True)
    if len(things) <= _LISTED:
        return _joined([noun_phrase(thing, language) for thing in things], language)
    first = noun_phrase(things[0], language)
    return {"en": f"{len(things)} shapes, {first} on the left", "de": f"{len(things)} Formen, links {first}",
            "fr": f"{len(things)} formes, à gauche {first}"}[language]


def description(scene: Scene) -> str:
    """Returns every thing with its colour and position, from the left."""
    if scene.place:
        return f"{everyday_caption(scene, 'en')}, {position_name(scene.things[0])}"
    if not scene.things:
        return caption(scene, "en")
    return ", ".join(f"{thing.label} {position_name(thing)}" for thing in from_left(scene.things))


def _joined(phrases: list[str], language: str) -> str:
    if len(phrases) == 1:
        return phrases[0]
    return f"{', '.join(phrases[:-1])} {_AND[language]} {phrases[-1]}"


def _lines_phrase(count: int, language: str) -> str:
    one = {"en": "a line of text", "de": "eine Zeile Text", "fr": "une ligne de texte"}
    many = {"en": f"{count} lines of text", "de": f"{count} Zeilen Text", "fr": f"{count} lignes de texte"}
    return one[language] if count == 1 else many[language]
