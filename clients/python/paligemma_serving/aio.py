# SPDX-License-Identifier: Apache-2.0
"""The asyncio client: as Client, with awaitable methods. One event loop, any number of tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from paligemma_serving import requests, v1
from paligemma_serving._base import BaseClient, BaseStream, Event, Result
from paligemma_serving._transport import Metadata, multicallables
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


class AsyncClient(BaseClient):
    """Calls a PaliGemma server; arguments as for Client.

    The connection is made on first use, in the event loop that runs then.
    Reading image files is synchronous; pass bytes where that matters.
    """

    def _start(self) -> None:
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
        return await self._ask(requests.caption, arguments, images)

    async def answer(
        self, images: ImageSource | Sequence[ImageSource], question: str, **arguments: Unpack[AnswerArguments]
    ) -> v1.AnswerResponse:
        """Answer a question about one or several images: `.answer`."""
        return await self._ask(requests.answer, arguments, images, question)

    async def detect(
        self, image: ImageSource, labels: str | Sequence[str], **arguments: Unpack[DetectArguments]
    ) -> v1.DetectResponse:
        """Find the named things: `.objects`, each with label, pixel_box, score."""
        return await self._ask(requests.detect, arguments, image, labels)

    async def segment(
        self, image: ImageSource, labels: str | Sequence[str], **arguments: Unpack[SegmentArguments]
    ) -> v1.SegmentResponse:
        """Find the named things and their masks: `.objects`; mask_array(objects[0].mask) gives pixels."""
        return await self._ask(requests.segment, arguments, image, labels)

    async def read_text(self, image: ImageSource, **arguments: Unpack[GenerateArguments]) -> v1.ReadTextResponse:
        """Read the text in the image: `.text`."""
        return await self._ask(requests.read_text, arguments, image)

    async def generate(
        self, images: ImageSource | Sequence[ImageSource], prompt: str, **arguments: Unpack[GenerateArguments]
    ) -> v1.GenerateResponse:
        """Run a raw prompt: `.candidates[0].text`."""
        return await self._ask(requests.generate, arguments, images, prompt)

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


class AsyncStream(BaseStream):
    """Iterates over TextDelta and ObjectFound. Afterwards `await result()` is the unary response.

    Leaving an `async with` block ends the call.
    """

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    async def __aiter__(self) -> AsyncIterator[Event]:
        try:
            async for message in self._call:
                event = self._read(message)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            raise self._error(error) from error
        self._check_complete()

    async def result(self) -> Result:
        """Reads the stream to its end and returns the final response."""
        if self._result is None:
            async for _ in self:
                pass
        return self._result
