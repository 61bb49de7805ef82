# SPDX-License-Identifier: Apache-2.0
"""Exceptions: one class per kind of trouble, each with what the server said about it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "paligemma.serving"
ACCEPTED_TYPES = "image/jpeg,image/png,image/webp"


class PaliGemmaError(Exception):
    """A call failed.

    Attributes:
        code: the gRPC status code.
        reason: a name of v1.ErrorReason without its prefix, e.g. "IMAGE_TOO_LARGE"; empty if the failure did
            not come from the server (connection refused, deadline seen by the client alone).
        message: for people.
        field: the request's field that is wrong, e.g. "images[0].content", or None.
        metadata: further facts by reason, e.g. {"value": "120", "limit": "64"}.
        retry_after: seconds to wait before a retry can help, or None if the server did not say.
        request_id: the x-request-id of the call, under which the server logs it.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        field: str | None = None,
        metadata: dict[str, str] | None = None,
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.field = field
        self.metadata = metadata or {}
        self.retry_after = retry_after
        self.request_id = request_id

    def __str__(self) -> str:
        where = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.reason or self.code.name}: {self.message}{where}"

    @property
    def retryable(self) -> bool:
        """True if the same request can succeed later. The client has then already retried UNAVAILABLE."""
        return self.code is grpc.StatusCode.UNAVAILABLE or self.retry_after is not None


class InvalidRequestError(PaliGemmaError):
    """INVALID_ARGUMENT: the request is wrong and stays so."""


class ImageError(InvalidRequestError):
    """INVALID_ARGUMENT with an IMAGE_* reason: missing, damaged, too large, of another format."""


def image_error(
    message: str, reason: str = "IMAGE_FORMAT_UNSUPPORTED", field: str = "image", **facts: str
) -> ImageError:
    """An error that this client found before it sent anything, in the form that the server would have given it."""
    metadata = {"field": field, **facts}
    if reason == "IMAGE_FORMAT_UNSUPPORTED":
        metadata["accepted"] = ACCEPTED_TYPES
    return ImageError(
        message, code=grpc.StatusCode.INVALID_ARGUMENT, reason=reason, field=field, metadata=metadata
    )


class UnsupportedError(PaliGemmaError):
    """FAILED_PRECONDITION: the model was not tuned for this method."""


class NotFoundError(PaliGemmaError):
    """NOT_FOUND: no such model."""


class UnavailableError(PaliGemmaError):
    """UNAVAILABLE: no server reached, overloaded, loading or draining, after all retries."""


class LimitError(PaliGemmaError):
    """RESOURCE_EXHAUSTED: a quota, a response that would be too large, or a client that read too slowly."""


class DeadlineExceededError(PaliGemmaError):
    """DEADLINE_EXCEEDED: the call's timeout or the request's time budget ended."""


class RequestCancelledError(PaliGemmaError):
    """CANCELLED, by this client or on the way."""


class AuthenticationError(PaliGemmaError):
    """UNAUTHENTICATED or PERMISSION_DENIED."""


class ServerError(PaliGemmaError):
    """INTERNAL or any other code: a fault of the server; its log has the request id."""


class IncompleteStreamError(ServerError):
    """A stream ended without a result."""


class ChangedPictureWarning(UserWarning):
    """A picture exceeded the server's limits and was sent in another form. Each client says so once."""


_CLASSES: dict[grpc.StatusCode, type[PaliGemmaError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.FAILED_PRECONDITION: UnsupportedError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: RequestCancelledError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: AuthenticationError,
}


def from_rpc_error(error: grpc.RpcError, request_id: str = "", request_bytes: int = 0) -> PaliGemmaError:
    """The typed exception for what grpc raised, sync or asyncio, on a request of so many bytes."""
    code: grpc.StatusCode = error.code()
    trailers = dict(_pairs(error.trailing_metadata()))
    facts: dict[str, Any] = {"code": code, "request_id": request_id}
    pushback = trailers.get("grpc-retry-pushback-ms", "")
    if isinstance(pushback, str) and pushback.isdigit():
        facts["retry_after"] = int(pushback) / 1000
    details = trailers.get("grpc-status-details-bin")
    if isinstance(details, bytes):
        facts.update(_details(details))
    message = error.details() or code.name
    if not facts.get("reason"):
        transport = _transport_limit(message, request_bytes)
        if transport is not None:
            message, more = transport
            facts.update(more)
    kind = _CLASSES.get(code, ServerError)
    if facts.get("reason", "").startswith("IMAGE_"):
        kind = ImageError
    return kind(message, **facts)


# What gRPC says of a message that it does not carry, and a proxy's "Request Entity Too Large".
_TOO_LARGE = re.compile(r"(Received|Sent) message larger than max \((\d+) vs\. (\d+)\)")
_PROXY_TOO_LARGE = re.compile(r"http2? header with status: 413|HTTP status code: 413", re.I)


def _transport_limit(message: str, request_bytes: int) -> tuple[str, dict[str, Any]] | None:
    """Message and facts of a refusal by the transport, which knows no fields."""
    found = _TOO_LARGE.search(message)
    if found is None:
        if not _PROXY_TOO_LARGE.search(message):
            return None
        value = str(request_bytes)
        said = f"images: a proxy on the way refused the request of {value} bytes as too large"
        return f"{said}; raise its limit of request bodies, or send smaller pictures", {
            "reason": "IMAGE_TOO_LARGE",
            "field": "images",
            "metadata": {"field": "images", "value": value},
        }
    direction, value, limit = found.groups()
    # The server counts what it received, which is this request; any other number is that of a response.
    if direction == "Sent" or int(value) == request_bytes:
        facts = {"field": "images", "value": value, "limit": limit}
        return (
            f"images: the request has {value} bytes, limit {limit} of one message; send files rather than raw pixels, "
            "or smaller pictures",
            {"reason": "IMAGE_TOO_LARGE", "field": "images", "metadata": facts},
        )
    return (
        f"the response has {value} bytes, limit {limit} of this client; raise grpc.max_receive_message_length in "
        "channel_options, or ask for smaller masks",
        {"reason": "RESPONSE_TOO_LARGE", "metadata": {"value": value, "limit": limit}},
    )


def _pairs(metadata: Any) -> Iterable[tuple[str, Any]]:
    return ((entry[0], entry[1]) for entry in metadata or ())


def _details(serialized: bytes) -> dict[str, Any]:
    """Returns what the google.rpc details say, or nothing when they cannot be read."""
    facts: dict[str, Any] = {}
    try:
        details = status_pb2.Status.FromString(serialized).details
        for detail in details:
            info, request = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
            retry, bad = error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info) and info.domain == DOMAIN:
                facts["reason"] = info.reason
                facts["metadata"] = dict(info.metadata)
                if "field" in info.metadata:
                    facts["field"] = info.metadata["field"]
            elif detail.Unpack(retry):
                facts["retry_after"] = retry.retry_delay.ToMicroseconds() / 1e6
            elif detail.Unpack(bad) and bad.field_violations:
                facts.setdefault("field", bad.field_violations[0].field)
            elif detail.Unpack(request) and request.request_id:
                facts["request_id"] = request.request_id
    except Exception:  # noqa: BLE001 (DecodeError has another base in each protobuf; details are a courtesy)
        pass
    return facts
