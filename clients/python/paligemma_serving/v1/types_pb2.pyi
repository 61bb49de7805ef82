# SPDX-License-Identifier: Apache-2.0
# ruff: noqa
import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PixelFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PIXEL_FORMAT_UNSPECIFIED: _ClassVar[PixelFormat]
    PIXEL_FORMAT_RGB8: _ClassVar[PixelFormat]
    PIXEL_FORMAT_GRAY8: _ClassVar[PixelFormat]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_MAX_TOKENS: _ClassVar[FinishReason]
    FINISH_REASON_TIME_BUDGET: _ClassVar[FinishReason]
    FINISH_REASON_MAX_OBJECTS: _ClassVar[FinishReason]
    FINISH_REASON_REPETITION: _ClassVar[FinishReason]

class MaskFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MASK_FORMAT_UNSPECIFIED: _ClassVar[MaskFormat]
    MASK_FORMAT_PNG: _ClassVar[MaskFormat]
    MASK_FORMAT_RLE: _ClassVar[MaskFormat]
    MASK_FORMAT_POLYGON: _ClassVar[MaskFormat]
    MASK_FORMAT_SOFT: _ClassVar[MaskFormat]
    MASK_FORMAT_CODES: _ClassVar[MaskFormat]
    MASK_FORMAT_NONE: _ClassVar[MaskFormat]

class MaskExtent(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MASK_EXTENT_UNSPECIFIED: _ClassVar[MaskExtent]
    MASK_EXTENT_BOX: _ClassVar[MaskExtent]
    MASK_EXTENT_IMAGE: _ClassVar[MaskExtent]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]

class CachePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CACHE_POLICY_UNSPECIFIED: _ClassVar[CachePolicy]
    CACHE_POLICY_USE: _ClassVar[CachePolicy]
    CACHE_POLICY_BYPASS: _ClassVar[CachePolicy]
PIXEL_FORMAT_UNSPECIFIED: PixelFormat
PIXEL_FORMAT_RGB8: PixelFormat
PIXEL_FORMAT_GRAY8: PixelFormat
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_MAX_TOKENS: FinishReason
FINISH_REASON_TIME_BUDGET: FinishReason
FINISH_REASON_MAX_OBJECTS: FinishReason
FINISH_REASON_REPETITION: FinishReason
MASK_FORMAT_UNSPECIFIED: MaskFormat
MASK_FORMAT_PNG: MaskFormat
MASK_FORMAT_RLE: MaskFormat
MASK_FORMAT_POLYGON: MaskFormat
MASK_FORMAT_SOFT: MaskFormat
MASK_FORMAT_CODES: MaskFormat
MASK_FORMAT_NONE: MaskFormat
MASK_EXTENT_UNSPECIFIED: MaskExtent
MASK_EXTENT_BOX: MaskExtent
MASK_EXTENT_IMAGE: MaskExtent
PRIORITY_UNSPECIFIED: Priority
PRIORITY_LOW: Priority
PRIORITY_NORMAL: Priority
PRIORITY_HIGH: Priority
CACHE_POLICY_UNSPECIFIED: CachePolicy
CACHE_POLICY_USE: CachePolicy
CACHE_POLICY_BYPASS: CachePolicy

class Image(_message.Message):
    __slots__ = ("content", "raw")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    raw: RawPixels
    def __init__(self, content: _Optional[bytes] = ..., raw: _Optional[_Union[RawPixels, _Mapping[str, _Any]]] = ...) -> None: ...

class RawPixels(_message.Message):
    __slots__ = ("width", "height", "pixel_format", "data")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PIXEL_FORMAT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    pixel_format: PixelFormat
    data: bytes
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., pixel_format: _Optional[_Union[PixelFormat, str]] = ..., data: _Optional[bytes] = ...) -> None: ...

class GenerationConfig(_message.Message):
    __slots__ = ("max_output_tokens", "min_output_tokens", "temperature", "top_p", "top_k", "repetition_penalty", "stop_sequences", "seed", "candidate_count", "logprobs", "ignore_eos")
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MIN_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    STOP_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    IGNORE_EOS_FIELD_NUMBER: _ClassVar[int]
    max_output_tokens: int
    min_output_tokens: int
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    stop_sequences: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    candidate_count: int
    logprobs: int
    ignore_eos: bool
    def __init__(self, max_output_tokens: _Optional[int] = ..., min_output_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., repetition_penalty: _Optional[float] = ..., stop_sequences: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ..., candidate_count: _Optional[int] = ..., logprobs: _Optional[int] = ..., ignore_eos: _Optional[bool] = ...) -> None: ...

class RequestOptions(_message.Message):
    __slots__ = ("priority", "time_budget", "cache_policy", "tags")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TIME_BUDGET_FIELD_NUMBER: _ClassVar[int]
    CACHE_POLICY_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    priority: Priority
    time_budget: _duration_pb2.Duration
    cache_policy: CachePolicy
    tags: _containers.ScalarMap[str, str]
    def __init__(self, priority: _Optional[_Union[Priority, str]] = ..., time_budget: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, _Any]]] = ..., cache_policy: _Optional[_Union[CachePolicy, str]] = ..., tags: _Optional[_Mapping[str, str]] = ...) -> None: ...

