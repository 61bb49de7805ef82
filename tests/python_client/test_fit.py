# SPDX-License-Identifier: Apache-2.0
"""Pictures above the server's limits, and messages above the transport's."""

from __future__ import annotations

import asyncio
import io
import warnings
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import paligemma_serving as pg
import pytest
from conftest import FakeServer, fail
from paligemma_serving import _fit, requests, v1
from PIL import Image

WIDTH, HEIGHT = 1300, 900  # more than a million pixels
LIMITS = {"max_image_bytes": 16 << 20, "max_image_pixels": 1_000_000, "max_image_side": 16_384}


def model(**changes: Any) -> v1.Model:
    """A model of 28 pixels a side whose server takes a million pixels."""
    facts: dict[str, Any] = {
        "name": "models/a",
        "image_size": 28,
        "resampling": v1.RESAMPLING_PILLOW_BICUBIC,
        "padding": v1.PADDING_SQUASH,
        "limits": v1.ModelLimits(**LIMITS),
    }
    return v1.Model(**(facts | changes))


def serve(server: FakeServer, **changes: Any) -> None:
    """Answers questions about the model."""
    server.on("ListModels", v1.ListModelsResponse(models=[model(**changes)]))
    server.on("GetModel", v1.GetModelResponse(model=model(**changes)))


@pytest.fixture
def client(server: FakeServer) -> Iterator[pg.Client]:
    """A client of the fake server, which describes one model."""
    serve(server)
    with pg.Client(server.address, timeout=10, max_attempts=1) as client:
        yield client


