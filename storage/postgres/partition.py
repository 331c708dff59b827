"""Months of playback_events, as values: which there should be, which may still be made, which are over. All in UTC.

    ◀── dropped ──┤ retention ├───── kept ─────┤ horizon ├── made when a late event needs it ── now ── made ahead

A month is dropped only below the horizon, so a month that was dropped is never made again.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

TABLE = "playback_events"

POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01 UTC in microseconds since 1970: where PostgreSQL's binary timestamps begin."""

HORIZON_MARGIN_DAYS = 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(rf"{TABLE}_([0-9]{{4}})_(0[1-9]|1[0-2])")


class Month(NamedTuple):
    """A calendar month in UTC; compares by time. Years 1 to 9999, months 1 to 12."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        """The month of an aware datetime. Raises ValueError for a naive one, whose month is anybody's guess."""
        if moment.tzinfo is None:
            raise ValueError("a naive datetime has no month in UTC")
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    @classmethod
    def of_epoch_us(cls, epoch_us: int) -> Month:
        """The month of microseconds since 1970. Raises OverflowError outside the years 1 to 9999."""
        return cls.of(_EPOCH + timedelta(microseconds=epoch_us))

    @classmethod
    def of_postgres_us(cls, postgres_us: int) -> Month:
        """The month of microseconds since 2000, as they stand in a COPY tuple. Raises as `of_epoch_us`."""
        return cls.of_epoch_us(postgres_us + POSTGRES_EPOCH_US)

    @classmethod
    def of_table(cls, name: str) -> Month | None:
        """The month of a partition's name without its schema, None when it is not such a name."""
        match = _NAME.fullmatch(name)
        return cls(int(match[1]), int(match[2])) if match and match[1] != "0000" else None

    def plus(self, months: int) -> Month:
        """The month so many later, or earlier when negative."""
        years, month0 = divmod(self.month - 1 + months, 12)
        return Month(self.year + years, month0 + 1)

    @property
    def table(self) -> str:
        """The name of its partition, as ensure_month_partition() gives it."""
        return f"{TABLE}_{self.year:04d}_{self.month:02d}"

    @property
    def first_day(self) -> date:
        """What ensure_month_partition() takes."""
        return date(self.year, self.month, 1)

    @property
    def start(self) -> datetime:
        """Its first moment."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment that is no longer in it."""
        return self.plus(1).start

    @property
    def bounds_epoch_us(self) -> tuple[int, int]:
        """Start and end in microseconds since 1970: start <= t < end."""
        return (self.start - _EPOCH) // timedelta(microseconds=1), (self.end - _EPOCH) // timedelta(microseconds=1)

    @property
    def bounds_postgres_us(self) -> tuple[int, int]:
        """The same in microseconds since 2000, to compare with the bytes of a tuple."""
        start, end = self.bounds_epoch_us
        return start - POSTGRES_EPOCH_US, end - POSTGRES_EPOCH_US


def months_missing(existing: Collection[Month], this_month: Month, ahead_months: int) -> list[Month]:
    """This month and the next `ahead_months`, those that are not there, earliest first."""
    wanted = (this_month.plus(ahead) for ahead in range(ahead_months + 1))
    return [month for month in wanted if month not in existing]


def months_ahead(existing: Collection[Month], this_month: Month) -> int:
    """How many months after this one exist without a gap: the gauge to watch. -1 when this one itself is missing."""
    ahead = -1
    while this_month.plus(ahead + 1) in existing:
        ahead += 1
    return ahead


def horizon(now: datetime, door_limit: timedelta, spool_age_max: timedelta) -> Month:
    """The oldest month that is still made: below it nothing that the door took can arrive any more.

    An event may be `door_limit` old when it is acknowledged and lie in a spool for `spool_age_max`; a day is for
    clocks.
    """
    return Month.of(now - door_limit - spool_age_max - timedelta(days=HORIZON_MARGIN_DAYS))


def may_be_made(month: Month, now: datetime, oldest: Month) -> bool:
    """Whether a row of `month` may still get its partition: not below the horizon, at most a month ahead of now.

    The door lets a clock be a day ahead; past that a row would let whoever sent it make tables for ever.
    """
    return oldest <= month <= Month.of(now).plus(1)


def months_expired(existing: Collection[Month], now: datetime, retention_days: int, oldest_made: Month) -> list[Month]:
    """Months whose last event is older than the retention, earliest first; never one that could be made again.

    Raises ValueError for a retention of less than a day.
    """
    if retention_days < 1:
        raise ValueError("retention is at least a day")
    kept_from = now - timedelta(days=retention_days)
    return sorted(month for month in existing if month.end <= kept_from and month < oldest_made)
