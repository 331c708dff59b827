"""Into how many buckets the contents of a day are divided, as content_buckets says it: read once a day, then known.

The default of a day is written by whoever needs it first, by compare-and-set: one LWT a day, whatever players call
their contents. A content may be planned for more, but only for a day that no door takes an event for yet. So the number
of a content and day never changes once an event of it can have been written, and a changed setting is of days to come.
"""

from typing import Final
from uuid import UUID

from config.scylla import BUCKETS_MAX, ScyllaSettings
from storage.scylla.bucket import DAY_US, HOUR_US, day_of
from storage.scylla.driver import Driver

EVERY_CONTENT: Final = "00000000-0000-0000-0000-000000000000"
AHEAD_US: Final = DAY_US + HOUR_US
"""The door takes events of a day ahead; an hour more for gateways whose clocks differ."""
DAYS_MAX: Final = 1_000
"""Remembered; late events are of some forty."""

_ALL_OF_DAY: Final = "SELECT content_id, buckets FROM content_buckets WHERE day = ?"
_OPEN_DAY: Final = "INSERT INTO content_buckets (day, content_id, buckets) VALUES (?, ?, ?) IF NOT EXISTS"


class PlanRefused(Exception):
    """A content cannot be planned for this day."""


class DayBuckets:
    """Of one day."""

    __slots__ = ("default", "planned")

    def __init__(self, default: int, planned: dict[bytes, int]) -> None:
        self.default = default
        self.planned = planned
        """By the 16 bytes of a content's id."""

    def of(self, content_id: bytes) -> int:
        """`content_id`: its 16 bytes."""
        return self.planned.get(content_id, self.default)


class ContentBuckets:
    """Of all days, as one sink or one reader knows them."""

    def __init__(self, driver: Driver, settings: ScyllaSettings) -> None:
        self._driver = driver
        self._default = settings.content_buckets
        self.days: dict[int, DayBuckets] = {}

    async def open_day(self, day: int) -> DayBuckets:
        """The buckets of a day that events are written for; its default is made now if nobody did. Raises CqlError."""
        known = self.days.get(day)
        if known is not None:
            return known
        found = await self._read(day, consistency="LOCAL_SERIAL")
        if EVERY_CONTENT not in found:
            (answer,) = await self._driver.execute(_OPEN_DAY, [day, EVERY_CONTENT, self._default])
            found = await self._read(day, consistency="LOCAL_SERIAL")
            found.setdefault(EVERY_CONTENT, self._default if answer[0] else int(answer[-1] or 0))
        return self._known(day, found)

    async def of_day(self, day: int) -> DayBuckets | None:
        """The same to read by; None: nothing was written for that day. Raises CqlError."""
        if day in self.days:
            return self.days[day]
        found = await self._read(day)
        return self._known(day, found) if EVERY_CONTENT in found else None

    async def _read(self, day: int, *, consistency: str = "") -> dict[str, int]:
        """LOCAL_SERIAL: with what a compare-and-set that timed out has decided and not written yet."""
        found = await self._driver.execute(_ALL_OF_DAY, [day], consistency=consistency)
        return {str(content): int(buckets or 0) for content, buckets in found}

    def _known(self, day: int, found: dict[str, int]) -> DayBuckets:
        default = found.pop(EVERY_CONTENT)
        if len(self.days) >= DAYS_MAX:
            self.days.clear()
        self.days[day] = DayBuckets(default, {UUID(content).bytes: buckets for content, buckets in found.items()})
        return self.days[day]


async def plan(driver: Driver, content_id: UUID, day: int, buckets: int, now_us: int) -> None:
    """That content gets so many buckets an hour on that day. Raises PlanRefused, CqlError."""
    if not 1 <= buckets <= BUCKETS_MAX:
        raise PlanRefused(f"buckets are 1 to {BUCKETS_MAX}")
    if str(content_id) == EVERY_CONTENT:
        raise PlanRefused("this id stands for every content: their default is the setting scylla.content_buckets")
    if day <= day_of(now_us + AHEAD_US):
        raise PlanRefused("the day is open already: plan a content for the day after tomorrow or later")
    found = {content for content, _ in await driver.execute(_ALL_OF_DAY, [day])}
    if EVERY_CONTENT in found:
        raise PlanRefused("an event of that day was written already, by a gateway whose clock is ahead")
    await driver.execute(
        "INSERT INTO content_buckets (day, content_id, buckets) VALUES (?, ?, ?)", [day, str(content_id), buckets]
    )
