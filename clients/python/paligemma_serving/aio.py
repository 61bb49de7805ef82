# SPDX-License-Identifier: Apache-2.0
"""The asyncio client: as Client, with awaitable methods. One event loop, any number of tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from paligemma_serving import requests, v1
from paligemma_serving._arguments import split
from paligemma_serving._transport import DEFAULT_TARGET, DEFAULT_TIMEOUT, Metadata, Settings, multicallables
from paligemma_serving.client import Event, Result, incomplete, result_of
from paligemma_serving.errors import from_rpc_error
from paligemma_serving.images import ImageSource
from paligemma_serving.requests import Request

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from paligemma_serving._arguments import (
        AnswerArguments,
        CallArguments,
        CaptionArguments,
        DetectArguments,
        GenerateArguments,
        SegmentArguments,
    )


class AsyncClient:
    """Calls a PaliGemma server; arguments as for Client.

    The connection is made on first use, in the event loop that runs then.
    Reading image files is synchronous; pass bytes where that matters.
    """

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
            target,
            timeout,
            credentials,
            token,
            max_attempts,
            health_check,
            wait_for_ready,
            metadata,
            channel_options,
        )
        self._channel: Any = None

    def _open(self) -> None:
        if self._channel is not None:
            return
        settings = self._settings
        self._channel = (
            grpc.aio.insecure_channel(settings.target, settings.options())
            if settings.credentials is None
            else grpc.aio.secure_channel(settings.target, settings.credentials, settings.options())
        )
        self._unary, self._stream = multicallables(self._channel)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends calls in flight and closes the connections."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def caption(
        self, images: ImageSource | Sequence[ImageSource], **arguments: Unpack[CaptionArguments]
    ) -> v1.CaptionResponse:
        """Describe the image: `.caption`."""
        call, rest = split(arguments)
        return await self.send(requests.caption(images, **rest), **call)

    async def answer(
        self, images: ImageSource | Sequence[ImageSource], question: str, **arguments: Unpack[AnswerArguments]
    ) -> v1.AnswerResponse:
        """Answer a question about one or several images: `.answer`."""
        call, rest = split(arguments)
        return await self.send(requests.answer(images, question, **rest), **call)

    async def detect(
        self, image: ImageSource, labels: str | Sequence[str], **arguments: Unpack[DetectArguments]
    ) -> v1.DetectResponse:
        """Find the named things: `.objects`, each with label, pixel_box, score."""
        call, rest = split(arguments)
        return await self.send(requests.detect(image, labels, **rest), **call)

    async def segment(
        self, image: ImageSource, labels: str | Sequence[str], **arguments: Unpack[SegmentArguments]
    ) -> v1.SegmentResponse:
        """Find the named things and their masks: `.objects`; mask_array(objects[0].mask) gives pixels."""
        call, rest = split(arguments)
        return await self.send(requests.segment(image, labels, **rest), **call)

    async def read_text(
        self, image: ImageSource, **arguments: Unpack[GenerateArguments]
    ) -> v1.ReadTextResponse:
        """Read the text in the image: `.text`."""
        call, rest = split(arguments)
        return await self.send(requests.read_text(image, **rest), **call)

    async def generate(
        self, images: ImageSource | Sequence[ImageSource], prompt: str, **arguments: Unpack[GenerateArguments]
    ) -> v1.GenerateResponse:
        """Run a raw prompt: `.candidates[0].text`."""
        call, rest = split(arguments)
        return await self.send(requests.generate(images, prompt, **rest), **call)

    async def models(self, **call: Unpack[CallArguments]) -> list[v1.Model]:
        """All models and adapters of the server."""
        models: list[v1.Model] = []
        token = ""
        while True:
            page = await self.send(v1.ListModelsRequest(page_token=token), **call)
            models.extend(page.models)
            token = page.next_page_token
            if not token:
                return models

    async def model(self, name: str, **call: Unpack[CallArguments]) -> v1.Model:
        """One model: its state, its limits, what it can do."""
        return (await self.send(v1.GetModelRequest(name=requests.model_name(name)), **call)).model

    async def send(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        metadata: Metadata = (),
    ) -> Any:
        """Sends a request message to the method that takes it."""
        call = self._settings.call(request, timeout, request_id, metadata)
        self._open()
        try:
            return await self._unary[type(request)](request, **call.arguments)
        except grpc.RpcError as error:
            raise from_rpc_error(error, call.request_id) from error

    def stream(
        self,
        request: Request,
        *,
        omit_streamed_masks: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
        metadata: Metadata = (),
    ) -> AsyncStream:
        """Sends a request built by paligemma_serving.requests; its text and objects arrive one by one."""
        call = self._settings.call(request, timeout, request_id, metadata)
        message = requests.task_request(request, omit_streamed_masks)
        self._open()
        return AsyncStream(self._stream(message, **call.arguments), call.request_id)


class AsyncStream:
    """Iterates over TextDelta and ObjectFound. Afterwards `await result()` is the unary response.

    Leaving an `async with` block, or cancel(), ends the call on the server too.
    """

    def __init__(self, call: Any, request_id: str) -> None:
        self._call = call
        self._result: Result | None = None
        self.request_id = request_id

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    async def __aiter__(self) -> AsyncIterator[Event]:
        try:
            async for message in self._call:
                event = message.WhichOneof("event")
                if event == "result":
                    self._result = result_of(message)
                elif event is not None:
                    yield getattr(message, event)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.request_id) from error
        if self._result is None:
            raise incomplete(self.request_id)

    async def result(self) -> Result:
        """Reads the stream to its end and returns the final response."""
        if self._result is None:
            async for _ in self:
                pass
        assert self._result is not None  # the loop has raised otherwise
        return self._result

    def cancel(self) -> None:
        """Ends the call; nothing happens if it has ended."""
        self._call.cancel()
