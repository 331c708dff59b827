"""One browser for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import needs
from tests.browser.chromium import Chromium
from tests.browser.stand_in import StandIn
from tests.conftest import left_out


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    """The browser; each test makes pages of its own in it."""
    if needs.browser() is None:
        left_out("there is no Chromium here")
    with Chromium() as started:
        yield started


@pytest.fixture
def there() -> Iterator[StandIn]:
    """An admin port whose numbers the test makes up."""
    with StandIn() as served:
        yield served
