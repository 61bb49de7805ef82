# SPDX-License-Identifier: Apache-2.0
"""The asyncio client: as Client, with awaitable methods. One event loop, any number of tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from paligemma_serving import requests, v1
from paligemma_serving._base import FATAL, BaseClient, BaseStream, Event, Result
from paligemma_serving._fit import Fitted, may_exceed, restore
from paligemma_serving._transport import Metadata, multicallables
from paligemma_serving.errors import PaliGemmaError, from_rpc_error
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
        """Sends a request message to the method that takes it. Pictures above the server's limits are made to fit."""
        call = self._settings.call(request, timeout, request_id, metadata)
        self._open()
        fitted = await self._fit(request, timeout, metadata)
        try:
            response = await self._unary[type(request)](fitted.request, **call.arguments)
        except grpc.RpcError as error:
            raise from_rpc_error(error, call.request_id, fitted.request.ByteSize()) from error
        return restore(response, fitted.resized)

    async def _fit(self, request: Any, timeout: float | None, metadata: Metadata) -> Fitted:
        if not may_exceed(request):
            return Fitted(request, [], "")
        known, model = self._known_model(request.model)
        if not known:
            try:
                if request.model:
                    model = await self.model(request.model, timeout=timeout, metadata=metadata)
                else:
                    model = next(iter(await self.models(timeout=timeout, metadata=metadata)), None)
            except PaliGemmaError as error:
                if error.code in FATAL:
                    raise
                model = None  # the server tells no limits; it will say what it does not take
            self._keep_model(request.model, model)
        # Decoding a large picture takes a second, in which the loop goes on.
        return await asyncio.get_running_loop().run_in_executor(None, self._fitted, request, model)

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
        requests.check_task(request)
        self._open()

        def start(fitted: Fitted) -> Any:
            return self._stream(requests.task_request(fitted.request, omit_streamed_masks), **call.arguments)

        if not may_exceed(request):
            return AsyncStream(start(Fitted(request, [], "")), call.request_id)
        stream = AsyncStream(None, call.request_id)
        fit = partial(self._fit, request, timeout, metadata)
        stream._later = asyncio.ensure_future(stream._begin(fit, start))
        return stream


class AsyncStream(BaseStream):
    """Iterates over TextDelta and ObjectFound. Afterwards `await result()` is the unary response.

    Leaving an `async with` block ends the call.
    """

    _later: asyncio.Future[None] | None = None  # until the call has begun

    async def _begin(self, fit: Callable[[], Awaitable[Fitted]], start: Callable[[Fitted], Any]) -> None:
        fitted = await fit()
        self._resized = fitted.resized
        self._call = start(fitted)

    def cancel(self) -> None:
        """Ends the call, on the server too; nothing happens if it has ended."""
        if self._later is not None:
            self._later.cancel()
        if self._call is not None:
            super().cancel()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    async def __aiter__(self) -> AsyncIterator[Event]:
        try:
            if self._later is not None:
                await self._later
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
