# SPDX-License-Identifier: Apache-2.0
"""The messages of package paligemma.v1, all in one namespace: `from paligemma_serving import v1`."""

from paligemma_serving.v1.error_reason_pb2 import *  # noqa: F403
from paligemma_serving.v1.model_service_pb2 import *  # noqa: F403
from paligemma_serving.v1.paligemma_service_pb2 import *  # noqa: F403
from paligemma_serving.v1.types_pb2 import *  # noqa: F403
