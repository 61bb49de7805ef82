# SPDX-License-Identifier: Apache-2.0
"""Images in, masks out, and whether the committed descriptors are those of proto/."""

from __future__ import annotations

import io
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import paligemma_serving as pg
import pytest
from conftest import FakeServer  # noqa: F401 (puts clients/python on the path)
from paligemma_serving import images, requests, v1
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def test_images_of_every_kind(tmp_path: Path) -> None:
    """A path, bytes, arrays, pictures and messages."""
    (tmp_path / "x.jpg").write_bytes(b"jpeg")
    for source in (
        tmp_path / "x.jpg",
        str(tmp_path / "x.jpg"),
        b"jpeg",
        bytearray(b"jpeg"),
        memoryview(b"jpeg"),
    ):
        assert pg.to_image(source).content == b"jpeg"
    colour = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    raw = pg.to_image(colour[:, ::-1]).raw
    assert (raw.width, raw.height, raw.pixel_format) == (4, 2, v1.PIXEL_FORMAT_RGB8)
    assert raw.data == colour[:, ::-1].tobytes()
    for grey in (colour[:, :, 0], colour[:, :, :1]):
        assert pg.to_image(grey).raw.pixel_format == v1.PIXEL_FORMAT_GRAY8
    assert pg.to_image(Image.fromarray(colour)).raw.data == colour.tobytes()
    assert pg.to_image(Image.fromarray(colour).convert("RGBA")).raw.data == colour.tobytes()
    assert pg.to_image(Image.new("L", (2, 1), 7)).raw.data == b"\7\7"
    message = v1.Image(content=b"x")
    assert pg.to_image(message) is message


def test_large_pictures_travel_as_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without loss, and without the orientation that the server would apply a second time."""
    monkeypatch.setattr(images, "RAW_LIMIT_BYTES", 10)
    picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    picture.info["exif"] = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    decoded = Image.open(io.BytesIO(pg.to_image(picture).content))
    assert decoded.format == "PNG" and decoded.tobytes() == picture.tobytes()
    assert not decoded.getexif()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (np.zeros((2, 2), np.float32), ValueError),
        (np.zeros((2, 2, 4), np.uint8), ValueError),
        (7, TypeError),
        ("no/such/file.png", FileNotFoundError),
    ],
)
def test_wrong_images(source: object, error: type[Exception]) -> None:
    """What cannot be an image is refused before anything is sent."""
    with pytest.raises(error):
        pg.to_image(source)


def test_enum_names() -> None:
    """A wrong name lists the right ones."""
    with pytest.raises(ValueError, match="rle"):
        requests.segment(b"x", "cat", mask_format="bitmap")


def compress(runs: list[int]) -> str:
    """COCO's rleToString, after its C source."""
    text = ""
    for index, run in enumerate(runs):
        value, more = run - runs[index - 2] if index > 2 else run, True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != -1 if bits & 0x10 else value != 0
            text += chr((bits | 0x20 if more else bits) + 48)
    return text


def runs_of(array: np.ndarray) -> list[int]:
    """Column-major runs, zeros first."""
    flat = array.T.ravel().astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])) != 0)
    return np.diff(np.concatenate([[0], edges])).tolist()


@pytest.fixture
def shape() -> np.ndarray:
    """A blob with a hole, 40 x 70, with long and short runs."""
    y, x = np.mgrid[:40, :70]
    return ((y - 20) ** 2 + (x - 35) ** 2 < 300) & ~((y - 20) ** 2 + (x - 35) ** 2 < 30)


REGION = v1.PixelBox(x_min=5, y_min=10, x_max=75, y_max=50)


def test_png_mask(shape: np.ndarray) -> None:
    """PNG masks are exact, in their region and in the image."""
    encoded = io.BytesIO()
    Image.fromarray(shape.astype(np.uint8) * 255).save(encoded, "PNG")
    mask = v1.Mask(region=REGION, png=encoded.getvalue())
    assert np.array_equal(pg.mask_array(mask), shape)
    full = pg.mask_in_image(mask, width=100, height=60)
    assert full.shape == (60, 100) and np.array_equal(full[10:50, 5:75], shape) and full.sum() == shape.sum()
    with pytest.raises(ValueError, match="does not lie"):
        pg.mask_in_image(mask, width=60, height=60)


def test_rle_mask(shape: np.ndarray) -> None:
    """COCO's compressed form, with differences and negative values."""
    for array in (shape, np.zeros_like(shape), np.ones_like(shape)):
        rle = v1.RleMask(size=array.shape, counts=compress(runs_of(array)))
        assert np.array_equal(pg.mask_array(v1.Mask(region=REGION, rle=rle)), array)
    with pytest.raises(ValueError, match="fill"):
        pg.mask_array(v1.Mask(region=REGION, rle=v1.RleMask(size=shape.shape, counts="1")))


def test_polygon_mask() -> None:
    """The even-odd rule leaves holes."""
    outer = v1.Ring(coordinates=[10, 15, 60, 15, 60, 45, 10, 45])
    hole = v1.Ring(coordinates=[20, 20, 40, 20, 40, 40, 20, 40])
    array = pg.mask_array(v1.Mask(region=REGION, polygon=v1.PolygonMask(rings=[outer, hole])))
    assert array.shape == (40, 70)
    assert array[7, 10] and not array[20, 25] and not array[2, 2]


def test_soft_and_code_masks() -> None:
    """Soft masks are resized and cut at the threshold; codes hold no pixels."""
    grid = np.zeros((64, 64), np.uint8)
    grid[:, 32:] = 255
    mask = v1.Mask(region=REGION, soft=v1.SoftMask(width=64, height=64, probabilities=grid.tobytes()))
    assert pg.soft_probabilities(mask).max() == 1
    array = pg.mask_array(mask)
    assert array.shape == (40, 70) and array[:, 36:].all() and not array[:, :34].any()
    with pytest.raises(ValueError, match="codes"):
        pg.mask_array(v1.Mask(region=REGION, codes=v1.MaskCodes(indices=[1] * 16)))
    with pytest.raises(ValueError, match="nothing"):
        pg.mask_array(v1.Mask(region=REGION))


def test_messages_are_picklable() -> None:
    """Messages cross process boundaries."""
    message = v1.CaptionResponse(caption="a cat")
    assert pickle.loads(pickle.dumps(message)) == message


def test_generated_files_match_proto() -> None:
    """Fails until clients/python/generate.py ran after a change of proto/."""
    pytest.importorskip("grpc_tools")
    script = ROOT / "clients/python/generate.py"
    result = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_version_is_the_servers() -> None:
    """One version for the whole repository."""
    version = (ROOT / "VERSION").read_text().strip()
    assert pg.__version__ == version
    project = (ROOT / "clients/python/pyproject.toml").read_text()
    assert re.search(r'^version = "(.*)"', project, re.M).group(1) == version


def test_labels_in_one_text_are_split_and_trimmed() -> None:
    """Notebooks write "cow ; ship"; an entry without a label is left for the server to name."""
    for labels in ("cow ; ship", ["cow;ship"], [" cow ", "ship"]):
        assert list(requests.detect(b"x", labels).labels) == ["cow", "ship"]
    assert list(requests.detect(b"x", "a, b").labels) == ["a, b"]
    assert list(requests.detect(b"x", [" "]).labels) == [""]
