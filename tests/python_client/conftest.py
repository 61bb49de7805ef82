# SPDX-License-Identifier: Apache-2.0
"""A fake PaliGemma server in this process: no model, but real gRPC."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients/python"))

from paligemma_serving import v1  # noqa: E402
from paligemma_serving._transport import STREAM, UNARY  # noqa: E402

Behaviour = Callable[[Any, grpc.ServicerContext], Any]


class FakeServer:
    """Answers each method with `behaviours[method]`; keeps what arrived."""

    def __init__(self, max_receive_bytes: int = -1) -> None:
        self.behaviours: dict[str, Behaviour] = {}
        self.requests: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.cancelled = threading.Event()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", max_receive_bytes)]
        )
        self._server.add_generic_rpc_handlers(tuple(self._handlers()))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Ends all calls."""
        self._server.stop(None)

    def on(self, method: str, behaviour: Behaviour | Any) -> None:
        """Answers a method with a message, or with what a function of (request, context) returns."""
        self.behaviours[method] = behaviour if callable(behaviour) else lambda request, context: behaviour

    def _handlers(self) -> Iterator[grpc.GenericRpcHandler]:
        methods: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
        for request, method in [*UNARY.items(), (v1.StreamGenerateRequest, STREAM)]:
            _, service, name = method.path.split("/")
            make = (
                grpc.unary_stream_rpc_method_handler
                if method is STREAM
                else grpc.unary_unary_rpc_method_handler
            )
            methods.setdefault(service, {})[name] = make(
                self._handle(name), request.FromString, lambda message: message.SerializeToString()
            )
        return (grpc.method_handlers_generic_handler(*service) for service in methods.items())

    def _handle(self, name: str) -> Behaviour:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            self.requests.append(request)
            self.metadata.append({key: value for key, value in context.invocation_metadata()})
            return self.behaviours[name](request, context)

        return handle


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake server that stops with the test."""
    fake = FakeServer()
    yield fake
    fake.stop()


def fail(
    context: grpc.ServicerContext,
    code: grpc.StatusCode,
    reason: str,
    metadata: dict[str, str] | None = None,
    retry_ms: int | None = None,
) -> None:
    """Ends a call as the C++ server does: google.rpc details, and pushback where a retry can help."""
    details = [
        error_details_pb2.ErrorInfo(reason=reason, domain="paligemma.serving", metadata=metadata or {})
    ]
    details.append(error_details_pb2.RequestInfo(request_id="server-side-id"))
    trailers: list[tuple[str, Any]] = []
    if retry_ms is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(retry_ms)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        trailers.append(("grpc-retry-pushback-ms", str(retry_ms)))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    status = status_pb2.Status(code=code.value[0], message=f"because of {reason}", details=packed)
    trailers.append(("grpc-status-details-bin", status.SerializeToString()))
    context.set_trailing_metadata(tuple(trailers))
    context.abort(code, status.message)
