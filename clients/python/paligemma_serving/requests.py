# SPDX-License-Identifier: Apache-2.0
"""Builds the request messages. The clients take the same arguments; streams take the built request.

In all of them `config` is a GenerationConfig and `options` a RequestOptions, each as message or as dict of
its fields, e.g. config={"max_output_tokens": 20, "temperature": 0.7} or options={"time_budget": 2.5}, in
seconds. Enum arguments are numbers (v1.MASK_FORMAT_RLE) or short names ("rle"). Fields left out take the
model's defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union

from google.protobuf import duration_pb2

from paligemma_serving import v1
from paligemma_serving.images import ImageSource, to_image, to_images

Request = Union[  # noqa: UP007 (evaluated, and Python 3.9 lacks the other form)
    v1.CaptionRequest,
    v1.AnswerRequest,
    v1.DetectRequest,
    v1.SegmentRequest,
    v1.ReadTextRequest,
    v1.GenerateRequest,
]
Config = Union[v1.GenerationConfig, Mapping[str, Any], None]  # noqa: UP007
Options = Union[v1.RequestOptions, Mapping[str, Any], None]  # noqa: UP007
Region = Union[v1.NormalizedBox, Sequence[float], None]  # noqa: UP007
Enum = Union[int, str]  # noqa: UP007

# Name of the task in TaskRequest and TaskResponse, by request type.
TASKS: dict[type, str] = {
    v1.CaptionRequest: "caption",
    v1.AnswerRequest: "answer",
    v1.DetectRequest: "detect",
    v1.SegmentRequest: "segment",
    v1.ReadTextRequest: "read_text",
    v1.GenerateRequest: "generate",
}


def caption(
    images: ImageSource | Sequence[ImageSource],
    *,
    language: str = "",
    length: Enum = 0,
    region: Region = None,
    model: str = "",
    config: Config = None,
    options: Options = None,
) -> v1.CaptionRequest:
    """Describe the image; `region` (x_min, y_min, x_max, y_max in [0, 1]) asks for a part of it."""
    return v1.CaptionRequest(
        images=to_images(images),
        language_code=language,
        length=_enum(v1.CaptionLength, "CAPTION_LENGTH", length),
        region=_box(region),
        **_common(model, config, options),
    )


def answer(
    images: ImageSource | Sequence[ImageSource],
    question: str,
    *,
    language: str = "",
    model: str = "",
    config: Config = None,
    options: Options = None,
) -> v1.AnswerRequest:
    """Answer a question about one or several images."""
    return v1.AnswerRequest(
        images=to_images(images), question=question, language_code=language, **_common(model, config, options)
    )


def detect(
    image: ImageSource,
    labels: str | Sequence[str],
    *,
    label_mode: Enum = 0,
    max_objects: int = 0,
    min_score: float | None = None,
    model: str = "",
    config: Config = None,
    options: Options = None,
) -> v1.DetectRequest:
    """Find the named things and their boxes."""
    return v1.DetectRequest(
        image=to_image(image),
        labels=_labels(labels),
        label_mode=_enum(v1.LabelMode, "LABEL_MODE", label_mode),
        max_object_count=max_objects,
        min_score=min_score,
        **_common(model, config, options),
    )


def segment(
    image: ImageSource,
    labels: str | Sequence[str],
    *,
    mask_format: Enum = 0,
    mask_extent: Enum = 0,
    mask_threshold: float | None = None,
    label_mode: Enum = 0,
    max_objects: int = 0,
    min_score: float | None = None,
    model: str = "",
    config: Config = None,
    options: Options = None,
) -> v1.SegmentRequest:
    """Find the named things and their masks (`mask_array` turns one into pixels)."""
    return v1.SegmentRequest(
        image=to_image(image),
        labels=_labels(labels),
        label_mode=_enum(v1.LabelMode, "LABEL_MODE", label_mode),
        max_object_count=max_objects,
        min_score=min_score,
        mask_format=_enum(v1.MaskFormat, "MASK_FORMAT", mask_format),
        mask_extent=_enum(v1.MaskExtent, "MASK_EXTENT", mask_extent),
        mask_threshold=mask_threshold,
        **_common(model, config, options),
    )


def read_text(
    image: ImageSource, *, model: str = "", config: Config = None, options: Options = None
) -> v1.ReadTextRequest:
    """Read the text in the image."""
    return v1.ReadTextRequest(image=to_image(image), **_common(model, config, options))


def generate(
    images: ImageSource | Sequence[ImageSource],
    prompt: str,
    *,
    model: str = "",
    config: Config = None,
    options: Options = None,
) -> v1.GenerateRequest:
    """Run a raw prompt, for models tuned to tasks of their own."""
    return v1.GenerateRequest(images=to_images(images), prompt=prompt, **_common(model, config, options))


def task_request(request: Request, omit_streamed_masks: bool = False) -> v1.StreamGenerateRequest:
    """The streaming form of a request."""
    check_task(request)
    task: Any = {TASKS[type(request)]: request}
    return v1.StreamGenerateRequest(task=v1.TaskRequest(**task), omit_streamed_masks=omit_streamed_masks)


def check_task(request: object) -> None:
    """Raises TypeError for what no stream takes."""
    if type(request) not in TASKS:
        raise TypeError(
            f"a stream takes what paligemma_serving.requests builds, not {type(request).__name__}"
        )


def model_name(model: str) -> str:
    """ "name" and "models/name" both mean the model of that name."""
    return f"models/{model}" if model and "/" not in model else model


def _common(model: str, config: Config, options: Options) -> dict[str, Any]:
    if isinstance(options, Mapping):
        fields = dict(options)
        if isinstance(fields.get("time_budget"), (int, float)):
            budget = duration_pb2.Duration()
            budget.FromMicroseconds(round(fields["time_budget"] * 1e6))
            fields["time_budget"] = budget
        options = v1.RequestOptions(**fields)
    return {
        "model": model_name(model),
        "generation_config": v1.GenerationConfig(**config) if isinstance(config, Mapping) else config,
        "options": options,
    }


def _labels(labels: str | Sequence[str]) -> list[str]:
    """One label per entry, without blanks around it: "cow ; ship" is two."""
    entries = [labels] if isinstance(labels, str) else labels
    parts = [part.strip() for entry in entries for part in (entry.split(";") if ";" in entry else [entry])]
    return [part for part in parts if part] or parts


def _box(region: Region) -> v1.NormalizedBox | None:
    if region is None or isinstance(region, v1.NormalizedBox):
        return region
    x_min, y_min, x_max, y_max = region
    return v1.NormalizedBox(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max)


def _enum(kind: Any, prefix: str, value: Enum) -> Any:
    """The number of "rle", "MASK_FORMAT_RLE" or 2."""
    if isinstance(value, int):
        return value
    name = value.upper() if value.upper().startswith(prefix) else f"{prefix}_{value.upper()}"
    if name not in kind.keys():  # noqa: SIM118 (EnumTypeWrapper is no mapping)
        raise ValueError(f"{value!r} is none of {[key[len(prefix) + 1 :].lower() for key in kind.keys()]}")  # noqa: SIM118
    return int(kind.Value(name))
