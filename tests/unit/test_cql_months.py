"""How much less than was written a month of the CQL store may hold."""

import pytest

from gateway.cql_months import begin_us, is_beyond_resends


@pytest.mark.parametrize(
    ("stored", "there", "is_beyond"),
    [
        (1_000_000, 1_000_000, False),
        (1_000_000, 990_000, False),
        (1_000_000, 989_999, True),
        (1_000_000, 0, True),
        (30, 10, False),
        (30, 9, True),
        (3, 0, True),
        (3, 5, False),
    ],
)
def test_a_hundredth_or_a_request_may_have_been_sent_again_and_no_more(
    stored: int, there: int, is_beyond: bool
) -> None:
    assert is_beyond_resends(stored, there) is is_beyond


def test_a_month_begins_with_its_first_day_in_utc() -> None:
    assert begin_us("1970-02") == 31 * 86_400_000_000
