"""Months as values: names, bounds, what is missing, what may be made, what is over."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.postgres.partition import (
    POSTGRES_EPOCH_US,
    Month,
    horizon,
    may_be_made,
    months_ahead,
    months_expired,
    months_missing,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
THIS_MONTH = Month(2026, 11)
DOOR_LIMIT = timedelta(days=35)

first, last = datetime(1970, 1, 1), datetime(2100, 12, 31)  # noqa: DTZ001  hypothesis adds the zone itself
moments = st.datetimes(first, last, timezones=st.just(UTC))
some_months = st.builds(Month, st.integers(1970, 2100), st.integers(1, 12))


@given(moments)
def test_a_moment_lies_within_the_bounds_of_its_month(moment: datetime) -> None:
    month = Month.of(moment)
    assert month.start <= moment < month.end


@given(moments)
def test_datetime_and_both_epochs_agree_on_the_month(moment: datetime) -> None:
    epoch_us = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    month = Month.of(moment)
    assert Month.of_epoch_us(epoch_us) == month == Month.of_postgres_us(epoch_us - POSTGRES_EPOCH_US)
    start_us, end_us = month.bounds_epoch_us
    assert start_us <= epoch_us < end_us
    assert month.bounds_postgres_us == (start_us - POSTGRES_EPOCH_US, end_us - POSTGRES_EPOCH_US)


@given(some_months, st.integers(-600, 600))
def test_months_added_can_be_taken_away(month: Month, months: int) -> None:
    assert month.plus(months).plus(-months) == month
    assert (month.plus(months) > month) == (months > 0)


@given(some_months)
def test_months_lie_end_to_end_without_a_gap(month: Month) -> None:
    assert month.end == month.plus(1).start
    assert month.bounds_epoch_us[1] == month.plus(1).bounds_epoch_us[0]


@given(some_months)
def test_a_table_name_gives_its_month_back(month: Month) -> None:
    assert Month.of_table(month.table) == month


def test_a_month_has_the_name_and_the_day_that_the_database_knows() -> None:
    assert Month(2026, 2).table == "playback_events_2026_02"
    assert Month(2026, 2).first_day == date(2026, 2, 1)


@pytest.mark.parametrize(
    "name",
    ["playback_events", "playback_events_2026_13", "playback_events_2026_00", "playback_events_0000_01",
     "playback_events_2026_1", "playback_events_2026_01_old", "ad_impressions_2026_01", "playback_events_2026_01\n"],
)  # fmt: skip
def test_other_names_are_no_months(name: str) -> None:
    assert Month.of_table(name) is None


def test_a_month_is_that_of_utc_whatever_the_offset() -> None:
    first_hour_in_berlin = datetime(2026, 12, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert Month.of(first_hour_in_berlin) == Month(2026, 11)


def test_a_naive_time_has_no_month() -> None:
    with pytest.raises(ValueError, match="naive"):
        Month.of(datetime(2026, 11, 22))  # noqa: DTZ001  the point of the test


def test_missing_are_this_month_and_those_ahead_that_are_not_there() -> None:
    existing = {THIS_MONTH, Month(2027, 1)}
    assert months_missing(existing, THIS_MONTH, ahead_months=3) == [Month(2026, 12), Month(2027, 2)]
    assert months_missing(set(), THIS_MONTH, ahead_months=0) == [THIS_MONTH]
    assert months_missing({THIS_MONTH.plus(i) for i in range(4)}, THIS_MONTH, ahead_months=3) == []


def test_months_ahead_are_counted_up_to_the_first_gap() -> None:
    assert months_ahead({THIS_MONTH, THIS_MONTH.plus(1), THIS_MONTH.plus(3)}, THIS_MONTH) == 1
    assert months_ahead({THIS_MONTH.plus(1)}, THIS_MONTH) == -1


def test_the_horizon_lies_the_door_limit_the_spool_age_and_a_day_back() -> None:
    assert horizon(NOW, DOOR_LIMIT, timedelta(days=0)) == Month(2026, 10)
    assert horizon(datetime(2026, 12, 6, tzinfo=UTC), DOOR_LIMIT, timedelta(0)) == Month(2026, 10)  # 31 October
    assert horizon(datetime(2026, 12, 7, tzinfo=UTC), DOOR_LIMIT, timedelta(0)) == Month(2026, 11)  # 1 November
    assert horizon(datetime(2026, 12, 7, tzinfo=UTC), DOOR_LIMIT, timedelta(seconds=1)) == Month(2026, 10)


@given(moments.filter(lambda moment: moment.year > 1971), st.integers(0, 40), st.integers(0, 60))
def test_whatever_the_door_took_may_still_get_its_month(now: datetime, age_days: int, spooled_days: int) -> None:
    occurred_at = now - timedelta(days=min(age_days, DOOR_LIMIT.days) + spooled_days)
    assert may_be_made(Month.of(occurred_at), now, horizon(now, DOOR_LIMIT, timedelta(days=spooled_days)))


def test_no_month_is_made_below_the_horizon_or_beyond_the_next() -> None:
    oldest = horizon(NOW, DOOR_LIMIT, timedelta(0))
    assert not may_be_made(oldest.plus(-1), NOW, oldest)
    assert may_be_made(oldest, NOW, oldest)
    assert may_be_made(THIS_MONTH.plus(1), NOW, oldest)
    assert not may_be_made(THIS_MONTH.plus(2), NOW, oldest)


def test_a_month_expires_when_its_last_event_is_older_than_the_retention() -> None:
    existing = {Month(2025, 9), Month(2025, 10), Month(2025, 8)}
    end_of_september = datetime(2025, 10, 1, tzinfo=UTC)
    just_over = end_of_september + timedelta(days=400)
    oldest = Month(2026, 9)
    assert months_expired(existing, just_over, 400, oldest) == [Month(2025, 8), Month(2025, 9)]
    assert months_expired(existing, just_over - timedelta(microseconds=1), 400, oldest) == [Month(2025, 8)]


def test_a_month_that_could_be_made_again_is_never_dropped() -> None:
    existing = {Month(2026, 8), Month(2026, 9), Month(2026, 10)}
    assert months_expired(existing, NOW, 1, oldest_made=Month(2026, 9)) == [Month(2026, 8)]


def test_a_retention_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="retention"):
        months_expired(set(), NOW, 0, THIS_MONTH)