@pytest.fixture
def photograph() -> np.ndarray:
    """Smooth colours with an edge and a little noise."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.stack([x * 255 // WIDTH, y * 255 // HEIGHT, (x ^ y) & 255], -1).astype(np.uint8)
    pixels[100:300, 200:700] = (250, 20, 30)
    return pixels


def bicubic(pixels: np.ndarray) -> bytes:
    """What the model sees."""
    return Image.fromarray(pixels).resize((28, 28), Image.Resampling.BICUBIC).tobytes()


def sent(server: FakeServer) -> list[Any]:
    """The requests without the questions about models."""
    return [r for r in server.requests if not isinstance(r, (v1.ListModelsRequest, v1.GetModelRequest))]


def found(image_index: int = 0, **mask: Any) -> v1.DetectedObject:
    """An object of a picture of 28 x 28."""
    box = v1.NormalizedBox(x_min=0.25, y_min=0.125, x_max=513 / 1024, y_max=0.75)
    pixels = v1.PixelBox(x_min=7, y_min=4, x_max=14, y_max=21)
    return v1.DetectedObject(
        label="cat",
        normalized_box=box,
        pixel_box=pixels,
        image_index=image_index,
        mask=v1.Mask(region=pixels, **mask) if mask else None,
    )


FULL_BOX = v1.PixelBox(x_min=325, y_min=112, x_max=651, y_max=675)  # 112.5 to even, 651.27


def test_what_fits_is_sent_as_it_is_and_nobody_is_asked(server: FakeServer, client: pg.Client) -> None:
    """No call more, no copy."""
    server.on("Caption", v1.CaptionResponse())
    client.caption(np.zeros((1000, 1000), np.uint8))
    assert len(server.requests) == 1 and server.requests[0].images[0].raw.width == 1000


@pytest.mark.parametrize("form", ["array", "PNG", "JPEG", "WEBP", "PIL"])
def test_a_large_picture_is_sent_as_the_model_sees_it(
    server: FakeServer, client: pg.Client, photograph: np.ndarray, form: str
) -> None:
    """In every form; the caller hears of it once, and the request itself is not changed."""
    server.on("Caption", v1.CaptionResponse())
    source: Any = photograph
    if form != "array":
        source = Image.fromarray(photograph)
    if form in ("PNG", "JPEG", "WEBP"):
        out = io.BytesIO()
        source.save(out, form)
        source = out.getvalue()
        photograph = np.asarray(Image.open(io.BytesIO(source)).convert("RGB"))
    request = requests.caption(source)
    before = request.SerializeToString()
    with pytest.warns(pg.ChangedPictureWarning, match="1300 x 900 .*1000000 pixels.* masks have the sent size, 28"):
        client.send(request)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client.send(request)
    assert request.SerializeToString() == before
    assert [type(r) for r in server.requests] == [v1.ListModelsRequest, v1.CaptionRequest, v1.CaptionRequest]
    raw = server.requests[1].images[0].raw
    assert (raw.width, raw.height, raw.pixel_format) == (28, 28, v1.PIXEL_FORMAT_RGB8)
    assert raw.data == bicubic(photograph)


@pytest.mark.filterwarnings("ignore::paligemma_serving.ChangedPictureWarning")
@pytest.mark.parametrize("limit", [{"max_image_bytes": 1000}, {"max_image_side": 1299}])
def test_each_limit_counts(server: FakeServer, client: pg.Client, photograph: np.ndarray, limit: dict) -> None:
    """Bytes and sides too; other fields and other pictures travel unchanged."""
    serve(server, limits=v1.ModelLimits(**(LIMITS | {"max_image_pixels": 40_000_000} | limit)))
    server.on("Generate", v1.GenerateResponse())
    config = {"max_output_tokens": 3, "stop_sequences": ["a", "b"]}
    client.generate([b"small", photograph], "two", model="a", config=config, options={"tags": {"k": "v"}})
    assert isinstance(server.requests[0], v1.GetModelRequest) and server.requests[0].name == "models/a"
    request = sent(server)[0]
    assert request.images[0].content == b"small" and request.images[1].raw.width == 28
    expected = requests.generate([b"small"], "two", model="a", config=config, options={"tags": {"k": "v"}})
    del request.images[1]
    assert request == expected


@pytest.mark.filterwarnings("ignore::paligemma_serving.ChangedPictureWarning")
def test_the_upright_picture_is_resized(server: FakeServer, client: pg.Client, photograph: np.ndarray) -> None:
    """A file by its orientation; the response tells what it was."""
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph).save(out, "PNG", exif=exif)
    info = v1.GenerationInfo(images=[v1.ImageInfo(width=28, height=28, exif_orientation=1)])
    server.on("Detect", v1.DetectResponse(objects=[found()], info=info))
    response = client.detect(out.getvalue(), "cat")
    assert sent(server)[0].image.raw.data == bicubic(np.rot90(photograph, -1))
    image = response.info.images[0]
    assert (image.width, image.height, image.exif_orientation, image.mime_type) == (HEIGHT, WIDTH, 6, "image/png")
    assert response.objects[0].pixel_box == v1.PixelBox(x_min=225, y_min=162, x_max=451, y_max=975)


RULES = {
    "bilinear": {"resampling": v1.RESAMPLING_BILINEAR},
    "antialiased": {"resampling": v1.RESAMPLING_BILINEAR_ANTIALIAS},
    "padded": {"padding": v1.PADDING_WHITE},
}


@pytest.mark.filterwarnings("ignore::paligemma_serving.ChangedPictureWarning")
@pytest.mark.parametrize("rule", RULES)
def test_the_rule_of_the_model_is_followed(
    server: FakeServer, client: pg.Client, photograph: np.ndarray, rule: str
) -> None:
    """By Pillow, and by the formula where Pillow has none. tests/e2e compares with the server itself."""
    serve(server, **RULES[rule])
    server.on("Caption", v1.CaptionResponse())
    client.caption(photograph)
    pixels = np.frombuffer(sent(server)[0].images[0].raw.data, np.uint8).reshape(28, 28, 3)
    picture = Image.fromarray(photograph)
    if rule == "antialiased":
        assert pixels.tobytes() == picture.resize((28, 28), Image.Resampling.BILINEAR).tobytes()
    elif rule == "padded":
        square = Image.new("RGB", (WIDTH, WIDTH), "white")
        square.paste(picture, (0, 200))
        assert pixels.tobytes() == square.resize((28, 28), Image.Resampling.BICUBIC).tobytes()
    else:
        x, y = 5.5 * WIDTH / 28 - 0.5, 9.5 * HEIGHT / 28 - 0.5
        left, top = int(x), int(y)
        patch = photograph[top : top + 2, left : left + 2].astype(np.float64)
        rows = patch[:, 0] + (patch[:, 1] - patch[:, 0]) * (x - left)
        assert pixels[9, 5].tolist() == (rows[0] + (rows[1] - rows[0]) * (y - top)).astype(np.uint8).tolist()


@pytest.mark.filterwarnings("ignore::paligemma_serving.ChangedPictureWarning")
def test_masks_keep_the_sent_size_and_lie_in_the_full_picture(
    server: FakeServer, client: pg.Client, photograph: np.ndarray
) -> None:
    """mask_array and mask_in_image enlarge them; polygons are in the pixels of the full picture."""
    serve(server, limits=v1.ModelLimits(max_image_pixels=1_000_000))
    out = io.BytesIO()
    Image.new("L", (7, 17), 255).save(out, "PNG")
    ring = v1.Ring(coordinates=[7, 4, 14, 4, 14, 21])
    whole = v1.PixelBox(x_max=28, y_max=28)
    extended = v1.DetectedObject(normalized_box=found().normalized_box, pixel_box=found().pixel_box)
    extended.mask.CopyFrom(v1.Mask(region=whole, rle=v1.RleMask(size=[28, 28], counts="`h0")))
    objects = [found(png=out.getvalue()), found(polygon=v1.PolygonMask(rings=[ring])), extended]
    server.on("Segment", v1.SegmentResponse(objects=objects))
    png, polygon, rle = client.segment(photograph, "cat").objects
    assert png.pixel_box == png.mask.region == polygon.mask.region == FULL_BOX
    assert Image.open(io.BytesIO(png.mask.png)).size == (7, 17)
    assert pg.mask_array(png.mask).shape == (563, 326) and pg.mask_array(png.mask).all()
    assert pg.mask_in_image(png.mask, WIDTH, HEIGHT).sum() == 563 * 326
    assert polygon.mask.polygon.rings[0].coordinates == pytest.approx([325, 128.571, 650, 128.571, 650, 675], abs=0.01)
    assert rle.mask.region == v1.PixelBox(x_max=WIDTH, y_max=HEIGHT) and list(rle.mask.rle.size) == [28, 28]


def test_an_array_of_too_many_bytes_is_packed_for_its_masks(server: FakeServer, client: pg.Client) -> None:
    """Without loss, where the masks would lose by a smaller picture."""
    serve(server, limits=v1.ModelLimits(max_image_bytes=1 << 20))
    server.on("Segment", v1.SegmentResponse(objects=[found()]))
    array = np.zeros((900, 1300, 3), np.uint8)
    array[:, :, 1] = np.arange(1300) // 8
    with pytest.warns(pg.ChangedPictureWarning, match="PNG"):
        response = client.segment(array, "cat")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sent(server)[0].image.content))), array)
    assert response.objects[0] == found()


EVENTS = [
    v1.StreamGenerateResponse(object=v1.ObjectFound(object=found())),
    v1.StreamGenerateResponse(result=v1.TaskResponse(detect=v1.DetectResponse(objects=[found()]))),
]


@pytest.mark.filterwarnings("ignore::paligemma_serving.ChangedPictureWarning")
def test_streams(server: FakeServer, client: pg.Client, photograph: np.ndarray) -> None:
    """Objects on the way and the result are in the pixels of the full picture."""
    server.on("StreamGenerate", lambda request, context: iter(EVENTS))
    with client.stream(requests.detect(photograph, "cat")) as stream:
        assert [event.object.pixel_box for event in stream] == [FULL_BOX]
        assert stream.result().objects[0].pixel_box == FULL_BOX
    assert sent(server)[0].task.detect.image.raw.data == bicubic(photograph)


@pytest.mark.filterwarnings("ignore::paligemma_serving.ChangedPictureWarning")
def test_the_asyncio_client_does_the_same(server: FakeServer, photograph: np.ndarray) -> None:
    """Calls, streams, streams that nobody reads, and streams whose picture is damaged."""
    serve(server)
    server.on("StreamGenerate", lambda request, context: iter(EVENTS))
    server.on("Detect", v1.DetectResponse(objects=[found()]))
    out = io.BytesIO()
    Image.fromarray(photograph).save(out, "JPEG")

    async def scenario() -> None:
        async with pg.AsyncClient(server.address, timeout=10) as client:
            assert (await client.detect(photograph, "cat")).objects[0].pixel_box == FULL_BOX
            async with client.stream(requests.detect(photograph, "cat")) as stream:
                assert [event.object.pixel_box async for event in stream] == [FULL_BOX]
                assert (await stream.result()).objects[0].pixel_box == FULL_BOX
            async with client.stream(requests.detect(photograph, "cat")):
                pass
            with pytest.raises(pg.ImageError, match="damaged"):
                await client.stream(requests.detect(out.getvalue()[:5000], "cat")).result()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "changes", [{"resampling": 99}, {"padding": 99}, {"resampling": 0}, {"limits": v1.ModelLimits()}], ids=str
)
def test_an_unknown_rule_leaves_the_picture_alone(server: FakeServer, client: pg.Client, changes: dict) -> None:
    """A newer server's, or an older one's that tells none."""
    serve(server, **changes)
    server.on("Caption", v1.CaptionResponse())
    client.caption(np.zeros((HEIGHT, WIDTH), np.uint8))
    assert sent(server)[0].images[0].raw.width == WIDTH


def test_a_server_that_tells_nothing_is_asked_once(server: FakeServer, client: pg.Client) -> None:
    """Without the right to ask about models, requests still go out; a server that is away is away."""
    server.on("ListModels", lambda r, context: fail(context, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"))
    server.on("Caption", v1.CaptionResponse())
    for _ in range(2):
        client.caption(np.zeros((HEIGHT, WIDTH), np.uint8))
    assert len(server.requests) == 3
    server.on("GetModel", lambda r, context: fail(context, grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING"))
    with pytest.raises(pg.UnavailableError):
        client.caption(np.zeros((HEIGHT, WIDTH), np.uint8), model="a")
    assert len(server.requests) == 4


def test_there_is_a_bound(server: FakeServer, client: pg.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb of a stranger is not decoded in the service that passes it on."""
    monkeypatch.setattr(_fit, "MAX_PIXELS", 1_100_000)
    with pytest.raises(pg.ImageError, match="1300 x 900, limit 1100000") as caught:
        client.caption(np.zeros((HEIGHT, WIDTH), np.uint8))
    assert caught.value.metadata == {"field": "image", "value": "1300 x 900", "limit": "1100000"}


