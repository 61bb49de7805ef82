# SPDX-License-Identifier: Apache-2.0
"""The synchronous client. Safe to share between threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

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


class Client(BaseClient):
    """Calls a PaliGemma server.

    Args:
        target: HOST:PORT, or dns:///HOST:PORT of a headless Service to spread calls over its pods.
        timeout: seconds that a call may take unless it says otherwise; None leaves it to the server.
        credentials: of grpc.ssl_channel_credentials(); None: no TLS.
        token: bearer token; needs credentials unless the target is this machine.
        max_attempts: how often to try a call that is UNAVAILABLE, 1 to 5; waits as long as the server asks.
        health_check: watch grpc.health.v1 and leave servers that are about to stop.
        wait_for_ready: queue calls until a server can be reached, rather than failing them.
        metadata: sent with every call.
        channel_options: further gRPC channel arguments.

    Every method takes the arguments of the function of its name in paligemma_serving.requests and, besides,
    `timeout`, `request_id` (under which the server logs the call) and `metadata`. All raise PaliGemmaError.
    """

    def _start(self) -> None:
        settings = self._settings
        self._channel = (
            grpc.insecure_channel(settings.target, settings.options())
            if settings.credentials is None
            else grpc.secure_channel(settings.target, settings.credentials, settings.options())
        )
        self._unary, self._stream = multicallables(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends calls in flight and closes the connections."""
        self._channel.close()

    def caption(
        self, images: ImageSource | Sequence[ImageSource], **arguments: Unpack[CaptionArguments]
    ) -> v1.CaptionResponse:
        """Describe the image: `.caption`."""
        return self._ask(requests.caption, arguments, images)

    def answer(
        self, images: ImageSource | Sequence[ImageSource], question: str, **arguments: Unpack[AnswerArguments]
    ) -> v1.AnswerResponse:
        """Answer a question about one or several images: `.answer`."""
        return self._ask(requests.answer, arguments, images, question)

    def detect(
        self, image: ImageSource, labels: str | Sequence[str], **arguments: Unpack[DetectArguments]
    ) -> v1.DetectResponse:
        """Find the named things: `.objects`, each with label, pixel_box, score."""
        return self._ask(requests.detect, arguments, image, labels)

    def segment(
        self, image: ImageSource, labels: str | Sequence[str], **arguments: Unpack[SegmentArguments]
    ) -> v1.SegmentResponse:
        """Find the named things and their masks: `.objects`; mask_array(objects[0].mask) gives pixels."""
        return self._ask(requests.segment, arguments, image, labels)

    def read_text(self, image: ImageSource, **arguments: Unpack[GenerateArguments]) -> v1.ReadTextResponse:
        """Read the text in the image: `.text`."""
        return self._ask(requests.read_text, arguments, image)

    def generate(
        self, images: ImageSource | Sequence[ImageSource], prompt: str, **arguments: Unpack[GenerateArguments]
    ) -> v1.GenerateResponse:
        """Run a raw prompt: `.candidates[0].text`."""
        return self._ask(requests.generate, arguments, images, prompt)

    def models(self, **call: Unpack[CallArguments]) -> list[v1.Model]:
        """All models and adapters of the server."""
        models: list[v1.Model] = []
        token = ""
        while True:
            page = self.send(v1.ListModelsRequest(page_token=token), **call)
            models.extend(page.models)
            token = page.next_page_token
            if not token:
                return models

    def model(self, name: str, **call: Unpack[CallArguments]) -> v1.Model:
        """One model: its state, its limits, what it can do."""
        return self.send(v1.GetModelRequest(name=requests.model_name(name)), **call).model

    def send(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        metadata: Metadata = (),
    ) -> Any:
        """Sends a request message to the method that takes it. Pictures above the server's limits are made to fit."""
        call = self._settings.call(request, timeout, request_id, metadata)
        fitted = self._fit(request, timeout, metadata)
        try:
            response = self._unary[type(request)](fitted.request, **call.arguments)
        except grpc.RpcError as error:
            raise from_rpc_error(error, call.request_id, fitted.request.ByteSize()) from error
        return restore(response, fitted.resized)

    def _fit(self, request: Any, timeout: float | None, metadata: Metadata) -> Fitted:
        if not may_exceed(request):
            return Fitted(request, [], "")
        known, model = self._known_model(request.model)
        if not known:
            try:
                if request.model:
                    model = self.model(request.model, timeout=timeout, metadata=metadata)
                else:
                    model = next(iter(self.models(timeout=timeout, metadata=metadata)), None)
            except PaliGemmaError as error:
                if error.code in FATAL:
                    raise
                model = None  # the server tells no limits; it will say what it does not take
            self._keep_model(request.model, model)
        return self._fitted(request, model)

    def stream(
        self,
        request: Request,
        *,
        omit_streamed_masks: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
        metadata: Metadata = (),
    ) -> Stream:
        """Sends a request built by paligemma_serving.requests; its text and objects arrive one by one."""
        call = self._settings.call(request, timeout, request_id, metadata)
        requests.check_task(request)
        fitted = self._fit(request, timeout, metadata)
        message = requests.task_request(fitted.request, omit_streamed_masks)
        return Stream(self._stream(message, **call.arguments), call.request_id, fitted.resized)


class Stream(BaseStream):
    """Iterates over TextDelta and ObjectFound. Afterwards `result()` is the unary response.

    Leaving a `with` block ends the call.
    """

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def __iter__(self) -> Iterator[Event]:
        try:
            for message in self._call:
                event = self._read(message)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            raise self._error(error) from error
        self._check_complete()

    def result(self) -> Result:
        """Reads the stream to its end and returns the final response."""
        if self._result is None:
            for _ in self:
                pass
        return self._result
