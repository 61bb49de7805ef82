# SPDX-License-Identifier: Apache-2.0
"""`verify --ask` sees a picture as the server does: the corpus of tests/core/vision, whose pixels the server's tests
hold, and files that the server refuses. tests/fidelity/test_plain_pictures.py compares the two side by side."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from paligemma_export import pictures
from paligemma_export.errors import ExportError
from PIL import Image

CORPUS = Path(__file__).resolve().parents[1] / "core/vision/images"
EXPECTED = [line.split() for line in (CORPUS / "expected.txt").read_text().splitlines()]


@pytest.mark.parametrize("line", EXPECTED, ids=[line[0] for line in EXPECTED])
def test_pixels_are_the_servers(line: list[str]) -> None:
    name, width, height, _, digest = line
    image = pictures.opened(CORPUS / name)
    assert image.size == (int(width), int(height)) and image.mode == "RGB"
    assert hashlib.sha256(image.tobytes()).hexdigest() == digest


def encoded(kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM"])
def test_kinds_that_the_server_refuses_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x.jpg").write_bytes(encoded(kind))
    with pytest.raises(ExportError, match=r"picture .*x\.jpg: not a picture that the server reads"):
        pictures.opened(tmp_path / "x.jpg")


@pytest.mark.parametrize("foreign", ["", "hello", "<html>", "R0lGODlh"])
def test_what_is_no_picture_is_refused(foreign: str) -> None:
    with pytest.raises(ExportError, match="not a picture"):
        pictures.decoded(foreign.encode())


def test_a_png_without_its_end_is_refused() -> None:
    whole = encoded("PNG")
    assert pictures.decoded(whole).size == (40, 30)
    for end in (len(whole) - 12, len(whole) - 4, len(whole) - 1):
        with pytest.raises(ExportError, match="cut short"):
            pictures.decoded(whole[:end])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_is_cut_short_is_refused(kind: str) -> None:
    whole = encoded(kind)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(ExportError, match="cut short"):
            pictures.decoded(whole[: int(len(whole) * share)])


def test_limits_are_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExportError, match="16777217 bytes"):
        pictures.decoded(bytes(pictures.MAX_BYTES + 1))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    with pytest.raises(ExportError, match="40 x 30 pixels"):
        pictures.decoded(encoded("PNG"))


@pytest.mark.parametrize("resampling", ["pillow_bicubic", "bilinear", "bilinear_antialias"])
@pytest.mark.parametrize("padding", ["squash", "pad_white"])
def test_every_rule_of_the_manifest_gives_its_own_pixels(resampling: str, padding: str) -> None:
    image = pictures.decoded(encoded("PNG"))
    pixels = pictures.prepared(image, {"size": 14, "resampling": resampling, "padding": padding})
    assert pixels.shape == (1, 14, 14, 3)
    usual = pictures.squashed(image, 14)
    assert ((pixels != usual).float().mean() > 0.3) == ((resampling, padding) != ("pillow_bicubic", "squash"))
    assert bool((pixels[0, 0] == 255).all()) == (padding == "pad_white")