def test_a_damaged_large_picture_is_named(server: FakeServer, client: pg.Client, photograph: np.ndarray) -> None:
    """As the server would."""
    out = io.BytesIO()
    Image.fromarray(photograph).save(out, "JPEG")
    with pytest.raises(pg.ImageError, match="damaged") as caught:
        client.caption(out.getvalue()[:9000])
    assert caught.value.reason == "IMAGE_CORRUPT"


def test_a_request_above_the_transports_limit_is_an_error_with_field_value_and_limit() -> None:
    """gRPC itself knows only numbers."""
    small = FakeServer(max_receive_bytes=100_000)
    try:
        with pg.Client(small.address, timeout=10, max_attempts=1) as client:
            request = requests.caption(bytes(200_000))
            with pytest.raises(pg.ImageError, match="request has 2.* limit 100000") as caught:
                client.send(request)
        error = caught.value
        assert (error.code, error.reason, error.field) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "IMAGE_TOO_LARGE",
            "images",
        )
        assert error.metadata == {"field": "images", "value": str(request.ByteSize()), "limit": "100000"}
    finally:
        small.stop()


def test_a_response_above_the_clients_limit_is_named(server: FakeServer) -> None:
    """It is the response that is too large, not the request."""
    server.on("Caption", v1.CaptionResponse(caption="a" * 2000))
    options = [("grpc.max_receive_message_length", 1000)]
    with (
        pg.Client(server.address, timeout=10, max_attempts=1, channel_options=options) as client,
        pytest.raises(pg.LimitError, match="response has 2") as caught,
    ):
        client.caption(b"x")
    assert caught.value.reason == "RESPONSE_TOO_LARGE" and caught.value.metadata["limit"] == "1000"
