# SPDX-License-Identifier: Apache-2.0
"""What the sync and the asyncio client share: channel arguments, metadata, the methods' names."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc

from paligemma_serving import v1

SERVICE = "paligemma.v1.PaliGemmaService"
MODEL_SERVICE = "paligemma.v1.ModelService"
DEFAULT_TARGET = "localhost:8001"
DEFAULT_TIMEOUT = 60.0
# gRPC retries no call whose message exceeds its buffer, 256 KiB unless told: smaller than most pictures.
RETRY_BUFFER_BYTES = 256 << 20
MAX_RESPONSE_BYTES = 64 << 20

Metadata = Sequence["tuple[str, str]"]


class Method(NamedTuple):
    """A unary method."""

    path: str
    response: Any


UNARY: dict[type, Method] = {
    v1.CaptionRequest: Method(f"/{SERVICE}/Caption", v1.CaptionResponse),
    v1.AnswerRequest: Method(f"/{SERVICE}/Answer", v1.AnswerResponse),
    v1.DetectRequest: Method(f"/{SERVICE}/Detect", v1.DetectResponse),
    v1.SegmentRequest: Method(f"/{SERVICE}/Segment", v1.SegmentResponse),
    v1.ReadTextRequest: Method(f"/{SERVICE}/ReadText", v1.ReadTextResponse),
    v1.GenerateRequest: Method(f"/{SERVICE}/Generate", v1.GenerateResponse),
    v1.ListModelsRequest: Method(f"/{MODEL_SERVICE}/ListModels", v1.ListModelsResponse),
    v1.GetModelRequest: Method(f"/{MODEL_SERVICE}/GetModel", v1.GetModelResponse),
}
STREAM = Method(f"/{SERVICE}/StreamGenerate", v1.StreamGenerateResponse)


def service_config(max_attempts: int, health_check: bool) -> str:
    """The JSON that tells gRPC when to retry and how to spread calls.

    UNAVAILABLE is retried, and CANCELLED, which a call hears that crosses a server's GOAWAY (one that the caller
    cancels is over). The library itself honours grpc-retry-pushback-ms of the server, waits with jittered backoff
    otherwise, and stops retrying when most calls fail.
    """
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if max_attempts > 1:
        config["methodConfig"] = [
            {
                "name": [{"service": SERVICE}, {"service": MODEL_SERVICE}],
                "retryPolicy": {
                    "maxAttempts": max_attempts,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ]
        config["retryThrottling"] = {"maxTokens": 100, "tokenRatio": 0.1}
    if health_check:
        config["healthCheckConfig"] = {"serviceName": SERVICE}
    return json.dumps(config)


@dataclass(frozen=True)
class Settings:
    """How to reach a server; the arguments of Client and AsyncClient."""

    target: str = DEFAULT_TARGET
    timeout: float | None = DEFAULT_TIMEOUT
    credentials: grpc.ChannelCredentials | None = None
    token: str | None = None
    max_attempts: int = 4
    health_check: bool = False
    wait_for_ready: bool = False
    metadata: Metadata = ()
    channel_options: Sequence[tuple[str, Any]] = field(default=())

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 5:
            raise ValueError("max_attempts is 1 to 5; gRPC takes more for 5")
        if self.token and self.credentials is None and not _is_local(self.target):
            raise ValueError(
                "a token would travel in clear text: pass credentials=grpc.ssl_channel_credentials()"
            )

    def options(self) -> list[tuple[str, Any]]:
        """Returns the channel's arguments, each once. The caller's own win."""
        arguments: dict[str, Any] = {
            "grpc.enable_retries": int(self.max_attempts > 1),
            "grpc.service_config": service_config(self.max_attempts, self.health_check),
            "grpc.per_rpc_retry_buffer_size": RETRY_BUFFER_BYTES,
            "grpc.max_send_message_length": -1,
            "grpc.max_receive_message_length": MAX_RESPONSE_BYTES,
        }
        arguments.update(self.channel_options)
        return list(arguments.items())

    def call(self, request: Any, timeout: float | None, request_id: str | None, extra: Metadata) -> Call:
        """The keyword arguments of one call."""
        identity = request_id or uuid.uuid4().hex
        metadata = [("x-request-id", identity), *self.metadata, *extra]
        model = getattr(request, "model", "")
        if model:
            metadata.append(("x-paligemma-model", model))
        if self.token:
            metadata.append(("authorization", f"Bearer {self.token}"))
        arguments = {
            "timeout": self.timeout if timeout is None else timeout,
            "metadata": tuple(metadata),
            "wait_for_ready": self.wait_for_ready,
        }
        return Call(identity, arguments)


class Call(NamedTuple):
    """One call's request id and keyword arguments."""

    request_id: str
    arguments: dict[str, Any]


def serialize(message: Any) -> bytes:
    """The wire form of a message."""
    return message.SerializeToString()


def multicallables(channel: Any) -> tuple[dict[type, Callable[..., Any]], Callable[..., Any]]:
    """The callables of all unary methods by request type, and that of the stream."""
    unary = {
        request: channel.unary_unary(
            method.path, request_serializer=serialize, response_deserializer=method.response.FromString
        )
        for request, method in UNARY.items()
    }
    stream = channel.unary_stream(
        STREAM.path, request_serializer=serialize, response_deserializer=STREAM.response.FromString
    )
    return unary, stream


def _is_local(target: str) -> bool:
    return target.startswith(("localhost:", "127.0.0.1:", "[::1]:", "unix:"))
