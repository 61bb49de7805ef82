# SPDX-License-Identifier: Apache-2.0
"""One server on the tiny bundle for all tests that do not need their own."""

from collections.abc import Iterator

import pytest
import serving


@pytest.fixture(scope="session")
def server() -> Iterator[serving.Server]:
    """A server that is ready, with as many threads as the machine grants."""
    with serving.Server(serving.TINY, "--threads=0") as running:
        yield running
