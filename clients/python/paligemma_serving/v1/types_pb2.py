# SPDX-License-Identifier: Apache-2.0
"""Messages and enums of paligemma/v1/types.proto. Written by clients/python/generate.py."""

from paligemma_serving.v1 import _descriptors

_descriptors.define("paligemma/v1/types.proto", globals())
