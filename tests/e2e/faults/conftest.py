# SPDX-License-Identifier: Apache-2.0
"""One server a module, and the invariants after every test that used it."""

from collections.abc import Iterator

import pytest
import quiescence
import serving


@pytest.fixture(scope="module")
def base(request: pytest.FixtureRequest) -> Iterator[quiescence.Base]:
    """A warm server with the module's FLAGS. It must end well: a call that is never let go of would abort it."""
    with serving.Server(serving.TINY, *getattr(request.module, "FLAGS", ())) as running:
        yield quiescence.Base(running)
        assert running.stop() == 0, running.log_text()


@pytest.fixture
def server(base: quiescence.Base) -> Iterator[serving.Server]:
    """The module's server, which must be back at its base when the test is over."""
    yield base.server
    base.check()
