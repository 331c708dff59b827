"""Nothing that the whole run needs is left out unseen."""

import pytest

from tests import needs
from tests.conftest import left_out


@pytest.mark.parametrize("need", needs.NEEDS, ids=[name for name, _, _ in needs.NEEDS])
def test_the_whole_run_has_what_it_needs(need: needs.Need) -> None:
    name, is_there, _ = need
    if not is_there():
        left_out(f"{name} was left out; ./gw test says why")
