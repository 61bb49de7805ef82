# SPDX-License-Identifier: Apache-2.0
"""Pictures in every form that people have them in; what is none is named."""

from __future__ import annotations

import base64
import http.server
import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paligemma_serving as pg
import pytest
from conftest import FakeServer  # noqa: F401 (puts clients/python on the path)
from paligemma_serving import images, v1
from PIL import Image, ImageDraw

VISION = Path(__file__).resolve().parents[1] / "core/vision"
sys.path.insert(0, str(VISION))
import metadata_pictures as corpus  # noqa: E402

JPEG = corpus.encoded(corpus.tiny(), "JPEG")
PNG = corpus.encoded(corpus.tiny(), "PNG")
WEBP = corpus.encoded(corpus.tiny(), "WEBP", lossless=True)
FOREIGN = dict(line.split("\t") for line in (VISION / "foreign/expected.txt").read_text().splitlines())
ONLY_THE_SERVER_KNOWS = {"moving.webp", "text.jpg", "zeros.jpg", "noise.jpg"}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_picture_is_named(name: str) -> None:
    """A file of another kind is refused before it is sent, with a word for the kind and the fields of the server."""
    path = VISION / "foreign" / name
    if name in ONLY_THE_SERVER_KNOWS:
        assert pg.to_image(path).content == path.read_bytes()
        return
    with pytest.raises(pg.ImageError, match=FOREIGN[name]) as caught:
        pg.to_image(path)
    error = caught.value
    assert name in error.message and error.reason == "IMAGE_FORMAT_UNSUPPORTED"
    assert error.metadata["accepted"] == "image/jpeg,image/png,image/webp"


