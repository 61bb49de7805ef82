# SPDX-License-Identifier: Apache-2.0
"""What the sync and the asyncio client share: settings, the sending of named methods, the reading of streams."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

import grpc

from paligemma_serving import v1
from paligemma_serving._arguments import split
from paligemma_serving._fit import Fitted, Resized, fit, restore, restore_object
from paligemma_serving._transport import DEFAULT_TARGET, DEFAULT_TIMEOUT, Metadata, Settings
from paligemma_serving.errors import ChangedPictureWarning, IncompleteStreamError, PaliGemmaError, from_rpc_error

Event = Union[v1.TextDelta, v1.ObjectFound]  # noqa: UP007 (evaluated, and Python 3.9 lacks the other form)
Result = Union[  # noqa: UP007
    v1.CaptionResponse,
    v1.AnswerResponse,
    v1.DetectResponse,
    v1.SegmentResponse,
    v1.ReadTextResponse,
    v1.GenerateResponse,
]


# The client remembers for so long what the server said about a model.
MODEL_SECONDS = 60.0
# Errors of a question about a model that the request itself would meet as well.
FATAL = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAUTHENTICATED)


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
        self._models: dict[str, tuple[float, v1.Model | None]] = {}
        self._told: set[str] = set()
        self._start()

    def _known_model(self, name: str) -> tuple[bool, v1.Model | None]:
        """Returns whether the server was asked about a model a short while ago, and what the server said."""
        asked, model = self._models.get(name, (0.0, None))
        return time.monotonic() - asked < MODEL_SECONDS if asked else False, model

    def _keep_model(self, name: str, model: v1.Model | None) -> v1.Model | None:
        self._models[name] = (time.monotonic(), model)
        return model

    def _fitted(self, request: Any, model: v1.Model | None) -> Fitted:
        """Returns the request with pictures that this server takes. Tells the caller once of each kind of change."""
        if model is None:
            return Fitted(request, [], "")
        fitted = fit(request, model)
        kind = fitted.notice.partition(": ")[2].partition(" ")[0] + str(bool(fitted.resized))
        if fitted.notice and kind not in self._told:
            self._told.add(kind)
            warnings.warn(fitted.notice, ChangedPictureWarning, stacklevel=5)
        return fitted

    def _start(self) -> None:
        """Continues __init__ in the subclass."""
        raise NotImplementedError

    def _ask(self, build: Callable[..., Any], arguments: Mapping[str, Any], *positional: Any) -> Any:
        """Sends what a function of paligemma_serving.requests builds of a method's arguments."""
        call, rest = split(arguments)
        return self.send(build(*positional, **rest), **call)


class BaseStream:
    """Reads the messages of one call."""

    def __init__(self, call: Any, request_id: str, resized: Sequence[Resized] = ()) -> None:
        self._call = call
        self._resized = resized
        self._result: Any = None
        self.request_id = request_id

    def cancel(self) -> None:
        """Ends the call, on the server too; nothing happens if it has ended."""
        self._call.cancel()

    def _read(self, message: v1.StreamGenerateResponse) -> Event | None:
        """Returns the event of a message and keeps the result. An event that this version does not know is None."""
        name = message.WhichOneof("event")
        if name == "result":
            kind = message.result.WhichOneof("result")
            self._result = None if kind is None else restore(getattr(message.result, kind), self._resized)
            return None
        if name == "object":
            for one in self._resized:
                restore_object(message.object.object, one)
        return None if name is None else getattr(message, name)

    def _check_complete(self) -> None:
        if self._result is None:
            raise IncompleteStreamError(
                "the stream ended without a result", code=grpc.StatusCode.INTERNAL, request_id=self.request_id
            )

    def _error(self, error: grpc.RpcError) -> PaliGemmaError:
        return from_rpc_error(error, self.request_id)
