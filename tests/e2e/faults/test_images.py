# SPDX-License-Identifier: Apache-2.0
"""F1 to F11: pictures that are missing, broken, strange or made to cost much."""

import math
import zlib
from pathlib import Path

import grpc
import pictures
import pytest
import quiescence
import serving
from paligemma_serving._formats import describe_foreign

PICTURE = serving.image_bytes(quiescence.GOLDEN)
SAMPLES = Path(__file__).parents[2] / "core/vision/images"


def request_for(data: bytes) -> object:
    """The golden request with another picture."""
    request = serving.generate_request(quiescence.GOLDEN)
    request.images[0].content = data
    return request


def refusal(server: serving.Server, data: bytes) -> tuple[str, str]:
    """Code and reason with which a picture is refused; the field must be named, and no image encoded."""
    encoded = server.metric("paligemma_vision_cache_queries_total")
    code, reason, metadata = serving.refusal_of(server.stub.Generate, request_for(data))
    assert metadata["field"].startswith("images"), metadata
    assert server.metric("paligemma_vision_cache_queries_total") == encoded
    return code, reason


def test_f01_no_image_and_an_empty_one_are_missing(server: serving.Server) -> None:
    request = request_for(b"")
    assert serving.refusal_of(server.stub.Generate, request)[:2] == ("INVALID_ARGUMENT", "IMAGE_MISSING")
    request.images[0].ClearField("content")  # neither content nor raw pixels
    assert serving.refusal_of(server.stub.Generate, request)[:2] == ("INVALID_ARGUMENT", "IMAGE_MISSING")
    del request.images[:]
    assert serving.refusal_of(server.stub.Generate, request)[:2] == ("INVALID_ARGUMENT", "IMAGE_MISSING")


NO_PICTURES = {
    "random bytes": (bytes(zlib.crc32(bytes([i])) & 255 for i in range(200)), "IMAGE_FORMAT_UNSUPPORTED"),
    "a text": (b"Dear server, please describe this.", "IMAGE_FORMAT_UNSUPPORTED"),
    "a JPEG's first bytes": (b"\xff\xd8\xff\xe0", "IMAGE_CORRUPT"),
    "a PNG's first bytes": (pictures.PNG_SIGNATURE, "IMAGE_CORRUPT"),
    "a WebP's first bytes": (b"RIFF\x04\0\0\0WEBP", "IMAGE_CORRUPT"),
}


@pytest.mark.parametrize("name", NO_PICTURES)
def test_f02_what_is_no_picture_is_refused(server: serving.Server, name: str) -> None:
    data, reason = NO_PICTURES[name]
    assert refusal(server, data) == ("INVALID_ARGUMENT", reason)