@pytest.mark.parametrize("data", [JPEG, PNG, WEBP], ids=["jpeg", "png", "webp"])
def test_encoded_pictures_in_every_wrapping(tmp_path: Path, data: bytes) -> None:
    """Files, buffers, data: URIs and base64 text become the bytes of the file."""
    path = tmp_path / "x"
    path.write_bytes(data)
    written = io.BytesIO()
    written.write(data)  # and stands at its end
    text = base64.b64encode(data).decode()
    with path.open("rb") as file:
        sources = [
            path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), written, file, text,
            text.encode(), text.rstrip("="), base64.urlsafe_b64encode(data).decode(), base64.encodebytes(data).decode(),
            f"data:image/png;base64,{text}", f"DATA:image/jpeg;charset=utf-8;base64,{text.replace('+', '%2B')}",
            "data:image/png," + "".join(f"%{byte:02x}" for byte in data),
        ]  # fmt: skip
        for source in sources:
            assert pg.to_image(source).content == data, source


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("https://example.com/cat.jpg", ValueError, "image_from_url"),
        ("S3://bucket/cat.jpg", ValueError, "not fetched"),
        ("data:image/png;base64", ValueError, "comma"),
        ("data:image/png;base64,AAAA", pg.ImageError, "data: URI"),
        ("data:text/html,<html>", pg.ImageError, "HTML"),
        (base64.b64encode(base64.b64encode(JPEG)), pg.ImageError, "twice"),
        (io.StringIO("x"), TypeError, '"rb"'),
        ([JPEG], TypeError, "one picture"),
        (None, TypeError, "NoneType"),
        (str(VISION), IsADirectoryError, "one by one"),
        (np.zeros((1, 2, 2, 3), np.uint8), ValueError, "batch"),
        (np.zeros((3, 20, 20), np.uint8), ValueError, "transpose"),
        (np.zeros((2, 2, 4), np.uint8), ValueError, "alpha"),
        (np.zeros((0, 2, 3), np.uint8), ValueError, "hold pixels"),
        (np.zeros((2, 2), bool), ValueError, "bool"),
        (np.zeros((2, 2), np.int64), ValueError, "int64"),
        (Image.new("F", (2, 2), 300.0), ValueError, "0..255"),
        (Image.new("I", (2, 2), -1), ValueError, "0..255"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_sentence(source: object, error: type, words: str) -> None:
    """The message says what it is, or what to do."""
    with pytest.raises(error, match=words):
        pg.to_image(source)


def expected_grey16() -> np.ndarray:
    """The upper bytes of the 16-bit picture of the corpus."""
    with Image.open(io.BytesIO(corpus.sixteen_bits()["grey16.png"])) as opened:
        return (np.asarray(opened).astype(np.uint32) >> 8).astype(np.uint8)


def test_grey_of_16_bits_keeps_its_upper_byte_in_every_form() -> None:
    """As the server takes it from the file."""
    upper = expected_grey16()
    assert upper.max() > 200
    file = Image.open(io.BytesIO(corpus.sixteen_bits()["grey16.png"]))
    array = np.asarray(file).astype(np.uint16)
    for source in (file, array, array.astype(">u2"), array[:, :, None], Image.fromarray(array)):
        raw = pg.to_image(source).raw
        assert raw.pixel_format == v1.PIXEL_FORMAT_GRAY8 and raw.data == upper.tobytes()
    colour = pg.to_image(np.stack([array] * 3, -1)).raw
    assert colour.data == np.stack([upper] * 3, -1).tobytes()


@pytest.mark.parametrize("mode", ["1", "P", "PA", "LA", "La", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_pil_images_of_every_mode(mode: str) -> None:
    """The pixels are those of Pillow's own conversion."""
    picture = corpus.tiny()
    steps = {"La": ["LA", "La"], "RGBa": ["RGBA", "RGBa"], "PA": ["P", "PA"], "I": ["L", "I"], "F": ["L", "F"]}
    for step in steps.get(mode, [mode]):
        picture = picture.convert(step)
    back = {"La": "LA", "RGBa": "RGBA"}.get(mode)
    expected = (picture.convert(back) if back else picture).convert("L" if mode in ("1", "I", "F") else "RGB")
    raw = pg.to_image(picture).raw
    assert (raw.width, raw.height, raw.data) == (*picture.size, expected.tobytes())


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the pictures of these tests large ones."""
    monkeypatch.setattr(images, "RAW_LIMIT_BYTES", 10)


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "CMYK"])
def test_a_large_pil_image_travels_as_its_file(tmp_path: Path, kind: str, loaded: bool) -> None:
    """Loaded or not, and from a path or a buffer as long as Pillow keeps it."""
    data = corpus.profiles()["cmyk_adobe.jpg"] if kind == "CMYK" else {"JPEG": JPEG, "PNG": PNG, "WEBP": WEBP}[kind]
    (tmp_path / "x").write_bytes(data)
    with Image.open(tmp_path / "x") as picture:
        if loaded:
            picture.load()
        assert pg.to_image(picture).content == data
        assert picture.copy().tobytes() == Image.open(io.BytesIO(data)).tobytes()  # it can still be used
    if not loaded and kind != "WEBP":
        assert pg.to_image(Image.open(io.BytesIO(data))).content == data


@pytest.mark.usefixtures("small_limit")
def test_the_file_travels_without_its_orientation() -> None:
    """A PIL image is sent as its holder sees it, whatever the metadata say; the server would turn the file."""
    exif = b"Exif\0\0" + corpus.simple()
    for data in (corpus.jpeg(exif, corpus.XMP_HEAD + corpus.xmp(8)), corpus.orientations()["orient_exif.png"]):
        picture = Image.open(io.BytesIO(data))
        sent = Image.open(io.BytesIO(pg.to_image(picture).content))
        assert sent.format == picture.format and sent.getexif().get(0x0112, 1) == 1
        assert sent.tobytes() == picture.tobytes() and sent.size == picture.size
    turned = Image.open(io.BytesIO(corpus.orientations()["orient_exif.webp"]))
    sent = Image.open(io.BytesIO(pg.to_image(turned).content))
    assert sent.format == "PNG" and sent.tobytes() == turned.tobytes()


@pytest.mark.usefixtures("small_limit")
@pytest.mark.parametrize("change", ["drawn", "thumbnail", "turned", "palette", "gone"])
def test_a_changed_pil_image_travels_as_its_own_pixels(tmp_path: Path, change: str) -> None:
    """Whatever was done to it in place; the file does not come back."""
    data = corpus.encoded(corpus.tiny().quantize(4), "PNG") if change == "palette" else JPEG
    (tmp_path / "x").write_bytes(data)
    picture = Image.open(tmp_path / "x")
    picture.load()
    if change == "drawn":
        ImageDraw.Draw(picture).point((1, 1), (255, 0, 255))
    elif change == "thumbnail":
        picture.thumbnail((5, 5))
    elif change == "turned":
        picture.im = picture.im.transpose(Image.Transpose.ROTATE_180)
    elif change == "palette":
        picture.putpalette(bytes(range(12)))
    else:
        (tmp_path / "x").write_bytes(PNG)
    sent = Image.open(io.BytesIO(pg.to_image(picture).content))
    assert sent.format == "PNG" and sent.tobytes() == picture.convert("RGB").tobytes()


def test_torch_tensors() -> None:
    """torchvision's order and range, and NumPy's order."""
    torch = pytest.importorskip("torch")
    pixels = np.asarray(corpus.tiny())
    chw = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    for source in (chw, chw / 255, (chw / 255).double().requires_grad_(), torch.from_numpy(pixels.copy())):
        raw = pg.to_image(source).raw
        assert (raw.width, raw.height, raw.data) == (9, 6, pixels.tobytes())
    assert pg.to_image(chw[0]).raw.data == pixels[:, :, 0].tobytes()
    assert pg.to_image((chw[:1] / 255).bfloat16()).raw.pixel_format == v1.PIXEL_FORMAT_GRAY8
    for wrong, words in ((chw / 255 * 2 - 1, "normalisation"), (chw[None], "batch"), (chw / 127.0, "0..1")):
        with pytest.raises(ValueError, match=words):
            pg.to_image(wrong)


class Web(http.server.BaseHTTPRequestHandler):
    """Serves a picture, a page, and redirects."""

    def do_GET(self) -> None:  # noqa: N802
        """Answers by path."""
        if self.path in ("/gone", "/to-file", "/to-ftp"):
            self.send_response(404 if self.path == "/gone" else 302)
            self.send_header("Location", "ftp://127.0.0.1:1/x" if self.path == "/to-ftp" else "file:///etc/hostname")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = JPEG if self.path == "/cat.jpg" else b"<html>sign in</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a web server in this process."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_is_fetched_only_by_name(web: str) -> None:
    """A picture comes; pages, refusals, large answers and other schemes are named."""
    assert pg.image_from_url(f"{web}/cat.jpg").content == JPEG
    with pytest.raises(pg.ImageError, match="HTML"):
        pg.image_from_url(f"{web}/page")
    with pytest.raises(pg.ImageError, match="more than 10 bytes"):
        pg.image_from_url(f"{web}/cat.jpg", max_bytes=10)
    with pytest.raises(OSError, match="404"):
        pg.image_from_url(f"{web}/gone")
    with pytest.raises(OSError, match="not allowed"):
        pg.image_from_url(f"{web}/to-file")
    with pytest.raises(ValueError, match="only http"):
        pg.image_from_url(f"{web}/to-ftp")
    with pytest.raises(ValueError, match="only http"):
        pg.image_from_url("file:///etc/hostname")
