# SPDX-License-Identifier: Apache-2.0
# ruff: noqa
from paligemma_serving.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CaptionLength(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTION_LENGTH_UNSPECIFIED: _ClassVar[CaptionLength]
    CAPTION_LENGTH_SHORT: _ClassVar[CaptionLength]
    CAPTION_LENGTH_LONG: _ClassVar[CaptionLength]

class LabelMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_MODE_UNSPECIFIED: _ClassVar[LabelMode]
    LABEL_MODE_TOGETHER: _ClassVar[LabelMode]
    LABEL_MODE_SEPARATE: _ClassVar[LabelMode]
CAPTION_LENGTH_UNSPECIFIED: CaptionLength
CAPTION_LENGTH_SHORT: CaptionLength
CAPTION_LENGTH_LONG: CaptionLength
LABEL_MODE_UNSPECIFIED: LabelMode
LABEL_MODE_TOGETHER: LabelMode
LABEL_MODE_SEPARATE: LabelMode

class CaptionRequest(_message.Message):
    __slots__ = ("model", "images", "language_code", "length", "region", "generation_config", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    images: _containers.RepeatedCompositeFieldContainer[_types_pb2.Image]
    language_code: str
    length: CaptionLength
    region: _types_pb2.NormalizedBox
    generation_config: _types_pb2.GenerationConfig
    options: _types_pb2.RequestOptions
    def __init__(self, model: _Optional[str] = ..., images: _Optional[_Iterable[_Union[_types_pb2.Image, _Mapping[str, _Any]]]] = ..., language_code: _Optional[str] = ..., length: _Optional[_Union[CaptionLength, str]] = ..., region: _Optional[_Union[_types_pb2.NormalizedBox, _Mapping[str, _Any]]] = ..., generation_config: _Optional[_Union[_types_pb2.GenerationConfig, _Mapping[str, _Any]]] = ..., options: _Optional[_Union[_types_pb2.RequestOptions, _Mapping[str, _Any]]] = ...) -> None: ...

class CaptionResponse(_message.Message):
    __slots__ = ("caption", "candidates", "info")
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    caption: str
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    info: _types_pb2.GenerationInfo
    def __init__(self, caption: _Optional[str] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping[str, _Any]]]] = ..., info: _Optional[_Union[_types_pb2.GenerationInfo, _Mapping[str, _Any]]] = ...) -> None: ...

class AnswerRequest(_message.Message):
    __slots__ = ("model", "images", "question", "language_code", "generation_config", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    images: _containers.RepeatedCompositeFieldContainer[_types_pb2.Image]
    question: str
    language_code: str
    generation_config: _types_pb2.GenerationConfig
    options: _types_pb2.RequestOptions
    def __init__(self, model: _Optional[str] = ..., images: _Optional[_Iterable[_Union[_types_pb2.Image, _Mapping[str, _Any]]]] = ..., question: _Optional[str] = ..., language_code: _Optional[str] = ..., generation_config: _Optional[_Union[_types_pb2.GenerationConfig, _Mapping[str, _Any]]] = ..., options: _Optional[_Union[_types_pb2.RequestOptions, _Mapping[str, _Any]]] = ...) -> None: ...

class AnswerResponse(_message.Message):
    __slots__ = ("answer", "candidates", "info")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    answer: str
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    info: _types_pb2.GenerationInfo
    def __init__(self, answer: _Optional[str] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping[str, _Any]]]] = ..., info: _Optional[_Union[_types_pb2.GenerationInfo, _Mapping[str, _Any]]] = ...) -> None: ...

class DetectRequest(_message.Message):
    __slots__ = ("model", "image", "labels", "label_mode", "max_object_count", "min_score", "generation_config", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_MODE_FIELD_NUMBER: _ClassVar[int]
    MAX_OBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    image: _types_pb2.Image
    labels: _containers.RepeatedScalarFieldContainer[str]
    label_mode: LabelMode
    max_object_count: int
    min_score: float
    generation_config: _types_pb2.GenerationConfig
    options: _types_pb2.RequestOptions
    def __init__(self, model: _Optional[str] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping[str, _Any]]] = ..., labels: _Optional[_Iterable[str]] = ..., label_mode: _Optional[_Union[LabelMode, str]] = ..., max_object_count: _Optional[int] = ..., min_score: _Optional[float] = ..., generation_config: _Optional[_Union[_types_pb2.GenerationConfig, _Mapping[str, _Any]]] = ..., options: _Optional[_Union[_types_pb2.RequestOptions, _Mapping[str, _Any]]] = ...) -> None: ...

class DetectResponse(_message.Message):
    __slots__ = ("objects", "absent_label_indexes", "dropped_object_count", "info")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    ABSENT_LABEL_INDEXES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_OBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.RepeatedCompositeFieldContainer[_types_pb2.DetectedObject]
    absent_label_indexes: _containers.RepeatedScalarFieldContainer[int]
    dropped_object_count: int
    info: _types_pb2.GenerationInfo
    def __init__(self, objects: _Optional[_Iterable[_Union[_types_pb2.DetectedObject, _Mapping[str, _Any]]]] = ..., absent_label_indexes: _Optional[_Iterable[int]] = ..., dropped_object_count: _Optional[int] = ..., info: _Optional[_Union[_types_pb2.GenerationInfo, _Mapping[str, _Any]]] = ...) -> None: ...

