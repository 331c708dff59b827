"""How fast a campaign spends, by its budget and its flight."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from live.campaigns import pace, share

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=10)
BUDGET = Decimal(100)


@pytest.mark.parametrize(
    ("spent", "day", "told"),
    [(10, 1, 1.0), (20, 1, 2.0), (5, 1, 0.5), (0, 1, 0.0), (100, 10, 1.0), (110, 20, 1.1), (0, 0, None), (1, -1, None)],
)
def test_pace_is_the_share_of_the_budget_by_the_share_of_the_flight(spent: int, day: int, told: float | None) -> None:
    assert pace(Decimal(spent), BUDGET, BEGIN, END, BEGIN + timedelta(days=day)) == told


def test_without_a_budget_or_an_end_there_is_none() -> None:
    now = BEGIN + timedelta(days=1)
    assert pace(Decimal(1), None, BEGIN, END, now) is None
    assert pace(Decimal(1), Decimal(0), BEGIN, END, now) is None
    assert pace(Decimal(1), BUDGET, BEGIN, None, now) is None


def test_a_share_of_nothing_is_none() -> None:
    assert (share(1, 3), share(0, 3), share(0, 0)) == (0.333333, 0.0, None)
