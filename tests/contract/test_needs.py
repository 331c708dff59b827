"""Nothing that the whole run needs is left out unseen."""

from collections.abc import Callable

import pytest

from tests import needs
from tests.conftest import left_out


@pytest.mark.parametrize(("name", "is_there"), [(name, is_there) for name, is_there, _ in needs.NEEDS])
def test_the_whole_run_has_what_it_needs(name: str, is_there: Callable[[], bool]) -> None:
    if not is_there():
        left_out(f"{name} was left out; ./gw test says why")