class SegmentRequest(_message.Message):
    __slots__ = ("model", "image", "labels", "label_mode", "max_object_count", "min_score", "mask_format", "mask_extent", "mask_threshold", "generation_config", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_MODE_FIELD_NUMBER: _ClassVar[int]
    MAX_OBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    MASK_FORMAT_FIELD_NUMBER: _ClassVar[int]
    MASK_EXTENT_FIELD_NUMBER: _ClassVar[int]
    MASK_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    GENERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    image: _types_pb2.Image
    labels: _containers.RepeatedScalarFieldContainer[str]
    label_mode: LabelMode
    max_object_count: int
    min_score: float
    mask_format: _types_pb2.MaskFormat
    mask_extent: _types_pb2.MaskExtent
    mask_threshold: float
    generation_config: _types_pb2.GenerationConfig
    options: _types_pb2.RequestOptions
    def __init__(self, model: _Optional[str] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping[str, _Any]]] = ..., labels: _Optional[_Iterable[str]] = ..., label_mode: _Optional[_Union[LabelMode, str]] = ..., max_object_count: _Optional[int] = ..., min_score: _Optional[float] = ..., mask_format: _Optional[_Union[_types_pb2.MaskFormat, str]] = ..., mask_extent: _Optional[_Union[_types_pb2.MaskExtent, str]] = ..., mask_threshold: _Optional[float] = ..., generation_config: _Optional[_Union[_types_pb2.GenerationConfig, _Mapping[str, _Any]]] = ..., options: _Optional[_Union[_types_pb2.RequestOptions, _Mapping[str, _Any]]] = ...) -> None: ...

class SegmentResponse(_message.Message):
    __slots__ = ("objects", "absent_label_indexes", "dropped_object_count", "info")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    ABSENT_LABEL_INDEXES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_OBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.RepeatedCompositeFieldContainer[_types_pb2.DetectedObject]
    absent_label_indexes: _containers.RepeatedScalarFieldContainer[int]
    dropped_object_count: int
    info: _types_pb2.GenerationInfo
    def __init__(self, objects: _Optional[_Iterable[_Union[_types_pb2.DetectedObject, _Mapping[str, _Any]]]] = ..., absent_label_indexes: _Optional[_Iterable[int]] = ..., dropped_object_count: _Optional[int] = ..., info: _Optional[_Union[_types_pb2.GenerationInfo, _Mapping[str, _Any]]] = ...) -> None: ...

