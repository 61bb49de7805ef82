# SPDX-License-Identifier: Apache-2.0
"""The asyncio client, by the same fake server."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from typing import Any

import grpc
import numpy as np
import paligemma_serving as pg
import pytest
from conftest import FakeServer, fail
from paligemma_serving import requests, v1

PICTURE = np.zeros((2, 3), np.uint8)


def run(server: FakeServer, scenario: Any) -> Any:
    """Runs an async function of a client in a fresh loop."""

    async def main() -> Any:
        async with pg.AsyncClient(server.address, timeout=10) as client:
            return await scenario(client)

    return asyncio.run(main())


def interface(kind: type) -> dict[str, tuple[str, str]]:
    """A class's functions for users, and how it is entered, iterated and left: signature and description. Names as if
    there were no asyncio."""
    found = {}
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        plain = {"__aenter__": "__enter__", "__aexit__": "__exit__", "__aiter__": "__iter__"}.get(name, name)
        if plain.startswith("_") and plain not in ("__init__", "__enter__", "__exit__", "__iter__"):
            continue
        signature = re.sub(r"\bAsync(Client|Stream|Iterator)\b", r"\1", str(inspect.signature(method)))
        found[plain] = (signature, method.__doc__ or "")
    return found


@pytest.mark.parametrize(("plain", "twin"), [(pg.Client, pg.AsyncClient), (pg.Stream, pg.AsyncStream)])
def test_same_interface(plain: type, twin: type) -> None:
    """Clients and streams have the same methods with the same parameters, defaults, types and words as their twins."""
    assert interface(twin) == interface(plain)


def test_calls_run_concurrently(server: FakeServer) -> None:
    """Functions of all kinds in flight at once."""
    server.on("Caption", v1.CaptionResponse(caption="a cat"))
    server.on("Answer", v1.AnswerResponse(answer="yes"))
    server.on("Detect", v1.DetectResponse())
    server.on("Segment", v1.SegmentResponse())
    server.on("ReadText", v1.ReadTextResponse(text="STOP"))
    server.on("Generate", v1.GenerateResponse())
    server.on("ListModels", v1.ListModelsResponse(models=[v1.Model(name="models/a")]))
    server.on("GetModel", v1.GetModelResponse(model=v1.Model(name="models/a")))

    async def scenario(client: pg.AsyncClient) -> list[Any]:
        return await asyncio.gather(
            client.caption(PICTURE),
            client.answer(PICTURE, "why?"),
            client.detect(PICTURE, "cat"),
            client.segment(PICTURE, "cat"),
            client.read_text(PICTURE),
            client.generate(PICTURE, "x"),
            client.models(),
            client.model("a"),
        )

    results = run(server, scenario)
    assert (results[0].caption, results[1].answer, results[4].text) == ("a cat", "yes", "STOP")
    assert results[6][0].name == results[7].name == "models/a"


def test_stream_and_cancel(server: FakeServer) -> None:
    """Events, then the result; leaving early cancels."""
    endless = [False]

    def events(request: Any, context: grpc.ServicerContext):
        context.add_callback(server.cancelled.set)
        yield v1.StreamGenerateResponse(delta=v1.TextDelta(text="a "))
        while endless[0] and context.is_active():
            yield v1.StreamGenerateResponse(delta=v1.TextDelta(text="a"))
            time.sleep(0.01)
        yield v1.StreamGenerateResponse(result=v1.TaskResponse(caption=v1.CaptionResponse(caption="a cat")))

    server.on("StreamGenerate", events)

    async def scenario(client: pg.AsyncClient) -> None:
        async with client.stream(requests.caption(PICTURE)) as stream:
            assert [event.text async for event in stream] == ["a "]
            assert (await stream.result()).caption == "a cat"
        server.cancelled.clear()
        endless[0] = True
        async with client.stream(requests.caption(PICTURE)) as stream:
            async for _ in stream:
                break

    run(server, scenario)
    assert server.cancelled.wait(5)


def test_errors_and_retries(server: FakeServer) -> None:
    """Typed errors, retries with pushback, and streams without a result, as in the sync client."""
    attempts: list[int] = []

    def overloaded_once(request: Any, context: grpc.ServicerContext) -> v1.CaptionResponse:
        attempts.append(1)
        if len(attempts) == 1:
            fail(context, grpc.StatusCode.UNAVAILABLE, "SERVER_OVERLOADED", retry_ms=50)
        return v1.CaptionResponse(caption="later")

    server.on("Caption", overloaded_once)
    server.on(
        "Detect",
        lambda request, context: fail(
            context, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", {"field": "labels"}
        ),
    )
    server.on("StreamGenerate", lambda request, context: iter([]))

    async def scenario(client: pg.AsyncClient) -> None:
        assert (await client.caption(bytes(1 << 20))).caption == "later"
        with pytest.raises(pg.InvalidRequestError) as caught:
            await client.detect(PICTURE, "cat")
        assert caught.value.field == "labels"
        with pytest.raises(pg.IncompleteStreamError):
            await client.stream(requests.caption(PICTURE)).result()

    run(server, scenario)
    assert len(attempts) == 2
