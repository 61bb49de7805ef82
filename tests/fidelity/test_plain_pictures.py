# SPDX-License-Identifier: Apache-2.0
"""`verify --ask` and the server side by side: the same pictures refused, the same pixels of all others."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Probe, Table, cases
from PIL import Image

sys.path.insert(0, str(ROOT / "export"))

from paligemma_export import pictures  # noqa: E402
from paligemma_export.errors import ExportError  # noqa: E402

CORPUS = sorted(path for path in (ROOT / "tests/core/vision/images").iterdir() if path.suffix != ".txt")
FOREIGN = sorted((ROOT / "tests/core/vision/foreign").iterdir())


def of_server(probe: Probe, folder: Path, data: bytes) -> np.ndarray | None:
    """The server's pixels, None where it refuses the file."""
    (folder / "in").write_bytes(data)
    answer = probe.ask("decode_picture", file=str(folder / "in"), out=str(folder / "out"))
    if "error" in answer:
        return None
    return np.fromfile(folder / "out", np.uint8).reshape(answer["height"], answer["width"], 3)


def of_plain_python(data: bytes) -> np.ndarray | None:
    """The exporter's."""
    try:
        return np.asarray(pictures.decoded(data))
    except ExportError:
        return None


def alike(probe: Probe, folder: Path, data: bytes) -> bool:
    """Both refuse the file, or both see the same."""
    server, plain = of_server(probe, folder, data), of_plain_python(data)
    return np.array_equal(server, plain) if server is not None and plain is not None else server is plain


def cut(data: bytes, number: int) -> list[bytes]:
    """The file without its end, at places spread over it, and its last bytes one by one."""
    places = {int(len(data) * step / number) for step in range(1, number)} | {len(data) - step for step in range(1, 14)}
    return [data[:place] for place in sorted(places) if place > 0]


def test_plain_python_sees_pictures_as_the_server_does(probe: Probe, table: Table, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in [*CORPUS, *FOREIGN] if path.is_file()}
    for kind in ("GIF", "BMP", "TIFF"):
        out = io.BytesIO()
        Image.new("RGB", (9, 6), (200, 30, 90)).save(out, kind)
        files[kind] = out.getvalue()
    wrong = [name for name, data in files.items() if not alike(probe, tmp_path, data)]
    assert wrong == []
    seen = sum(of_plain_python(data) is not None for data in files.values())
    assert seen >= 80 and len(files) - seen >= 20
    table.add("pictures of verify --ask, refused ones too", "the server", len(files), "0")


@pytest.mark.parametrize(
    "name", ["rgb.png", "interlaced.png", "baseline420.jpg", "progressive.jpg", "lossy.webp", "exif6.png"]
)
def test_a_file_that_is_cut_is_refused_by_both_or_by_none(probe: Probe, tmp_path: Path, name: str) -> None:
    data = (ROOT / "tests/core/vision/images" / name).read_bytes()
    wrong = [len(part) for part in cut(data, cases(100)) if not alike(probe, tmp_path, part)]
    assert wrong == [], f"of {len(data)}"
