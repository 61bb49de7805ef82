# SPDX-License-Identifier: Apache-2.0
"""Decoded and resized pixels against Pillow, bit for bit."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import png_files
import pytest
from conftest import Probe, Table, cases
from PIL import Image, ImageOps

SEED = 20
SIZES = (224, 448, 896)


def picture(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """Smooth colour with noise and hard edges, so that every filter has something to get wrong."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / a) + np.cos(y / b) for a, b in random.uniform(2, 40, (3, 2))], axis=-1)
    pixels = 127 + 50 * waves + random.normal(0, 12, waves.shape)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = random.integers(0, 256, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def orientation(value: int) -> Image.Exif:
    """EXIF data with one tag."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def jpeg_files(random: np.random.Generator) -> list[tuple[str, bytes]]:
    """Every mode, subsampling, coding and orientation that Pillow writes, at odd sizes."""
    files = []
    for mode, subsampling, progressive in itertools.product(("RGB", "L", "CMYK"), (0, 1, 2), (False, True)):
        for quality, blocks in ((30, 0), (75, 3), (95, 1), (100, 0)):
            width, height = (int(side) for side in random.integers(1, 130, 2))
            image = picture(random, width, height).convert(mode)
            options = {"subsampling": subsampling, "progressive": progressive, "quality": quality}
            data = encoded(image, "JPEG", restart_marker_blocks=blocks, **options)
            files.append((f"{mode} 4:{subsampling} progressive={progressive} quality={quality}", data))
    for value in range(9):
        image = picture(random, 37, 22)
        files.append((f"JPEG orientation {value}", encoded(image, "JPEG", exif=orientation(value), quality=90)))
    return files


def with_adobe(data: bytes, transform: int | None) -> bytes:
    """The same JPEG whose Adobe marker says another colour transform (2: YCCK, 0: none), or without the marker.

    Only what the marker says changes: the coefficients stay, and mean other colours.
    """
    at, kept = 2, [data[:2]]
    while data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at : at + length]
        if data[at + 1] == 0xEE and segment[4:9] == b"Adobe":
            segment = b"" if transform is None else segment[:-1] + bytes([transform])
        kept.append(segment)
        at += length
    return b"".join([*kept, data[at:]])


def four_channel_files(random: np.random.Generator) -> list[tuple[str, bytes]]:
    """CMYK and YCCK: with the Adobe marker, with its other transforms, and without it, at odd sizes, restarts too."""
    files = []
    for progressive, blocks, transform in itertools.product((False, True), (0, 2), (0, 2, None)):
        for width, height in ((1, 1), (17, 33), tuple(int(side) for side in random.integers(2, 130, 2))):
            channels = np.asarray(picture(random, width, height).convert("CMYK")).copy()
            channels[..., 3] = random.integers(0, 256, (height, width))
            image = Image.fromarray(channels, "CMYK")
            options = {"quality": 88, "progressive": progressive, "restart_marker_blocks": blocks}
            data = with_adobe(encoded(image, "JPEG", **options), transform)
            files.append((f"CMYK, Adobe transform {transform}, progressive={progressive}, {width} x {height}", data))
    return files


def odd_files(random: np.random.Generator) -> list[tuple[str, bytes]]:
    """Every size around one and two blocks, with 4:2:0, restarts after each block row, and EXIF in both byte orders."""
    files = []
    for width, height in itertools.product((1, 7, 8, 9, 15, 16, 17), repeat=2):
        data = encoded(picture(random, width, height), "JPEG", subsampling=2, restart_marker_rows=1)
        files.append((f"JPEG of {width} x {height}", data))
    for value, order in itertools.product(range(1, 9), ("<", ">")):
        exif = orientation(value)
        exif.endian = order
        files.append((f"JPEG orientation {value} {order}", encoded(picture(random, 19, 8), "JPEG", exif=exif)))
    return files


def png_corpus(random: np.random.Generator) -> list[tuple[str, bytes]]:
    """Every colour type and depth but 16-bit grey, interlaced or not, with gamma and transparency or without."""
    files = []
    for colour, depths in png_files.DEPTHS.items():
        for depth, interlaced, gamma, transparency in itertools.product(depths, *[(False, True)] * 3):
            alpha = colour in (png_files.GREY_ALPHA, png_files.RGBA)
            if (colour == png_files.GREY and depth == 16) or (transparency and alpha):
                continue
            form = png_files.Format(colour, depth, interlaced, gamma, transparency)
            width, height = (int(side) for side in random.integers(1, 70, 2))
            files.append((str(form), png_files.write(form, width, height, random)))
    for value in range(1, 9):
        image = picture(random, 21, 34)
        files.append((f"PNG orientation {value}", encoded(image, "PNG", exif=orientation(value))))
    return files


def webp_files(random: np.random.Generator) -> list[tuple[str, bytes]]:
    """Lossy and lossless, with alpha and without."""
    files = []
    for lossless, alpha, quality in itertools.product((False, True), (False, True), (1, 25, 50, 75, 90, 100)):
        for method in (0, 4):
            width, height = (int(side) for side in random.integers(1, 130, 2))
            image = picture(random, width, height)
            if alpha:
                image.putalpha(Image.fromarray(random.integers(0, 256, (height, width), dtype=np.uint8)))
            data = encoded(image, "WEBP", lossless=lossless, quality=quality, method=method)
            files.append((f"WebP lossless={lossless} alpha={alpha} quality={quality}", data))
    for value in range(1, 9):
        files.append((f"WebP orientation {value}", encoded(picture(random, 31, 18), "WEBP", exif=orientation(value))))
    return files


def corpus() -> list[tuple[str, bytes]]:
    """At least 300 files."""
    random = np.random.default_rng(SEED)
    files = []
    while len(files) < 300:
        files += jpeg_files(random) + png_corpus(random) + webp_files(random)
    return files + four_channel_files(random) + odd_files(random)


def upright(data: bytes) -> np.ndarray:
    """Pillow's pixels, [height, width, 3]."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def decode(probe: Probe, folder: Path, data: bytes) -> np.ndarray:
    """Ours."""
    (folder / "in").write_bytes(data)
    answer = probe.ask("decode_picture", file=str(folder / "in"), out=str(folder / "out"))
    assert "error" not in answer, answer["error"]
    return np.fromfile(folder / "out", np.uint8).reshape(answer["height"], answer["width"], 3)


def test_every_file_decodes_to_the_pixels_of_pillow(probe: Probe, table: Table, tmp_path: Path) -> None:
    files = corpus()
    wrong = [name for name, data in files if not np.array_equal(decode(probe, tmp_path, data), upright(data))]
    assert not wrong, f"{len(wrong)} of {len(files)}: {wrong[:10]}"
    table.add("decoding: JPEG, PNG, WebP, EXIF orientation", "Pillow, convert('RGB')", len(files), "0")


def test_the_adobe_marker_decides_what_four_channels_mean(probe: Probe, tmp_path: Path) -> None:
    """A control: YCCK read as CMYK would be seen."""
    image = picture(np.random.default_rng(SEED), 40, 30).convert("CMYK")
    pixels = [decode(probe, tmp_path, with_adobe(encoded(image, "JPEG"), transform)) for transform in (0, 2)]
    assert np.mean(pixels[0] != pixels[1]) > 0.5


@pytest.mark.parametrize("interlaced", [False, True])
def test_grey_of_16_bits_keeps_its_upper_byte(probe: Probe, tmp_path: Path, interlaced: bool) -> None:
    form = png_files.Format(png_files.GREY, 16, interlaced)
    data = png_files.write(form, 33, 17, np.random.default_rng(SEED))
    values = np.asarray(Image.open(io.BytesIO(data))).astype(np.uint16) >> 8
    assert np.array_equal(decode(probe, tmp_path, data), np.repeat(values[..., None], 3, axis=-1))


def resize(probe: Probe, folder: Path, image: Image.Image, size: int, resampling: str, pad: bool) -> np.ndarray:
    """Ours, [size, size, 3]."""
    (folder / "in").write_bytes(image.tobytes())
    request = {"size": size, "resampling": resampling, "pad_white": pad, "width": image.width, "height": image.height}
    probe.ask("resize", file=str(folder / "in"), out=str(folder / "out"), **request)
    return np.fromfile(folder / "out", np.uint8).reshape(size, size, 3)


def shapes(number: int) -> list[tuple[int, int, int]]:
    """(width, height, size): sides from 1 pixel to 1,500, more small ones than large, for all three resolutions."""
    random = np.random.default_rng(SEED)
    sides = np.exp(random.uniform(0, np.log(1500), (number, 2))).astype(int)
    return [(int(w), int(h), SIZES[i % 3]) for i, (w, h) in enumerate(sides)]


def padded(image: Image.Image) -> Image.Image:
    """On a white square, in the middle, half a pixel rounded to even."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, (round((side - image.width) / 2), round((side - image.height) / 2)))
    return square


@pytest.mark.parametrize(
    ("resampling", "filter_", "pad"),
    [
        ("pillow_bicubic", Image.Resampling.BICUBIC, False),
        ("pillow_bicubic", Image.Resampling.BICUBIC, True),
        ("bilinear_antialias", Image.Resampling.BILINEAR, False),
    ],
)
def test_resized_pixels_are_those_of_pillow(
    probe: Probe, table: Table, tmp_path: Path, resampling: str, filter_: Image.Resampling, pad: bool
) -> None:
    random = np.random.default_rng(SEED)
    wrong = []
    todo = shapes(cases(500))
    for width, height, size in todo:
        image = picture(random, width, height)
        reference = (padded(image) if pad else image).resize((size, size), filter_)
        if not np.array_equal(resize(probe, tmp_path, image, size, resampling, pad), np.asarray(reference)):
            wrong.append((width, height, size))
    assert not wrong, f"{len(wrong)} of {len(todo)}: {wrong[:10]}"
    table.add(f"resizing: {resampling}{', padded white' if pad else ''}", "Pillow", len(todo), "0")


def bilinear(image: Image.Image, size: int) -> np.ndarray:
    """Half-pixel centres, two neighbours on each axis, no antialiasing, in float64; not yet cut to whole levels."""
    pixels = np.asarray(image).astype(np.float64)

    def weights(length: int) -> np.ndarray:
        at = np.maximum((np.arange(size) + 0.5) * length / size - 0.5, 0)
        low = np.minimum(at.astype(int), length - 1)
        high = np.minimum(low + 1, length - 1)
        matrix = np.zeros((size, length))
        np.add.at(matrix, (np.arange(size), low), 1 - (at - low))
        np.add.at(matrix, (np.arange(size), high), at - low)
        return matrix

    return np.einsum("yh,hwc,xw->yxc", weights(image.height), pixels, weights(image.width), optimize=True)


def test_bilinear_without_antialiasing_is_the_formula_cut_to_whole_levels(
    probe: Probe, table: Table, tmp_path: Path
) -> None:
    random = np.random.default_rng(SEED)
    todo = [shape for shape in shapes(cases(500)) if shape[2] == 224]
    for width, height, size in todo:
        image = picture(random, width, height)
        ours, exact = resize(probe, tmp_path, image, size, "bilinear", False), bilinear(image, size)
        # Coordinates are float32, as in the original: near a whole level either side is right.
        rounding = 1e-3 + 255 * max(width, height) * 2.0**-22
        clear = np.abs(exact - np.round(exact)) > rounding
        assert np.array_equal(ours[clear], np.floor(exact[clear])), (width, height)
        assert np.abs(ours - exact).max() < 1 + rounding
    table.add("resizing: bilinear, not antialiased", "NumPy float64, cut", len(todo), "0 where clear of a level")


def test_another_cubic_filter_would_be_seen(probe: Probe, tmp_path: Path) -> None:
    """A control: the cubic of a = -0.75 without antialiasing, which image libraries call bicubic too."""
    import torch

    image = picture(np.random.default_rng(SEED), 640, 480)
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float()
    other = torch.nn.functional.interpolate(pixels, (224, 224), mode="bicubic", align_corners=False)
    levels = other[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    ours = resize(probe, tmp_path, image, 224, "pillow_bicubic", False)
    assert np.mean(ours != levels) > 0.5
