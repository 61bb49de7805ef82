# SPDX-License-Identifier: Apache-2.0
"""Client of PaliGemma Serving: captions, answers, boxes, masks and text out of pictures.

from paligemma_serving import Client

with Client("localhost:8001") as client:
    print(client.caption("cat.jpg").caption)
"""

from paligemma_serving import requests, v1
from paligemma_serving.aio import AsyncClient, AsyncStream
from paligemma_serving.client import Client, Stream
from paligemma_serving.errors import (
    AuthenticationError,
    ChangedPictureWarning,
    DeadlineExceededError,
    ImageError,
    IncompleteStreamError,
    InvalidRequestError,
    LimitError,
    NotFoundError,
    PaliGemmaError,
    RequestCancelledError,
    ServerError,
    UnavailableError,
    UnsupportedError,
)
from paligemma_serving.images import to_image
from paligemma_serving.masks import mask_array, mask_in_image, soft_probabilities
from paligemma_serving.urls import image_from_url

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncStream",
    "AuthenticationError",
    "ChangedPictureWarning",
    "Client",
    "DeadlineExceededError",
    "ImageError",
    "IncompleteStreamError",
    "InvalidRequestError",
    "LimitError",
    "NotFoundError",
    "PaliGemmaError",
    "RequestCancelledError",
    "ServerError",
    "Stream",
    "UnavailableError",
    "UnsupportedError",
    "image_from_url",
    "mask_array",
    "mask_in_image",
    "requests",
    "soft_probabilities",
    "to_image",
    "v1",
]
