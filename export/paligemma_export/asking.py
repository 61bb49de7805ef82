# SPDX-License-Identifier: Apache-2.0
"""A bundle asked about a picture in plain Python: Pillow, sentencepiece and the reference kernels, no server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from paligemma_export import bundle, manifest, tokenizer
from paligemma_export.bundle_source import load_module
from paligemma_export.errors import ExportError
from paligemma_export.pictures import opened, prepared
from paligemma_export.runner import Runner

LIMIT = 256  # answered tokens
_BLANKS = " \t\n\r\v\f"


def normalized(prompt: str) -> str:
    """The prompt in the form that the model reads, by the server's rules for a request with one picture: each line
    ends with a newline character, the marks <image> and <bos> at the front are taken off, newlines at the end too. A
    prompt may be blank, as in Generate.
    Raises ExportError where the server refuses the prompt."""
    rest = prompt.replace("\r\n", "\n").replace("\r", "\n")
    rest, images = _without_marks(rest, "<image>")
    rest, _ = _without_marks(rest, "<bos>")
    if images > 1:
        raise ExportError(f"prompt {prompt!r}: {images} times <image>, but there is one picture; leave <image> out")
    return rest.rstrip("\n")


def _without_marks(text: str, mark: str) -> tuple[str, int]:
    """The text behind all `mark`s at its front, and their number. Blanks are skipped in front of a mark only."""
    count = 0
    while (front := text.lstrip(_BLANKS)).startswith(mark):
        text = front[len(mark) :]
        count += 1
    return text, count


class Asker:
    """Holds the modules of the bundle `path`."""

    def __init__(self, path: Path):
        self._content: dict[str, Any] = bundle.read_manifest(path)
        self._words = tokenizer.load((path / "tokenizer.model").read_bytes())
        self._vision, self._decoder = load_module(path, "vision.pt"), load_module(path, "decoder.pt")

    @torch.inference_mode()
    def answer(self, picture: Path, prompt: str) -> str:
        """The greedy answer to a task prompt such as "caption en", coordinates and masks as <loc> and <seg> tokens:
        what the server's Generate returns as raw_text."""
        features = self._vision(prepared(opened(picture), self._content["image"]))
        text = [tokenizer.BOS, *self._encoded(normalized(prompt)), self._content["tokens"]["newline"]]
        positions = features.size(0) + len(text) + LIMIT
        runner = Runner.of_manifest(self._decoder, self._content, positions=positions)
        return self._words.decode(runner.generate(features, text, LIMIT).token_ids)

    def _encoded(self, prompt: str) -> list[int]:
        """The ids of a client's text: <loc> and <seg> are tokens, other special spellings are cut behind their "<"."""
        ids: list[int] = []
        begin = 0
        for match in manifest.SPECIAL.finditer(prompt):
            allowed = match[0] in self._content["tokens"].get("client_specials", [])
            if not allowed and not match[0].startswith(("<loc", "<seg")):
                ids += self._words.encode(prompt[begin : match.start() + 1])
                begin = match.start() + 1
        return ids + self._words.encode(prompt[begin:])