class GenerationInfo(_message.Message):
    __slots__ = ("request_id", "model", "model_revision", "finish_reason", "usage", "timing", "seed", "raw_text", "logprobs", "prompt", "images")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_REVISION_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RAW_TEXT_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    model_revision: str
    finish_reason: FinishReason
    usage: Usage
    timing: Timing
    seed: int
    raw_text: str
    logprobs: _containers.RepeatedCompositeFieldContainer[TokenLogprob]
    prompt: str
    images: _containers.RepeatedCompositeFieldContainer[ImageInfo]
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., model_revision: _Optional[str] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., usage: _Optional[_Union[Usage, _Mapping[str, _Any]]] = ..., timing: _Optional[_Union[Timing, _Mapping[str, _Any]]] = ..., seed: _Optional[int] = ..., raw_text: _Optional[str] = ..., logprobs: _Optional[_Iterable[_Union[TokenLogprob, _Mapping[str, _Any]]]] = ..., prompt: _Optional[str] = ..., images: _Optional[_Iterable[_Union[ImageInfo, _Mapping[str, _Any]]]] = ...) -> None: ...

class ImageInfo(_message.Message):
    __slots__ = ("width", "height", "exif_orientation", "mime_type")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    EXIF_ORIENTATION_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    exif_orientation: int
    mime_type: str
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., exif_orientation: _Optional[int] = ..., mime_type: _Optional[str] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("image_token_count", "prompt_token_count", "cached_prompt_token_count", "output_token_count", "cached_image_token_count", "image_count")
    IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    image_token_count: int
    prompt_token_count: int
    cached_prompt_token_count: int
    output_token_count: int
    cached_image_token_count: int
    image_count: int
    def __init__(self, image_token_count: _Optional[int] = ..., prompt_token_count: _Optional[int] = ..., cached_prompt_token_count: _Optional[int] = ..., output_token_count: _Optional[int] = ..., cached_image_token_count: _Optional[int] = ..., image_count: _Optional[int] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("queue_duration", "preprocess_duration", "vision_duration", "prefill_duration", "decode_duration", "postprocess_duration", "first_token_duration", "total_duration")
    QUEUE_DURATION_FIELD_NUMBER: _ClassVar[int]
    PREPROCESS_DURATION_FIELD_NUMBER: _ClassVar[int]
    VISION_DURATION_FIELD_NUMBER: _ClassVar[int]
    PREFILL_DURATION_FIELD_NUMBER: _ClassVar[int]
    DECODE_DURATION_FIELD_NUMBER: _ClassVar[int]
    POSTPROCESS_DURATION_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_DURATION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DURATION_FIELD_NUMBER: _ClassVar[int]
    queue_duration: _duration_pb2.Duration
    preprocess_duration: _duration_pb2.Duration
    vision_duration: _duration_pb2.Duration
    prefill_duration: _duration_pb2.Duration
    decode_duration: _duration_pb2.Duration
    postprocess_duration: _duration_pb2.Duration
    first_token_duration: _duration_pb2.Duration
    total_duration: _duration_pb2.Duration
    def __init__(self, queue_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, _Any]]] = ..., preprocess_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, _Any]]] = ..., vision_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, _Any]]] = ..., prefill_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, _Any]]] = ..., decode_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, _Any]]] = ..., postprocess_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, _Any]]] = ..., first_token_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, _Any]]] = ..., total_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, _Any]]] = ...) -> None: ...

class TokenLogprob(_message.Message):
    __slots__ = ("token_id", "token", "logprob", "alternatives")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    token_id: int
    token: bytes
    logprob: float
    alternatives: _containers.RepeatedCompositeFieldContainer[TokenAlternative]
    def __init__(self, token_id: _Optional[int] = ..., token: _Optional[bytes] = ..., logprob: _Optional[float] = ..., alternatives: _Optional[_Iterable[_Union[TokenAlternative, _Mapping[str, _Any]]]] = ...) -> None: ...

class TokenAlternative(_message.Message):
    __slots__ = ("token_id", "token", "logprob")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    token_id: int
    token: bytes
    logprob: float
    def __init__(self, token_id: _Optional[int] = ..., token: _Optional[bytes] = ..., logprob: _Optional[float] = ...) -> None: ...

class NormalizedBox(_message.Message):
    __slots__ = ("x_min", "y_min", "x_max", "y_max")
    X_MIN_FIELD_NUMBER: _ClassVar[int]
    Y_MIN_FIELD_NUMBER: _ClassVar[int]
    X_MAX_FIELD_NUMBER: _ClassVar[int]
    Y_MAX_FIELD_NUMBER: _ClassVar[int]
    x_min: float
    y_min: float
    x_max: float
    y_max: float
    def __init__(self, x_min: _Optional[float] = ..., y_min: _Optional[float] = ..., x_max: _Optional[float] = ..., y_max: _Optional[float] = ...) -> None: ...

