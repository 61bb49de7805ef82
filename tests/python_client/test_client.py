# SPDX-License-Identifier: Apache-2.0
"""The sync client: the six functions, streams, errors, retries, deadlines."""

from __future__ import annotations

import inspect
import time

import grpc
import numpy as np
import paligemma_serving as pg
import pytest
from conftest import FakeServer, fail
from paligemma_serving import _arguments, requests, v1

PICTURE = np.zeros((2, 3, 3), np.uint8)


@pytest.fixture
def client(server: FakeServer):
    """A client of the fake server."""
    with pg.Client(server.address, timeout=10) as client:
        yield client


def test_six_functions(server: FakeServer, client: pg.Client) -> None:
    """Each function sends the fields it was given and returns the typed response."""
    server.on("Caption", v1.CaptionResponse(caption="a cat"))
    server.on("Answer", v1.AnswerResponse(answer="yes"))
    server.on("Detect", v1.DetectResponse(objects=[v1.DetectedObject(label="cat")]))
    server.on("Segment", v1.SegmentResponse())
    server.on("ReadText", v1.ReadTextResponse(text="STOP"))
    server.on("Generate", v1.GenerateResponse(candidates=[v1.Candidate(text="x")]))

    assert client.caption(PICTURE, length="long", language="de", region=(0, 0, 0.5, 1)).caption == "a cat"
    assert client.answer([PICTURE, b"png"], "why?", config={"max_output_tokens": 5}).answer == "yes"
    assert client.detect(PICTURE, "cat", model="tiny", min_score=0.5).objects[0].label == "cat"
    client.segment(PICTURE, ["cat", "dog"], mask_format="rle", mask_extent="MASK_EXTENT_IMAGE")
    assert client.read_text(PICTURE, options={"time_budget": 1.5, "priority": "PRIORITY_LOW"}).text == "STOP"
    assert client.generate(PICTURE, "extract table").candidates[0].text == "x"

    caption, answer, detect, segment, read, generate = server.requests
    assert (caption.length, caption.language_code, caption.region.x_max) == (
        v1.CAPTION_LENGTH_LONG,
        "de",
        0.5,
    )
    assert answer.question == "why?" and len(answer.images) == 2
    assert answer.generation_config.max_output_tokens == 5
    assert detect.labels == ["cat"] and detect.model == "models/tiny" and detect.min_score == 0.5
    assert not segment.HasField("min_score") and segment.mask_extent == v1.MASK_EXTENT_IMAGE
    assert read.options.time_budget.ToMilliseconds() == 1500 and read.options.priority == v1.PRIORITY_LOW
    assert generate.prompt == "extract table"
    assert server.metadata[2]["x-paligemma-model"] == "models/tiny"
    assert "x-paligemma-model" not in server.metadata[0]


def test_models_follow_pages(server: FakeServer, client: pg.Client) -> None:
    """ListModels is read to its last page."""
    server.on(
        "ListModels",
        lambda request, context: v1.ListModelsResponse(
            models=[v1.Model(name=f"models/{request.page_token or 'a'}")],
            next_page_token="" if request.page_token else "b",
        ),
    )
    server.on("GetModel", lambda request, context: v1.GetModelResponse(model=v1.Model(name=request.name)))
    assert [model.name for model in client.models()] == ["models/a", "models/b"]
    assert client.model("tiny").name == "models/tiny"


def test_stream(server: FakeServer, client: pg.Client) -> None:
    """Deltas and objects arrive in order, unknown events are skipped, the result comes last."""
    server.on(
        "StreamGenerate",
        lambda request, context: iter(
            [
                v1.StreamGenerateResponse(delta=v1.TextDelta(text="a ")),
                v1.StreamGenerateResponse(),
                v1.StreamGenerateResponse(object=v1.ObjectFound(object_index=0)),
                v1.StreamGenerateResponse(
                    result=v1.TaskResponse(caption=v1.CaptionResponse(caption="a cat"))
                ),
            ]
        ),
    )
    with client.stream(requests.caption(PICTURE)) as stream:
        events = list(stream)
        assert [type(event) for event in events] == [v1.TextDelta, v1.ObjectFound]
        assert stream.result().caption == "a cat"
    assert server.requests[0].task.WhichOneof("task") == "caption"
    assert client.stream(requests.caption(PICTURE)).result().caption == "a cat"
    with pytest.raises(TypeError):
        client.stream(v1.ListModelsRequest())


