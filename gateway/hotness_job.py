"""How much contents are watched, every minute: from Redis's hourly counts into content_hotness.

Redis counts first, as it is a moment behind the players. The hourly sums in SQL are the second path: they are compared
with it in each turn (`ingest_hotness_difference_ratio`), and take its place after FAILURES_MAX turns without it.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from config.hotness import HotnessSettings
from ingest.clock import Clock
from live import views
from live.source import Source, Unavailable
from storage import metrics, reader_status
from storage.hotness import HourlyViews, Views, difference
from storage.postgres.job import STATEMENTS, JobFailed
from storage.redis.key import hour_of

log: Any = structlog.get_logger()

EVERY_S: Final = 60.0
FAILURES_MAX: Final = 3
"""Turns without Redis until SQL says it: a rebuild takes less."""
HOURS_MAX: Final = 60
ENTRIES_AT_ONCE: Final = 20_000
"""Read by one transaction of Redis, which does nothing else meanwhile: some 10 ms. The first one, of who knows how many
contents, is of one hour."""
DERIVED_BEHIND_MAX_S: Final = 30.0
"""Sums that are further behind are not compared, and are nobody's second path."""


class HotnessJob:
    """`source`: of live numbers, which knows whether Redis's counts are right."""

    def __init__(self, source: Source, data_dir: Path, settings: HotnessSettings, clock: Clock) -> None:
        self._source = source
        self._data_dir = data_dir
        self._settings = settings
        self._clock = clock
        self._hourly = HourlyViews()
        self._registration: bytes | None = None
        self._failures = 0
        self._at_once = 1
        """Hours that are read together."""

    async def run(self, connection: asyncpg.Connection) -> str:
        """One turn. Raises JobFailed, StoreError, the driver's errors."""
        now_us = self._clock.now_us()
        as_of = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now_us)
        try:
            found = await self._counted(hour_of(now_us))
        except Unavailable as unavailable:
            self._failures += 1
            metrics.HOTNESS_DIFFERENCE.set(float("nan"))
            return await self._from_sums(connection, as_of, unavailable.message)
        self._failures = 0
        changed = await connection.fetchval(STATEMENTS["write_hotness"], *_columns(found), *self._numbers())
        if not self._sums_are_complete():
            metrics.HOTNESS_DIFFERENCE.set(float("nan"))
            return f"from Redis: {len(found)} contents, {changed} rows changed; the sums in SQL are behind"
        sums = await connection.fetch(STATEMENTS["views_in_windows"], as_of)
        apart = difference(
            {content: of.of_30d for content, of in found.items()},
            {one["content_id"]: one["views_30d"] for one in sums},
        )
        metrics.HOTNESS_DIFFERENCE.set(apart)
        return f"from Redis: {len(found)} contents, {changed} rows changed; the sums in SQL differ by {apart:.3%}"

    async def _counted(self, hour: int) -> dict[str, Views]:
        """Raises Unavailable."""
        due = self._hourly.due(hour)
        while due:
            part, due = due[-self._at_once :], due[: -self._at_once]

            async def ask(client: Any, _: int, part: list[int] = part) -> tuple[dict[int, dict[str, int]], bytes]:
                registration, read = await views.of_hours(client, part)
                if registration is None:
                    raise Unavailable("counters_unavailable", "Redis holds no counts.")
                return read, registration

            read, registration = await self._source.read_under(ask)
            if registration != self._registration:  # begun anew: nothing that was read before is true
                self._registration = registration
                self._hourly.forget()
                due = [at for at in self._hourly.due(hour) if at not in part]
            self._hourly.take(read)
            busiest = max(map(len, read.values()), default=0)
            self._at_once = max(1, min(HOURS_MAX, 2 * self._at_once, ENTRIES_AT_ONCE // max(busiest, 1)))
        # in a thread: of a large catalogue it takes seconds, in which signs and views have to be counted here
        return await asyncio.to_thread(self._hourly.views, hour)

    async def _from_sums(self, connection: asyncpg.Connection, as_of: datetime, why: str) -> str:
        if self._failures < FAILURES_MAX:
            raise JobFailed(f"{why} content_hotness stays as it was.")
        if not self._sums_are_complete():
            raise JobFailed(f"{why} The sums in SQL are behind, too; content_hotness stays as it was.")
        changed = await connection.fetchval(STATEMENTS["update_hotness"], as_of, *self._numbers())
        return f"from the sums in SQL: {changed} rows changed. {why}"

    def _sums_are_complete(self) -> bool:
        status = reader_status.read(self._data_dir, "derived")
        if status is None or status.state != "running":
            return False
        return status.behind_s(self._clock.now_us()) < DERIVED_BEHIND_MAX_S

    def _numbers(self) -> tuple[Any, ...]:
        of = self._settings
        ttls = of.ttl_global_s, of.ttl_regional_s, of.ttl_on_demand_s
        # as they are written: 0.8 in binary is a little more, and a score of exactly 0.8 would miss it
        return of.divisor, Decimal(str(of.score_global)), Decimal(str(of.score_regional)), *ttls


def _columns(found: dict[str, Views]) -> tuple[list[UUID], list[int], list[int], list[int]]:
    counts = found.values()
    return (
        [UUID(content) for content in found],
        [of.of_24h for of in counts],
        [of.of_7d for of in counts],
        [of.of_30d for of in counts],
    )
