"""Waits between tries: bounded, spread over the whole range, growing."""

from hypothesis import given
from hypothesis import strategies as st

from storage.backoff import FIRST_S, LONGEST_S, ceiling_s, delay_s

CHANCES = st.floats(0, 1, exclude_max=True)


@given(attempt=st.integers(0, 10_000), chance=CHANCES)
def test_a_wait_is_below_its_ceiling_and_the_ceiling_below_ten_seconds(attempt: int, chance: float) -> None:
    assert 0 <= delay_s(attempt, lambda: chance) <= ceiling_s(attempt) <= LONGEST_S


def test_ceilings_double_up_to_the_longest() -> None:
    assert [ceiling_s(attempt) for attempt in range(9)] == [FIRST_S * 2**n for n in range(7)] + [LONGEST_S] * 2


def test_the_whole_range_is_used_so_that_two_drains_come_apart() -> None:
    assert delay_s(3, lambda: 0.0) == 0
    assert delay_s(3, lambda: 0.999) > 0.99 * ceiling_s(3)