def test_stream_without_result_fails(server: FakeServer, client: pg.Client) -> None:
    """A stream that just ends has failed, whatever its status."""
    server.on(
        "StreamGenerate",
        lambda request, context: iter([v1.StreamGenerateResponse(delta=v1.TextDelta(text="a"))]),
    )
    with pytest.raises(pg.IncompleteStreamError):
        client.stream(requests.generate(PICTURE, "x")).result()


def test_leaving_a_stream_cancels_it(server: FakeServer, client: pg.Client) -> None:
    """The server learns at once that nobody reads any more."""

    def endless(request: object, context: grpc.ServicerContext):
        context.add_callback(server.cancelled.set)
        while context.is_active():
            yield v1.StreamGenerateResponse(delta=v1.TextDelta(text="a"))
            time.sleep(0.01)

    server.on("StreamGenerate", endless)
    with client.stream(requests.caption(PICTURE)) as stream:
        next(iter(stream))
    assert server.cancelled.wait(5)


ERRORS = [
    (grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_TOO_LARGE", pg.ImageError),
    (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", pg.InvalidRequestError),
    (grpc.StatusCode.FAILED_PRECONDITION, "METHOD_UNSUPPORTED", pg.UnsupportedError),
    (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", pg.NotFoundError),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESPONSE_TOO_LARGE", pg.LimitError),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", pg.DeadlineExceededError),
    (grpc.StatusCode.CANCELLED, "CANCELLED", pg.RequestCancelledError),
    (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID", pg.AuthenticationError),
    (grpc.StatusCode.INTERNAL, "NUMERIC_FAULT", pg.ServerError),
]


@pytest.mark.parametrize(("code", "reason", "kind"), ERRORS, ids=[error[1] for error in ERRORS])
def test_typed_errors(
    server: FakeServer, client: pg.Client, code: grpc.StatusCode, reason: str, kind: type[pg.PaliGemmaError]
) -> None:
    """Code, reason, field and metadata of the server's details reach the exception."""
    facts = {"field": "images[0].content", "value": "9", "limit": "8"}
    server.on("Caption", lambda request, context: fail(context, code, reason, facts))
    with pytest.raises(pg.PaliGemmaError) as caught:
        client.caption(PICTURE)
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.reason, error.field, error.metadata) == (
        code,
        reason,
        "images[0].content",
        facts,
    )
    assert error.request_id == "server-side-id" and error.retry_after is None and not error.retryable
    assert f"ERROR_REASON_{reason}" in v1.ErrorReason.keys()  # noqa: SIM118
    assert reason in str(error) and "because of" in str(error)


def test_error_without_details(server: FakeServer, client: pg.Client) -> None:
    """Damaged details, or none, still give a typed error with the caller's request id."""

    def damaged(request: object, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
        context.abort(grpc.StatusCode.INTERNAL, "oops")

    server.on("Caption", damaged)
    with pytest.raises(pg.ServerError) as caught:
        client.caption(PICTURE, request_id="mine")
    assert (caught.value.reason, caught.value.request_id, caught.value.message) == ("", "mine", "oops")


@pytest.mark.parametrize("megabytes", [0, 3])
def test_unavailable_is_retried(server: FakeServer, client: pg.Client, megabytes: int) -> None:
    """An overloaded server is asked again, also with a picture beyond gRPC's default buffer."""

    def overloaded_once(request: object, context: grpc.ServicerContext) -> v1.CaptionResponse:
        if len(server.requests) == 1:
            fail(context, grpc.StatusCode.UNAVAILABLE, "SERVER_OVERLOADED", retry_ms=1)
        return v1.CaptionResponse(caption="later")

    server.on("Caption", overloaded_once)
    assert client.caption(bytes(megabytes << 20)).caption == "later"
    assert len(server.requests) == 2
    assert server.metadata[1]["grpc-previous-rpc-attempts"] == "1"
    assert server.metadata[0]["x-request-id"] == server.metadata[1]["x-request-id"]


def test_what_a_leaving_server_cancels_is_retried(server: FakeServer, client: pg.Client) -> None:
    """A bare CANCELLED, as for a call that crosses a GOAWAY."""

    def cancelled_once(request: object, context: grpc.ServicerContext) -> v1.CaptionResponse:
        if len(server.requests) == 1:
            context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
        return v1.CaptionResponse(caption="later")

    server.on("Caption", cancelled_once)
    assert client.caption(PICTURE).caption == "later"
    assert len(server.requests) == 2


def test_a_long_pushback_is_waited_for(server: FakeServer, client: pg.Client) -> None:
    """Rather than gRPC's own backoff, which is at most 0.2 s the first time."""
    server.on(
        "Caption",
        lambda request, context: fail(
            context, grpc.StatusCode.UNAVAILABLE, "SERVER_OVERLOADED", retry_ms=3_600_000
        ),
    )
    with pytest.raises(pg.DeadlineExceededError):
        client.caption(PICTURE, timeout=1)
    assert len(server.requests) == 1


def test_retries_end(server: FakeServer, client: pg.Client) -> None:
    """After the last attempt the error arrives, with the wait that the server asked for."""
    server.on(
        "Caption",
        lambda request, context: fail(context, grpc.StatusCode.UNAVAILABLE, "SERVER_OVERLOADED", retry_ms=20),
    )
    with pytest.raises(pg.UnavailableError) as caught:
        client.caption(PICTURE)
    assert len(server.requests) == 4
    assert caught.value.retry_after == 0.02 and caught.value.retryable


def test_other_codes_are_not_retried(server: FakeServer, client: pg.Client) -> None:
    """A quota is the caller's business."""
    server.on(
        "Caption",
        lambda request, context: fail(
            context, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", retry_ms=10
        ),
    )
    with pytest.raises(pg.LimitError) as caught:
        client.caption(PICTURE)
    assert len(server.requests) == 1 and caught.value.retryable


def test_deadline(server: FakeServer, client: pg.Client) -> None:
    """The call's timeout wins over the client's and reaches the server."""
    remaining: list[float] = []

    def slow(request: object, context: grpc.ServicerContext) -> v1.CaptionResponse:
        remaining.append(context.time_remaining())
        context.add_callback(server.cancelled.set)
        if remaining[-1] < 100:
            assert server.cancelled.wait(30)
        return v1.CaptionResponse()

    server.on("Caption", slow)
    while not remaining:  # on a busy machine a call may be over before it reached the server
        with pytest.raises(pg.DeadlineExceededError):
            client.caption(PICTURE, timeout=0.2)
    client.caption(PICTURE, timeout=1000)
    assert remaining[0] <= 0.5 < 100 < remaining[-1]


def test_nothing_listens() -> None:
    """A refused connection is UNAVAILABLE without a reason."""
    with (
        pg.Client("127.0.0.1:1", timeout=10, max_attempts=1) as client,
        pytest.raises(pg.UnavailableError) as caught,
    ):
        client.caption(PICTURE)
    assert caught.value.reason == "" and caught.value.retryable


def test_metadata_and_token(server: FakeServer) -> None:
    """Metadata of client and call, request id and token are sent; a token never in clear text over a network."""
    server.on("Caption", v1.CaptionResponse())
    with pg.Client(server.address, token="secret", metadata=[("a", "1")]) as client:
        client.caption(PICTURE, request_id="r-1", metadata=[("traceparent", "00-x")])
    sent = server.metadata[0]
    assert (sent["authorization"], sent["a"], sent["x-request-id"], sent["traceparent"]) == (
        "Bearer secret",
        "1",
        "r-1",
        "00-x",
    )
    with pytest.raises(ValueError, match="clear text"):
        pg.Client("models.example:8001", token="secret")
    with pytest.raises(ValueError, match="1 to 5"):
        pg.Client(server.address, max_attempts=9)


@pytest.mark.parametrize("task", ["caption", "answer", "detect", "segment", "read_text", "generate"])
def test_typed_arguments_are_complete(task: str) -> None:
    """The TypedDict of a method names exactly the keyword arguments of its request."""
    name = {"read_text": "generate"}.get(task, task).capitalize() + "Arguments"
    parameters = inspect.signature(getattr(requests, task)).parameters.values()
    keywords = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    typed = set(getattr(_arguments, name).__annotations__) - set(_arguments.CallArguments.__annotations__)
    assert typed == keywords
