# SPDX-License-Identifier: Apache-2.0
# ruff: noqa
import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from paligemma_serving.v1 import paligemma_service_pb2 as _paligemma_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_LOADING: _ClassVar[ModelState]
    MODEL_STATE_READY: _ClassVar[ModelState]
    MODEL_STATE_UNLOADING: _ClassVar[ModelState]
    MODEL_STATE_FAILED: _ClassVar[ModelState]

class Resampling(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESAMPLING_UNSPECIFIED: _ClassVar[Resampling]
    RESAMPLING_PILLOW_BICUBIC: _ClassVar[Resampling]
    RESAMPLING_BILINEAR: _ClassVar[Resampling]
    RESAMPLING_BILINEAR_ANTIALIAS: _ClassVar[Resampling]

class Padding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PADDING_UNSPECIFIED: _ClassVar[Padding]
    PADDING_SQUASH: _ClassVar[Padding]
    PADDING_WHITE: _ClassVar[Padding]
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_LOADING: ModelState
MODEL_STATE_READY: ModelState
MODEL_STATE_UNLOADING: ModelState
MODEL_STATE_FAILED: ModelState
RESAMPLING_UNSPECIFIED: Resampling
RESAMPLING_PILLOW_BICUBIC: Resampling
RESAMPLING_BILINEAR: Resampling
RESAMPLING_BILINEAR_ANTIALIAS: Resampling
PADDING_UNSPECIFIED: Padding
PADDING_SQUASH: Padding
PADDING_WHITE: Padding

class Model(_message.Message):
    __slots__ = ("name", "display_name", "base_model", "revision", "state", "image_size", "image_token_count", "supported_methods", "caption_lengths", "language_codes", "limits", "activation_dtype", "quantization", "devices", "score_definition", "license", "source", "resampling", "padding")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    SUPPORTED_METHODS_FIELD_NUMBER: _ClassVar[int]
    CAPTION_LENGTHS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_DTYPE_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    SCORE_DEFINITION_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RESAMPLING_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    base_model: str
    revision: str
    state: ModelState
    image_size: int
    image_token_count: int
    supported_methods: _containers.RepeatedScalarFieldContainer[str]
    caption_lengths: _containers.RepeatedScalarFieldContainer[_paligemma_service_pb2.CaptionLength]
    language_codes: _containers.RepeatedScalarFieldContainer[str]
    limits: ModelLimits
    activation_dtype: str
    quantization: str
    devices: _containers.RepeatedScalarFieldContainer[str]
    score_definition: str
    license: str
    source: str
    resampling: Resampling
    padding: Padding
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., base_model: _Optional[str] = ..., revision: _Optional[str] = ..., state: _Optional[_Union[ModelState, str]] = ..., image_size: _Optional[int] = ..., image_token_count: _Optional[int] = ..., supported_methods: _Optional[_Iterable[str]] = ..., caption_lengths: _Optional[_Iterable[_Union[_paligemma_service_pb2.CaptionLength, str]]] = ..., language_codes: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[ModelLimits, _Mapping[str, _Any]]] = ..., activation_dtype: _Optional[str] = ..., quantization: _Optional[str] = ..., devices: _Optional[_Iterable[str]] = ..., score_definition: _Optional[str] = ..., license: _Optional[str] = ..., source: _Optional[str] = ..., resampling: _Optional[_Union[Resampling, str]] = ..., padding: _Optional[_Union[Padding, str]] = ...) -> None: ...

class ModelLimits(_message.Message):
    __slots__ = ("max_image_count", "max_image_bytes", "max_image_pixels", "max_input_tokens", "max_output_tokens", "max_label_count", "max_candidate_count", "max_response_bytes", "max_deadline", "accepted_mime_types", "max_image_side", "methods")
    MAX_IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGE_PIXELS_FIELD_NUMBER: _ClassVar[int]
    MAX_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_LABEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_CANDIDATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_MIME_TYPES_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGE_SIDE_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    max_image_count: int
    max_image_bytes: int
    max_image_pixels: int
    max_input_tokens: int
    max_output_tokens: int
    max_label_count: int
    max_candidate_count: int
    max_response_bytes: int
    max_deadline: _duration_pb2.Duration
    accepted_mime_types: _containers.RepeatedScalarFieldContainer[str]
    max_image_side: int
    methods: _containers.RepeatedCompositeFieldContainer[MethodLimits]
    def __init__(self, max_image_count: _Optional[int] = ..., max_image_bytes: _Optional[int] = ..., max_image_pixels: _Optional[int] = ..., max_input_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., max_label_count: _Optional[int] = ..., max_candidate_count: _Optional[int] = ..., max_response_bytes: _Optional[int] = ..., max_deadline: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping[str, _Any]]] = ..., accepted_mime_types: _Optional[_Iterable[str]] = ..., max_image_side: _Optional[int] = ..., methods: _Optional[_Iterable[_Union[MethodLimits, _Mapping[str, _Any]]]] = ...) -> None: ...

class MethodLimits(_message.Message):
    __slots__ = ("method", "max_output_tokens", "default_output_tokens")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    method: str
    max_output_tokens: int
    default_output_tokens: int
    def __init__(self, method: _Optional[str] = ..., max_output_tokens: _Optional[int] = ..., default_output_tokens: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping[str, _Any]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping[str, _Any]]] = ...) -> None: ...
