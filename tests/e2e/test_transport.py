# SPDX-License-Identifier: Apache-2.0
"""What the transport takes and refuses before a request is looked at, and what it shows."""

from __future__ import annotations

import json

import grpc
import pytest
import quiescence
import serving
from paligemma_serving import v1

CAPTION = "/paligemma.v1.PaliGemmaService/Caption"
MAX_IMAGES = json.loads((serving.TINY / "manifest.json").read_text())["image"]["max_count"]
RECEIVE_LIMIT = 2 * (16 << 20) * MAX_IMAGES + (1 << 20)


def ending_of(channel: grpc.Channel, message: bytes, **options: object) -> tuple[str, str, dict[str, str]]:
    """(code, reason, metadata) that a call with these bytes ends with."""
    call = channel.unary_unary(CAPTION, request_serializer=lambda raw: raw, response_deserializer=lambda raw: raw)
    return serving.refusal_of(call, message, **options)


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_message_is_read(server: serving.Server, algorithm: grpc.Compression) -> None:
    case = serving.golden_cases()[0]
    request = serving.generate_request(case)
    request.options.tags["padding"] = "a" * 256  # so that it pays
    response = server.stub.Generate(request, timeout=60, compression=algorithm)
    assert list(response.candidates[0].token_ids) == case["token_ids"]


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_message_that_inflates_to_too_much_is_refused_without_inflating_it(
    server: serving.Server, algorithm: grpc.Compression
) -> None:
    bomb = v1.CaptionRequest(model="m" * (2 * RECEIVE_LIMIT)).SerializeToString()  # a thousandth of it on the wire
    with quiescence.peak_below(server, 1.5 * RECEIVE_LIMIT / 2**20):
        code, reason, metadata = ending_of(server.channel, bomb, compression=algorithm)
    assert (code, reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert metadata["field"] == "paligemma.v1.CaptionRequest"
    assert 1 << 20 <= int(metadata["limit"]) < RECEIVE_LIMIT, "20 times the bytes on the wire, or 1 MiB"


@pytest.mark.parametrize("algorithm", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_millions_of_empty_messages_are_refused_before_they_become_objects(
    server: serving.Server, algorithm: grpc.Compression
) -> None:
    """Each image of two bytes would be an object of some fifty."""
    images = b"\x12\x00" * (512 << 10)
    with quiescence.peak_below(server, 16):
        code, reason, metadata = ending_of(server.channel, images, compression=algorithm)
    assert (code, reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert (metadata["field"], metadata["limit"]) == ("images", "1024")


def test_a_message_above_the_receive_limit_ends_in_the_library(server: serving.Server) -> None:
    """gRPC drops it and ends the call before we see either."""
    assert ending_of(server.channel, bytes(RECEIVE_LIMIT + 1))[:2] == ("RESOURCE_EXHAUSTED", "")


def test_what_arrives_over_all_calls_is_bounded_together() -> None:
    """Eight messages of the largest size, here 5 MiB; two clients send sixty times that each. Unbounded, 300 MiB of it
    are there at once. What was freed counts too, until the heap gives it back: up to twice 64 MiB (heap.h)."""
    with serving.Server(serving.TINY, f"--max-image-bytes={1 << 20}") as server, quiescence.back_at_base(server):
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        channels = [grpc.insecure_channel(server.address, options) for _ in range(2)]
        with quiescence.peak_below(server, 200):
            calls = [channel.unary_unary(CAPTION).future(bytes(300 << 20), timeout=60) for channel in channels]
            assert {call.code().name for call in calls} <= {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
        for channel in channels:
            channel.close()


def test_metadata_above_the_limit_is_refused_with_the_limit(server: serving.Server) -> None:
    code, reason, metadata = ending_of(server.channel, b"", metadata=[("x-large", "a" * 20_000)])
    assert (code, reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert (metadata["field"], metadata["limit"]) == ("metadata", "16384")
    assert 20_000 < int(metadata["value"]) < 21_000


def test_metadata_above_four_times_the_limit_ends_in_the_library_and_others_are_answered(
    server: serving.Server,
) -> None:
    with grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as own:
        code, reason, _ = ending_of(own, b"", metadata=[("x-large", "a" * 80_000)])
        assert code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE")  # gRPC 1.51 may close the connection as well
        assert reason == ""
    assert ending_of(server.channel, b"")[:2] == ("INVALID_ARGUMENT", "IMAGE_MISSING")


def test_reflection_is_there_unless_it_is_turned_off(server: serving.Server) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    list_services = b"\x3a\x01*"  # field 7, a text

    def answers(channel: grpc.Channel) -> list[bytes]:
        call = channel.stream_stream(path, request_serializer=lambda raw: raw, response_deserializer=lambda raw: raw)
        return list(call(iter([list_services]), timeout=60))

    assert b"paligemma.v1.PaliGemmaService" in answers(server.channel)[0]
    with serving.Server(serving.TINY, "--reflection=false") as closed:
        with pytest.raises(grpc.RpcError) as caught:
            answers(closed.channel)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
