# SPDX-License-Identifier: Apache-2.0
"""Prompts of forty scripts, made from fixed seeds: letters of each script among the words, signs and blanks that
prompts have."""

from __future__ import annotations

import random
import unicodedata

# Script -> the range of its letters.
SCRIPTS: dict[str, tuple[int, int]] = {
    "latin": (0x41, 0x7A), "latin-1": (0xC0, 0xFF), "latin-a": (0x100, 0x17F), "latin-b": (0x180, 0x24F),
    "phonetic": (0x250, 0x2AF), "greek": (0x370, 0x3FF), "cyrillic": (0x400, 0x4FF), "armenian": (0x531, 0x587),
    "hebrew": (0x5D0, 0x5EA), "arabic": (0x620, 0x64A), "syriac": (0x710, 0x72F), "thaana": (0x780, 0x7A5),
    "devanagari": (0x904, 0x939), "bengali": (0x985, 0x9B9), "gurmukhi": (0xA05, 0xA39), "gujarati": (0xA85, 0xAB9),
    "oriya": (0xB05, 0xB39), "tamil": (0xB85, 0xBB9), "telugu": (0xC05, 0xC39), "kannada": (0xC85, 0xCB9),
    "malayalam": (0xD05, 0xD39), "sinhala": (0xD85, 0xDC6), "thai": (0xE01, 0xE30), "lao": (0xE81, 0xEB0),
    "tibetan": (0xF40, 0xF6C), "myanmar": (0x1000, 0x102A), "georgian": (0x10D0, 0x10FA), "hangul jamo": (0x1100, 0x1112),  # noqa: E501
    "ethiopic": (0x1200, 0x1248), "cherokee": (0x13A0, 0x13F4), "khmer": (0x1780, 0x17B3), "mongolian": (0x1820, 0x1842),  # noqa: E501
    "vietnamese": (0x1EA0, 0x1EF9), "hiragana": (0x3041, 0x3096), "katakana": (0x30A1, 0x30FA),
    "bopomofo": (0x3105, 0x312F), "han": (0x4E00, 0x9FA5), "hangul": (0xAC00, 0xD7A3), "full width": (0xFF21, 0xFF5A),
    "emoji": (0x1F300, 0x1F6C5),
}  # fmt: skip
assert len(SCRIPTS) == 40

_TASKS = ["caption en", "describe de", "answer en ", "detect ", "segment ", "ocr", ""]
_BLANKS = [" ", " ", " ", "  ", "   ", "\n", "\n\n", "\t", "\t\t", " \n", "\u00a0", "\u3000"]
_SIGNS = [" ; ", ", ", ".", "?", "!", "-", "(", ")", "«", "»", "…", "e\u0301", "<b>", "</td>", "<", "&amp;", "€", "½"]
_NUMBERS = ["0", "42", "1999", "3.14", "007", "12345678", "٣٤", "४"]


def prompts(number: int, seed: int = 40) -> list[str]:
    """`number` prompts, as many of each script."""
    draw = random.Random(seed)
    scripts = list(SCRIPTS.values())
    return [_prompt(draw, *scripts[index % len(scripts)]) for index in range(number)]


def _prompt(draw: random.Random, first: int, last: int) -> str:
    letters = [chr(code) for code in range(first, last + 1) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    few = draw.sample(letters, min(len(letters), 6))  # words repeat letters, so that runs come up
    parts = [draw.choice(_TASKS)]
    for _ in range(draw.randint(1, 7)):
        word = "".join(draw.choice(few if draw.random() < 0.5 else letters) for _ in range(draw.randint(1, 9)))
        parts.append(draw.choice([word, word, word, draw.choice(_SIGNS), draw.choice(_NUMBERS)]))
        parts.append(draw.choice(_BLANKS))
    return "".join(parts)
