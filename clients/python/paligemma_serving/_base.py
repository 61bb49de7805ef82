# SPDX-License-Identifier: Apache-2.0
"""What the sync and the asyncio client share: settings, the sending of named methods, the reading of streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

import grpc

from paligemma_serving import v1
from paligemma_serving._arguments import split
from paligemma_serving._transport import DEFAULT_TARGET, DEFAULT_TIMEOUT, Metadata, Settings
from paligemma_serving.errors import IncompleteStreamError, PaliGemmaError, from_rpc_error

Event = Union[v1.TextDelta, v1.ObjectFound]  # noqa: UP007 (evaluated, and Python 3.9 lacks the other form)
Result = Union[  # noqa: UP007
    v1.CaptionResponse,
    v1.AnswerResponse,
    v1.DetectResponse,
    v1.SegmentResponse,
    v1.ReadTextResponse,
    v1.GenerateResponse,
]


class BaseClient:
    """Keeps the settings. A subclass has `_start`, and `send`, plain or awaitable."""

    send: Any

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        max_attempts: int = 4,
        health_check: bool = False,
        wait_for_ready: bool = False,
        metadata: Metadata = (),
        channel_options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self._settings = Settings(
            target=target,
            timeout=timeout,
            credentials=credentials,
            token=token,
            max_attempts=max_attempts,
            health_check=health_check,
            wait_for_ready=wait_for_ready,
            metadata=metadata,
            channel_options=channel_options,
        )
        self._start()

    def _start(self) -> None:
        """Follows __init__."""
        raise NotImplementedError

    def _ask(self, build: Callable[..., Any], arguments: Mapping[str, Any], *positional: Any) -> Any:
        """Sends what a function of paligemma_serving.requests builds of a method's arguments."""
        call, rest = split(arguments)
        return self.send(build(*positional, **rest), **call)


class BaseStream:
    """Reads the messages of one call."""

    def __init__(self, call: Any, request_id: str) -> None:
        self._call = call
        self._result: Any = None
        self.request_id = request_id

    def cancel(self) -> None:
        """Ends the call, on the server too; nothing happens if it has ended."""
        self._call.cancel()

    def _read(self, message: v1.StreamGenerateResponse) -> Event | None:
        """The event of a message; keeps the result. An event of a kind that this version lacks is None."""
        name = message.WhichOneof("event")
        if name == "result":
            kind = message.result.WhichOneof("result")
            self._result = None if kind is None else getattr(message.result, kind)
            return None
        return None if name is None else getattr(message, name)

    def _check_complete(self) -> None:
        if self._result is None:
            raise IncompleteStreamError(
                "the stream ended without a result", code=grpc.StatusCode.INTERNAL, request_id=self.request_id
            )

    def _error(self, error: grpc.RpcError) -> PaliGemmaError:
        return from_rpc_error(error, self.request_id)
