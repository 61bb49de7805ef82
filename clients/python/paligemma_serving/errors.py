# SPDX-License-Identifier: Apache-2.0
"""Exceptions: one class per kind of trouble, each with what the server said about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "paligemma.serving"


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
        """Whether the same request can succeed later. The client has then already retried UNAVAILABLE."""
        return self.code is grpc.StatusCode.UNAVAILABLE or self.retry_after is not None


class InvalidRequestError(PaliGemmaError):
    """INVALID_ARGUMENT: the request is wrong and stays so."""


class ImageError(InvalidRequestError):
    """INVALID_ARGUMENT with an IMAGE_* reason: missing, damaged, too large, of another format."""


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


def from_rpc_error(error: grpc.RpcError, request_id: str = "") -> PaliGemmaError:
    """The typed exception for what grpc raised, sync or asyncio."""
    code: grpc.StatusCode = error.code()
    trailers = dict(_pairs(error.trailing_metadata()))
    facts: dict[str, Any] = {"code": code, "request_id": request_id}
    pushback = trailers.get("grpc-retry-pushback-ms", "")
    if isinstance(pushback, str) and pushback.isdigit():
        facts["retry_after"] = int(pushback) / 1000
    details = trailers.get("grpc-status-details-bin")
    if isinstance(details, bytes):
        facts.update(_details(details))
    kind = _CLASSES.get(code, ServerError)
    if facts.get("reason", "").startswith("IMAGE_"):
        kind = ImageError
    return kind(error.details() or code.name, **facts)


def _pairs(metadata: Any) -> Iterable[tuple[str, Any]]:
    return ((entry[0], entry[1]) for entry in metadata or ())


def _details(serialized: bytes) -> dict[str, Any]:
    """What the google.rpc details say; nothing when they cannot be read."""
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
