# SPDX-License-Identifier: Apache-2.0
"""Pictures above the server's limits through the Python client: the answer is that of the full picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import serving
from paligemma_serving import _fit
from PIL import Image
from serving import pg, requests, v1
from test_methods import first


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """12 megapixels, as a phone makes: 36 MB of raw pixels, more than one message may hold."""
    y, x = np.mgrid[0:3024, 0:4032]
    return np.stack([x * 255 // 4032, y * 255 // 3024, (x // 7 ^ y // 5) & 255], -1).astype(np.uint8)


def limited(server: serving.Server, **limits: int) -> v1.Model:
    """The served model, with other limits."""
    model = v1.Model()
    model.CopyFrom(server.client.models()[0])
    for name, value in limits.items():
        setattr(model.limits, name, value)
    return model


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "turned"])
def test_the_client_resizes_as_the_server_does(server: serving.Server, photograph: np.ndarray, kind: str) -> None:
    """The image cache knows pictures by their resized pixels: a hit means that all of them are equal. Text, objects and
    scores are then equal too, and so are boxes in pixels."""
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 8 if kind == "turned" else 1
    picture = Image.fromarray(photograph[::3, ::3])
    picture.save(out, "JPEG" if kind == "turned" else kind, exif=exif)
    case = first("detect")
    request = requests.detect(out.getvalue(), case["prompt"].removeprefix("detect ").split(" ; "))
    full = server.client.send(request)
    fitted = _fit.fit(request, limited(server, max_image_pixels=1000))
    assert fitted.request.image.raw.width == server.client.models()[0].image_size
    small = server.client.send(fitted.request)
    assert small.info.usage.cached_image_token_count == small.info.usage.image_token_count > 0
    restored = _fit.restore(small, fitted.resized)
    assert restored.objects == full.objects and restored.info.raw_text == full.info.raw_text
    assert restored.info.images == full.info.images


@pytest.mark.parametrize("form", ["array", "PIL", "JPEG above the pixels"])
def test_a_phones_picture_is_answered_in_every_form(
    server: serving.Server, photograph: np.ndarray, form: str, tmp_path: Any
) -> None:
    """An array is resized, an image of Pillow travels as its file; with the caller's own boxes."""
    source: Any = photograph
    path = tmp_path / "phone.jpg"
    if form != "array":
        Image.fromarray(photograph).save(path, quality=95)
        source = Image.open(path)
    with pg.Client(server.address, max_attempts=1) as client:
        if form == "array":
            with pytest.warns(pg.ChangedPictureWarning, match="4032 x 3024"):
                response = client.detect(source, "cat")
        elif form == "PIL":
            assert pg.to_image(source).content == path.read_bytes()
            response = client.detect(source, "cat")
        else:
            model = limited(server, max_image_pixels=10_000_000)
            client._keep_model("", model)
            with pytest.warns(pg.ChangedPictureWarning, match="4032 x 3024"):
                response = client.detect(path, "cat")
    assert (response.info.images[0].width, response.info.images[0].height) == (4032, 3024)


def test_a_server_with_a_lower_limit_is_asked_for_it(photograph: np.ndarray) -> None:
    """Nothing in the client knows the flags of a server."""
    with (
        serving.Server(serving.TINY, "--max-image-pixels=1000000") as server,
        pytest.warns(pg.ChangedPictureWarning, match="1000000 pixels"),
    ):
        assert server.client.caption(photograph[::2, ::2].copy()).info.images[0].width == 2016