class ReadTextRequest(_message.Message):
    __slots__ = ("model", "image", "generation_config", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    image: _types_pb2.Image
    generation_config: _types_pb2.GenerationConfig
    options: _types_pb2.RequestOptions
    def __init__(self, model: _Optional[str] = ..., image: _Optional[_Union[_types_pb2.Image, _Mapping[str, _Any]]] = ..., generation_config: _Optional[_Union[_types_pb2.GenerationConfig, _Mapping[str, _Any]]] = ..., options: _Optional[_Union[_types_pb2.RequestOptions, _Mapping[str, _Any]]] = ...) -> None: ...

class ReadTextResponse(_message.Message):
    __slots__ = ("text", "regions", "info")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    text: str
    regions: _containers.RepeatedCompositeFieldContainer[_types_pb2.TextRegion]
    info: _types_pb2.GenerationInfo
    def __init__(self, text: _Optional[str] = ..., regions: _Optional[_Iterable[_Union[_types_pb2.TextRegion, _Mapping[str, _Any]]]] = ..., info: _Optional[_Union[_types_pb2.GenerationInfo, _Mapping[str, _Any]]] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("model", "images", "prompt", "generation_config", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    images: _containers.RepeatedCompositeFieldContainer[_types_pb2.Image]
    prompt: str
    generation_config: _types_pb2.GenerationConfig
    options: _types_pb2.RequestOptions
    def __init__(self, model: _Optional[str] = ..., images: _Optional[_Iterable[_Union[_types_pb2.Image, _Mapping[str, _Any]]]] = ..., prompt: _Optional[str] = ..., generation_config: _Optional[_Union[_types_pb2.GenerationConfig, _Mapping[str, _Any]]] = ..., options: _Optional[_Union[_types_pb2.RequestOptions, _Mapping[str, _Any]]] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("candidates", "info")
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    info: _types_pb2.GenerationInfo
    def __init__(self, candidates: _Optional[_Iterable[_Union[Candidate, _Mapping[str, _Any]]]] = ..., info: _Optional[_Union[_types_pb2.GenerationInfo, _Mapping[str, _Any]]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("text", "finish_reason", "sum_logprob", "token_ids", "objects", "token_count", "logprobs", "matched_stop_sequence")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    SUM_LOGPROB_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    MATCHED_STOP_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    text: str
    finish_reason: _types_pb2.FinishReason
    sum_logprob: float
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    objects: _containers.RepeatedCompositeFieldContainer[_types_pb2.DetectedObject]
    token_count: int
    logprobs: _containers.RepeatedCompositeFieldContainer[_types_pb2.TokenLogprob]
    matched_stop_sequence: str
    def __init__(self, text: _Optional[str] = ..., finish_reason: _Optional[_Union[_types_pb2.FinishReason, str]] = ..., sum_logprob: _Optional[float] = ..., token_ids: _Optional[_Iterable[int]] = ..., objects: _Optional[_Iterable[_Union[_types_pb2.DetectedObject, _Mapping[str, _Any]]]] = ..., token_count: _Optional[int] = ..., logprobs: _Optional[_Iterable[_Union[_types_pb2.TokenLogprob, _Mapping[str, _Any]]]] = ..., matched_stop_sequence: _Optional[str] = ...) -> None: ...

class TaskRequest(_message.Message):
    __slots__ = ("caption", "answer", "segment", "detect", "read_text", "generate")
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    DETECT_FIELD_NUMBER: _ClassVar[int]
    READ_TEXT_FIELD_NUMBER: _ClassVar[int]
    GENERATE_FIELD_NUMBER: _ClassVar[int]
    caption: CaptionRequest
    answer: AnswerRequest
    segment: SegmentRequest
    detect: DetectRequest
    read_text: ReadTextRequest
    generate: GenerateRequest
    def __init__(self, caption: _Optional[_Union[CaptionRequest, _Mapping[str, _Any]]] = ..., answer: _Optional[_Union[AnswerRequest, _Mapping[str, _Any]]] = ..., segment: _Optional[_Union[SegmentRequest, _Mapping[str, _Any]]] = ..., detect: _Optional[_Union[DetectRequest, _Mapping[str, _Any]]] = ..., read_text: _Optional[_Union[ReadTextRequest, _Mapping[str, _Any]]] = ..., generate: _Optional[_Union[GenerateRequest, _Mapping[str, _Any]]] = ...) -> None: ...

class TaskResponse(_message.Message):
    __slots__ = ("caption", "answer", "segment", "detect", "read_text", "generate")
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    DETECT_FIELD_NUMBER: _ClassVar[int]
    READ_TEXT_FIELD_NUMBER: _ClassVar[int]
    GENERATE_FIELD_NUMBER: _ClassVar[int]
    caption: CaptionResponse
    answer: AnswerResponse
    segment: SegmentResponse
    detect: DetectResponse
    read_text: ReadTextResponse
    generate: GenerateResponse
    def __init__(self, caption: _Optional[_Union[CaptionResponse, _Mapping[str, _Any]]] = ..., answer: _Optional[_Union[AnswerResponse, _Mapping[str, _Any]]] = ..., segment: _Optional[_Union[SegmentResponse, _Mapping[str, _Any]]] = ..., detect: _Optional[_Union[DetectResponse, _Mapping[str, _Any]]] = ..., read_text: _Optional[_Union[ReadTextResponse, _Mapping[str, _Any]]] = ..., generate: _Optional[_Union[GenerateResponse, _Mapping[str, _Any]]] = ...) -> None: ...

class StreamGenerateRequest(_message.Message):
    __slots__ = ("task", "omit_streamed_masks")
    TASK_FIELD_NUMBER: _ClassVar[int]
    OMIT_STREAMED_MASKS_FIELD_NUMBER: _ClassVar[int]
    task: TaskRequest
    omit_streamed_masks: bool
    def __init__(self, task: _Optional[_Union[TaskRequest, _Mapping[str, _Any]]] = ..., omit_streamed_masks: _Optional[bool] = ...) -> None: ...

class StreamGenerateResponse(_message.Message):
    __slots__ = ("delta", "object", "result")
    DELTA_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    delta: TextDelta
    object: ObjectFound
    result: TaskResponse
    def __init__(self, delta: _Optional[_Union[TextDelta, _Mapping[str, _Any]]] = ..., object: _Optional[_Union[ObjectFound, _Mapping[str, _Any]]] = ..., result: _Optional[_Union[TaskResponse, _Mapping[str, _Any]]] = ...) -> None: ...

class TextDelta(_message.Message):
    __slots__ = ("text", "token_count", "candidate_index", "logprobs")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_INDEX_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    text: str
    token_count: int
    candidate_index: int
    logprobs: _containers.RepeatedCompositeFieldContainer[_types_pb2.TokenLogprob]
    def __init__(self, text: _Optional[str] = ..., token_count: _Optional[int] = ..., candidate_index: _Optional[int] = ..., logprobs: _Optional[_Iterable[_Union[_types_pb2.TokenLogprob, _Mapping[str, _Any]]]] = ...) -> None: ...

class ObjectFound(_message.Message):
    __slots__ = ("object", "object_index", "candidate_index")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    OBJECT_INDEX_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_INDEX_FIELD_NUMBER: _ClassVar[int]
    object: _types_pb2.DetectedObject
    object_index: int
    candidate_index: int
    def __init__(self, object: _Optional[_Union[_types_pb2.DetectedObject, _Mapping[str, _Any]]] = ..., object_index: _Optional[int] = ..., candidate_index: _Optional[int] = ...) -> None: ...
