# SPDX-License-Identifier: Apache-2.0
"""The client's resize against the hashes that the server's own test has (tests/core/vision/resampler_test.cc)."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from conftest import FakeServer  # noqa: F401 (puts clients/python on the path)
from paligemma_serving import _resize, v1
from PIL import Image


def pattern(height: int, width: int) -> Image.Image:
    """The picture of the golden hashes."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([7 * x + 13 * y, x * x + 3 * y, (x ^ y) * 5], -1).astype(np.uint8))


def shown(picture: Image.Image, size: int, resampling: int, padding: int = v1.PADDING_SQUASH) -> np.ndarray:
    """What the model sees."""
    return _resize.resize(picture, v1.Model(image_size=size, resampling=resampling, padding=padding))


BICUBIC, ANTIALIAS = v1.RESAMPLING_PILLOW_BICUBIC, v1.RESAMPLING_BILINEAR_ANTIALIAS
BILINEAR = v1.RESAMPLING_BILINEAR  # without antialiasing, as TensorFlow


@pytest.mark.parametrize(
    ("height", "width", "size", "resampling", "digest"),
    [
        (480, 640, 224, BICUBIC, "a54f816f2de6e97602641bbeee1a1bdbe2c638d914deee7c0b0fa0b07e80a673"),
        (100, 37, 224, BICUBIC, "91f93f3bafb53ea74cf476bb4b40134171447b8d614e6e06889444157cf8cc11"),
        (224, 224, 224, BICUBIC, "8d3a66db4c996397a043ec05f5dec7bcedcfa1e4971fd3bea76b33bad046e912"),
        (480, 640, 224, ANTIALIAS, "5e882c5dcb29cd4409fd1e85157459217b9b4e61726882cf7b797e2244673a36"),
        (513, 769, 448, ANTIALIAS, "dc5bd1428a79fd83feb2c6f68243503b37e50690455f5f876cda0e4c5c5908a9"),
        (480, 640, 224, BILINEAR, "b0256768b8939b03b4dccab839b532579451dd846066dca1cafe645269caa45d"),
        (30, 17, 56, BILINEAR, "71096689412d80d1628123a8412f704eb2feb12f5d08f4d20832dcc7cafff8ed"),
    ],
)
def test_squashed(height: int, width: int, size: int, resampling: int, digest: str) -> None:
    """Bit for bit."""
    assert hashlib.sha256(shown(pattern(height, width), size, resampling).tobytes()).hexdigest() == digest


def test_padded() -> None:
    """White, and in the middle."""
    pixels = shown(pattern(101, 40), 56, BICUBIC, v1.PADDING_WHITE)
    digest = "e60dfe82152331583984942633871d7b7e76acc58321845136790b5199d392de"
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == digest
