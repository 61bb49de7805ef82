# SPDX-License-Identifier: Apache-2.0
"""What the transport refuses before any of our code sees it, and what it shows."""

from __future__ import annotations

import grpc
import pytest
import serving
from paligemma_serving import v1

CAPTION = "/paligemma.v1.PaliGemmaService/Caption"


def code_of(channel: grpc.Channel, path: str, message: bytes, **options: object) -> grpc.StatusCode:
    """The code that a call with these bytes ends with."""
    call = channel.unary_unary(path, request_serializer=lambda raw: raw, response_deserializer=lambda raw: raw)
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=60, **options)
    return caught.value.code()


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_message_is_refused(server: serving.Server, algorithm: grpc.Compression) -> None:
    message = v1.CaptionRequest(model="m" * 4096).SerializeToString()
    assert code_of(server.channel, CAPTION, message, compression=algorithm) == grpc.StatusCode.UNIMPLEMENTED


def test_metadata_above_the_limit_is_refused_and_others_are_answered(server: serving.Server) -> None:
    large = [("x-large", "a" * 20_000)]
    with grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as own:
        # gRPC 1.51 may close the connection as well.
        refused = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
        assert code_of(own, CAPTION, b"", metadata=large) in refused
    assert code_of(server.channel, CAPTION, b"") == grpc.StatusCode.INVALID_ARGUMENT


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
