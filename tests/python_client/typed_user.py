# SPDX-License-Identifier: Apache-2.0
"""A user's program for the type checker alone: scripts/python-client-matrix passes it through mypy --strict, which also
complains of an ignored fault that is none."""

from __future__ import annotations

import numpy as np
from paligemma_serving import AsyncClient, Client, PaliGemmaError, mask_array, requests, v1


def ask(path: str, picture: np.ndarray) -> list[str]:
    """Every method, with what it takes and what it returns."""
    with Client("localhost:8001", timeout=5, token=None) as client:
        caption: str = client.caption(path, language="en", length="short", timeout=1.0, request_id="a").caption
        answer: str = client.answer([path, picture], "why?", config={"temperature": 0.5}).answer
        found: list[v1.DetectedObject] = list(client.detect(path, ["cat", "dog"], max_objects=3, min_score=0.5).objects)
        masks = [mask_array(thing.mask) for thing in client.segment(path, "cat", mask_format="png").objects]
        text: str = client.read_text(path).text
        raw: str = client.generate(path, "caption en", model="models/a").candidates[0].text
        models: list[v1.Model] = client.models(metadata=[("x-a", "b")])
        limit: int = client.model("a").limits.max_image_count
    return [caption, answer, text, raw, *(thing.label for thing in found), models[0].name, str(limit), str(masks)]


def watch(client: Client) -> str:
    """A stream is of texts and objects, and its result one of the unary responses."""
    written = ""
    with client.stream(requests.caption("cat.jpg"), omit_streamed_masks=True) as stream:
        for event in stream:
            if isinstance(event, v1.TextDelta):
                written += event.text
            else:
                written += event.object.label
        tokens: int = stream.result().info.usage.output_token_count
    return written + str(tokens)


async def ask_later() -> str:
    """The same, awaited."""
    async with AsyncClient("localhost:8001") as client:
        response: v1.CaptionResponse = await client.caption("cat.jpg", length="long")
        async with client.stream(requests.segment("cat.jpg", "cat")) as stream:
            async for event in stream:
                if isinstance(event, v1.ObjectFound):
                    print(event.object.pixel_box.x_min)
            usage: v1.Usage = (await stream.result()).info.usage
    return response.caption + str(usage.output_token_count)


def what_fails(error: PaliGemmaError) -> str:
    """Errors are typed as well."""
    retry: float | None = error.retry_after
    return f"{error.code} {error.reason} {error.request_id} {retry}"


def mistakes(client: Client, later: AsyncClient) -> None:
    """What the checker must find."""
    client.caption("cat.jpg", lenght="short")  # type: ignore[call-arg]
    client.answer("cat.jpg")  # type: ignore[call-arg]
    client.detect("cat.jpg", "cat", min_score="high")  # type: ignore[arg-type]
    print(client.caption("cat.jpg").answer)  # type: ignore[attr-defined]
    print(later.caption("cat.jpg").caption)  # type: ignore[attr-defined]
    client.stream("cat.jpg")  # type: ignore[arg-type]
