"""No part of an event's way takes more than five in a hundred more instructions than what is kept."""

import pytest

from tests.conftest import left_out
from tests.instructions.callgrind import NotCounted
from tests.instructions.figure import Kept, load, verdict
from tests.instructions.instructions import all_measured, is_strict, table
from tests.needs import has_valgrind


@pytest.fixture(scope="module")
def measured() -> dict[str, Kept]:
    """Core → its figures."""
    if not has_valgrind():
        left_out("valgrind is not installed; ./gw test as root fetches it")
    try:
        return {one.core: one for one in all_measured()}
    except NotCounted as reason:
        pytest.fail(str(reason), pytrace=False)


@pytest.mark.parametrize("core", ["python", "rust"])
def test_no_part_takes_more_instructions_than_what_is_kept(core: str, measured: dict[str, Kept]) -> None:
    if core not in measured:
        left_out("the Rust core was not built")
    found = verdict(measured[core], load(), strict=is_strict())
    print(table([measured[core]], [found]), *found.remarks, sep="\n")
    assert not found.complaints