UNSUPPORTED = {
    "TIFF": pictures.encoded(pictures.photograph(), "TIFF"),
    "BMP": pictures.encoded(pictures.photograph(), "BMP"),
    "GIF": pictures.encoded(pictures.photograph(), "GIF"),
    "PPM": pictures.encoded(pictures.photograph(), "PPM"),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "OpenEXR": b"\x76\x2f\x31\x01" + bytes(100),
    "Radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\n" + bytes(100),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "AVIF": b"\0\0\0\x1cftypavif" + bytes(100),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_f03_other_formats_are_refused_and_leave_no_temporary_file(server: serving.Server, name: str) -> None:
    assert refusal(server, UNSUPPORTED[name]) == ("INVALID_ARGUMENT", "IMAGE_FORMAT_UNSUPPORTED")


@pytest.mark.parametrize("width, height", [(30_000, 30_000), (40_000, 30_000), (1, 1_048_577), (16_385, 1)])
def test_f04_a_decompression_bomb_is_refused_from_its_header(server: serving.Server, width: int, height: int) -> None:
    data = pictures.bomb(width, height)
    with quiescence.peak_below(server, 5):
        assert refusal(server, data) == ("INVALID_ARGUMENT", "IMAGE_TOO_LARGE")


def test_f05_a_header_that_promises_more_than_is_allowed_allocates_nothing(server: serving.Server) -> None:
    data = pictures.png(30_000, 30_000, b"10 bytes !", colour=pictures.RGB)
    with quiescence.peak_below(server, 5):
        assert refusal(server, data) == ("INVALID_ARGUMENT", "IMAGE_TOO_LARGE")


def test_f05_a_header_that_promises_more_than_follows_costs_no_more_than_its_pixels(server: serving.Server) -> None:
    data = pictures.png(6000, 6000, b"10 bytes !", colour=pictures.RGB)
    with quiescence.peak_below(server, 6000 * 6000 * 3 / 2**20 + 5):
        assert refusal(server, data) == ("INVALID_ARGUMENT", "IMAGE_CORRUPT")


def test_f06_a_progressive_jpeg_of_a_thousand_scans_is_too_complex(server: serving.Server) -> None:
    assert refusal(server, pictures.many_scans(1000)) == ("INVALID_ARGUMENT", "IMAGE_TOO_COMPLEX")


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_f07_compressed_text_in_a_picture_is_not_inflated(server: serving.Server, kind: bytes) -> None:
    data = pictures.text_bomb(kind, mib=256)
    with quiescence.peak_below(server, 32):
        assert server.stub.Generate(request_for(data), timeout=60).candidates


def test_f07_metadata_of_many_megabytes_costs_no_more_than_its_bytes(server: serving.Server) -> None:
    data = pictures.with_segments(240)  # 15 MiB
    with quiescence.peak_below(server, 3 * len(data) / 2**20 + 8):  # the message, its copy on the wire, the request
        assert server.stub.Generate(request_for(data), timeout=60).candidates


WHOLE = {
    "JPEG": pictures.encoded(pictures.photograph(), "JPEG", quality=90),
    "progressive JPEG": pictures.encoded(pictures.photograph(), "JPEG", progressive=True),
    "PNG": pictures.encoded(pictures.photograph()),
    "WebP": pictures.encoded(pictures.photograph(), "WEBP"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_f08_a_picture_cut_short_is_refused_and_shows_no_other_picture(server: serving.Server, name: str) -> None:
    whole = WHOLE[name]
    for percent in (10, 50, 90, 99):
        server.stub.Generate(request_for(PICTURE), timeout=60)  # whose pixels lie in the memory that is used again
        cut = whole[: len(whole) * percent // 100]
        assert refusal(server, cut) == ("INVALID_ARGUMENT", "IMAGE_CORRUPT"), percent


def test_f08_a_flipped_bit_in_a_png_is_found(server: serving.Server) -> None:
    data = bytearray(WHOLE["PNG"])
    data[data.index(b"IDAT") + 40] ^= 1
    assert refusal(server, bytes(data)) == ("INVALID_ARGUMENT", "IMAGE_CORRUPT")


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1)])
def test_f09_extreme_shapes_are_answered_with_finite_numbers(server: serving.Server, size: tuple[int, int]) -> None:
    data = pictures.encoded(pictures.photograph().resize(size))
    response = server.stub.Generate(request_for(data), timeout=60)
    assert (response.info.images[0].width, response.info.images[0].height) == size
    assert response.candidates[0].logprobs
    assert all(math.isfinite(entry.logprob) and entry.logprob <= 0 for entry in response.candidates[0].logprobs)


KINDS = {
    "grey": pictures.encoded(pictures.photograph().convert("L")),
    "16 bits a channel": pictures.sixteen_bit(),
    "palette": pictures.encoded(pictures.photograph().quantize(16)),
    "transparency": (SAMPLES / "rgba.png").read_bytes(),
    "CMYK": (SAMPLES / "cmyk.jpg").read_bytes(),
    "a colour profile": pictures.with_profile(),
    **{f"orientation {number}": pictures.rotated(number) for number in range(1, 9)},
}


@pytest.mark.parametrize("name", KINDS)
def test_f10_every_kind_of_picture_has_the_reference_pixels(server: serving.Server, name: str) -> None:
    """The image cache knows pictures by their resized pixels: a hit means that all of them are equal."""
    first = server.stub.Generate(request_for(KINDS[name]), timeout=60)
    upright = pictures.as_pillow_sees_it(KINDS[name])
    request = serving.generate_request(quiescence.GOLDEN)
    raw = request.images[0].raw
    raw.width, raw.height = upright.size
    raw.pixel_format = serving.api("types_pb2").PIXEL_FORMAT_RGB8
    raw.data = upright.tobytes()
    second = server.stub.Generate(request, timeout=60)
    assert second.info.usage.cached_image_token_count == second.info.usage.image_token_count > 0
    assert second.candidates == first.candidates


FOREIGN = [
    line.split("\t") for line in (SAMPLES.parent / "foreign/expected.txt").read_text().splitlines()
]


@pytest.mark.parametrize(("name", "word"), FOREIGN, ids=[name for name, _ in FOREIGN])
def test_what_came_in_place_of_a_picture_is_named(server: serving.Server, name: str, word: str) -> None:
    """By the server, and by Python's client in the same words where it knows them."""
    data = (SAMPLES.parent / "foreign" / name).read_bytes()
    with pytest.raises(grpc.RpcError) as caught:
        server.stub.Generate(request_for(data), timeout=60)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert word in caught.value.details() and "images[0]" in caught.value.details()
    assert describe_foreign(data) in caught.value.details()


def test_f11_an_image_above_the_limit_is_refused_by_name(server: serving.Server) -> None:
    data = PICTURE + bytes(17 << 20)
    code, reason, metadata = serving.refusal_of(server.stub.Generate, request_for(data))
    assert (code, reason) == ("INVALID_ARGUMENT", "IMAGE_TOO_LARGE")
    assert metadata == {"field": "images[0].content", "value": str(len(data)), "limit": str(16 << 20)}


def test_f11_a_message_above_the_transports_limit_leaves_the_connection_usable(server: serving.Server) -> None:
    limit = 2 * (16 << 20) * 2 + (1 << 20)  # twice the largest request of this model and a MiB
    with pytest.raises(grpc.RpcError) as caught:
        server.stub.Generate(request_for(bytes(limit + 1)), timeout=60)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert quiescence.golden_tokens(server) == quiescence.GOLDEN["token_ids"]  # on the same channel
