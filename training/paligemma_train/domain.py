# SPDX-License-Identifier: Apache-2.0
"""The vocabulary of the demo model's world: colours, shapes, subjects, places, and their words in three languages."""

from __future__ import annotations

RGB = tuple[int, int, int]

COLORS: dict[str, RGB] = {
    "red": (215, 35, 40), "green": (40, 160, 60), "blue": (45, 80, 220), "yellow": (240, 215, 50),
    "purple": (140, 60, 170), "orange": (245, 140, 30), "white": (245, 245, 245), "black": (25, 25, 25),
}
SHAPES = ("circle", "square", "triangle", "star", "pentagon", "cross", "ring", "heart")
SUBJECTS = ("cow", "dog", "boat", "car", "tree", "house", "person")
PLACES = ("beach", "meadow", "road", "snow", "water")
NAMES = SHAPES + SUBJECTS
SIZES = ("small", "large")
LANGUAGES = ("en", "de", "fr")

UPPER, LOWER, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
CHARACTERS = UPPER + LOWER + DIGITS

# gender (m, f, n) and noun
GERMAN_NOUNS = {
    "circle": ("m", "Kreis"), "square": ("n", "Quadrat"), "triangle": ("n", "Dreieck"), "star": ("m", "Stern"),
    "pentagon": ("n", "Fünfeck"), "cross": ("n", "Kreuz"), "ring": ("m", "Ring"), "heart": ("n", "Herz"),
    "cow": ("f", "Kuh"), "dog": ("m", "Hund"), "boat": ("n", "Boot"), "car": ("n", "Auto"), "tree": ("m", "Baum"),
    "house": ("n", "Haus"), "person": ("f", "Person"),
}
FRENCH_NOUNS = {
    "circle": ("m", "cercle"), "square": ("m", "carré"), "triangle": ("m", "triangle"), "star": ("f", "étoile"),
    "pentagon": ("m", "pentagone"), "cross": ("f", "croix"), "ring": ("m", "anneau"), "heart": ("m", "cœur"),
    "cow": ("f", "vache"), "dog": ("m", "chien"), "boat": ("m", "bateau"), "car": ("f", "voiture"),
    "tree": ("m", "arbre"), "house": ("f", "maison"), "person": ("f", "personne"),
}
# stem for the German ending (-er, -e, -es); French masculine and feminine
GERMAN_COLORS = {"red": "rot", "green": "grün", "blue": "blau", "yellow": "gelb", "purple": "violett",
                 "orange": "orang", "white": "weiß", "black": "schwarz"}
FRENCH_COLORS = {"red": ("rouge", "rouge"), "green": ("vert", "verte"), "blue": ("bleu", "bleue"),
                 "yellow": ("jaune", "jaune"), "purple": ("violet", "violette"), "orange": ("orange", "orange"),
                 "white": ("blanc", "blanche"), "black": ("noir", "noire")}

# "" stands for every other subject
VERBS = {
    "en": {"boat": "floating", "car": "parked", "tree": "growing", "": "standing"},
    "de": {"boat": "schwimmt", "car": "parkt", "tree": "wächst", "": "steht"},
    "fr": {"boat": "flottant", "car": "garée", "tree": "poussant", "house": "située", "": "debout"},
}
PLACE_PHRASES = {
    "en": {"beach": "on the beach", "meadow": "in the meadow", "road": "on the road", "snow": "in the snow",
           "water": "in the water"},
    "de": {"beach": "am Strand", "meadow": "auf der Wiese", "road": "auf der Straße", "snow": "im Schnee",
           "water": "im Wasser"},
    "fr": {"beach": "sur la plage", "meadow": "dans le pré", "road": "sur la route", "snow": "dans la neige",
           "water": "dans l'eau"},
}