class PixelBox(_message.Message):
    __slots__ = ("x_min", "y_min", "x_max", "y_max")
    X_MIN_FIELD_NUMBER: _ClassVar[int]
    Y_MIN_FIELD_NUMBER: _ClassVar[int]
    X_MAX_FIELD_NUMBER: _ClassVar[int]
    Y_MAX_FIELD_NUMBER: _ClassVar[int]
    x_min: int
    y_min: int
    x_max: int
    y_max: int
    def __init__(self, x_min: _Optional[int] = ..., y_min: _Optional[int] = ..., x_max: _Optional[int] = ..., y_max: _Optional[int] = ...) -> None: ...

class DetectedObject(_message.Message):
    __slots__ = ("label", "normalized_box", "pixel_box", "score", "mask", "image_index", "label_index", "box_score", "label_score")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_BOX_FIELD_NUMBER: _ClassVar[int]
    PIXEL_BOX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    IMAGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    LABEL_INDEX_FIELD_NUMBER: _ClassVar[int]
    BOX_SCORE_FIELD_NUMBER: _ClassVar[int]
    LABEL_SCORE_FIELD_NUMBER: _ClassVar[int]
    label: str
    normalized_box: NormalizedBox
    pixel_box: PixelBox
    score: float
    mask: Mask
    image_index: int
    label_index: int
    box_score: float
    label_score: float
    def __init__(self, label: _Optional[str] = ..., normalized_box: _Optional[_Union[NormalizedBox, _Mapping[str, _Any]]] = ..., pixel_box: _Optional[_Union[PixelBox, _Mapping[str, _Any]]] = ..., score: _Optional[float] = ..., mask: _Optional[_Union[Mask, _Mapping[str, _Any]]] = ..., image_index: _Optional[int] = ..., label_index: _Optional[int] = ..., box_score: _Optional[float] = ..., label_score: _Optional[float] = ...) -> None: ...

class Mask(_message.Message):
    __slots__ = ("region", "area_pixel_count", "png", "rle", "polygon", "soft", "codes")
    REGION_FIELD_NUMBER: _ClassVar[int]
    AREA_PIXEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    RLE_FIELD_NUMBER: _ClassVar[int]
    POLYGON_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    region: PixelBox
    area_pixel_count: int
    png: bytes
    rle: RleMask
    polygon: PolygonMask
    soft: SoftMask
    codes: MaskCodes
    def __init__(self, region: _Optional[_Union[PixelBox, _Mapping[str, _Any]]] = ..., area_pixel_count: _Optional[int] = ..., png: _Optional[bytes] = ..., rle: _Optional[_Union[RleMask, _Mapping[str, _Any]]] = ..., polygon: _Optional[_Union[PolygonMask, _Mapping[str, _Any]]] = ..., soft: _Optional[_Union[SoftMask, _Mapping[str, _Any]]] = ..., codes: _Optional[_Union[MaskCodes, _Mapping[str, _Any]]] = ...) -> None: ...

class RleMask(_message.Message):
    __slots__ = ("size", "counts")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    size: _containers.RepeatedScalarFieldContainer[int]
    counts: str
    def __init__(self, size: _Optional[_Iterable[int]] = ..., counts: _Optional[str] = ...) -> None: ...

class PolygonMask(_message.Message):
    __slots__ = ("rings",)
    RINGS_FIELD_NUMBER: _ClassVar[int]
    rings: _containers.RepeatedCompositeFieldContainer[Ring]
    def __init__(self, rings: _Optional[_Iterable[_Union[Ring, _Mapping[str, _Any]]]] = ...) -> None: ...

class Ring(_message.Message):
    __slots__ = ("coordinates",)
    COORDINATES_FIELD_NUMBER: _ClassVar[int]
    coordinates: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, coordinates: _Optional[_Iterable[float]] = ...) -> None: ...

class SoftMask(_message.Message):
    __slots__ = ("width", "height", "probabilities")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    probabilities: bytes
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., probabilities: _Optional[bytes] = ...) -> None: ...

class MaskCodes(_message.Message):
    __slots__ = ("indices",)
    INDICES_FIELD_NUMBER: _ClassVar[int]
    indices: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, indices: _Optional[_Iterable[int]] = ...) -> None: ...

class TextRegion(_message.Message):
    __slots__ = ("text", "normalized_box", "pixel_box", "score")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_BOX_FIELD_NUMBER: _ClassVar[int]
    PIXEL_BOX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    text: str
    normalized_box: NormalizedBox
    pixel_box: PixelBox
    score: float
    def __init__(self, text: _Optional[str] = ..., normalized_box: _Optional[_Union[NormalizedBox, _Mapping[str, _Any]]] = ..., pixel_box: _Optional[_Union[PixelBox, _Mapping[str, _Any]]] = ..., score: _Optional[float] = ...) -> None: ...
