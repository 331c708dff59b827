"""What people and services ask of the events in CQL, each by the table made for it: partitions side by side, merged.

A time is microseconds since 1970 UTC; a span begins with `since_us` and ends before `until_us`. Every read has a limit:
of more events, the newest are given (of a session, the first).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from storage.scylla.bucket import DAY_US, EDGE_BUCKETS, HOUR_US, buckets_of_hour, day_of, hour_of
from storage.scylla.columns import BY_PROFILE, BY_SESSION, ERRORS, RECORD, Table
from storage.scylla.content_buckets import ContentBuckets
from storage.scylla.driver import Driver, Row, Value

LIMIT: Final = 1_000
TOGETHER_MAX: Final = 64
"""Partitions read at once."""

DEVIATIONS: Final = 4
"""By how many a partition may have more than twice its share of rows without being asked again."""

Key = tuple[Value, ...]
"""Of a partition."""
Event = dict[str, Value]
"""Column → value; uuids as text of 36 characters."""
Keys = Sequence[Key]
"""Of the partitions of one hour or day: all that is in the next ones is later, or all is earlier."""

_SPAN: Final = "occurred_at_us >= ? AND occurred_at_us < ? LIMIT ?"


def _select(names: Sequence[str], table: Table, key: Sequence[str]) -> str:
    return (
        f"SELECT {', '.join(names)} FROM {table.name} WHERE {' AND '.join(f'{name} = ?' for name in key)} AND {_SPAN}"
    )


_PROFILE: Final = (*BY_PROFILE.always, *BY_PROFILE.optional)
_ERROR: Final = (*ERRORS.always, *ERRORS.optional)
_OF_SESSION: Final = _select(RECORD, BY_SESSION, ("session_id", "hour"))
_OF_CONTENT: Final = (
    f"SELECT {', '.join(RECORD)} FROM events_by_content WHERE content_id = ? AND day = ? AND bucket = ? AND {_SPAN}"
)
_OF_PROFILE: Final = _select(_PROFILE, BY_PROFILE, ("profile_id", "day"))
_OF_EDGE: Final = _select(_ERROR, ERRORS, ("cdn_edge", "hour", "bucket"))


class EventReads:
    """Of one keyspace. Every method may raise CqlError."""

    def __init__(self, driver: Driver, buckets: ContentBuckets) -> None:
        self._driver = driver
        self._buckets = buckets

    async def session(self, session_id: UUID, since_us: int, until_us: int, limit: int = LIMIT) -> list[Event]:
        """Its timeline, oldest first."""
        hours = _numbers(hour_of, since_us, until_us)
        keys = ([(str(session_id), hour)] for hour in hours)
        rows = await self._rows(_OF_SESSION, _one_by_one(keys), since_us, until_us, limit)
        return _events(RECORD, rows, limit, newest_first=False)

    async def content(self, content_id: UUID, since_us: int, until_us: int, limit: int = LIMIT) -> list[Event]:
        """What happened around it, newest first."""

        async def keys() -> AsyncIterator[Keys]:
            for day in reversed(_numbers(day_of, since_us, until_us)):
                buckets = await self._buckets.of_day(day)
                if buckets is None:
                    continue
                begin_us, end_us = max(day * DAY_US, since_us), min((day + 1) * DAY_US, until_us)
                for hour in reversed(_numbers(hour_of, begin_us, end_us)):
                    numbers = buckets_of_hour(hour * HOUR_US, buckets.of(content_id.bytes))
                    yield [(str(content_id), day, number) for number in numbers]

        return _events(RECORD, await self._newest(RECORD, _OF_CONTENT, keys(), since_us, until_us, limit), limit)

    async def profile(self, profile_id: UUID, since_us: int, until_us: int, limit: int = LIMIT) -> list[Event]:
        """What it did, newest first."""
        days = reversed(_numbers(day_of, since_us, until_us))
        keys = ([(str(profile_id), day)] for day in days)
        return _events(_PROFILE, await self._rows(_OF_PROFILE, _one_by_one(keys), since_us, until_us, limit), limit)

    async def errors(self, cdn_edge: str, since_us: int, until_us: int, limit: int = LIMIT) -> list[Event]:
        """What failed there, newest first; `cdn_edge` "": where players did not say one."""
        hours = reversed(_numbers(hour_of, since_us, until_us))
        keys = ([(cdn_edge, hour, bucket) for bucket in range(EDGE_BUCKETS)] for hour in hours)
        found = await self._newest(_ERROR, _OF_EDGE, _one_by_one(keys), since_us, until_us, limit)
        return _events(_ERROR, found, limit)

    async def _newest(
        self, names: Sequence[str], cql: str, hours: AsyncIterator[Keys], since_us: int, until_us: int, limit: int
    ) -> list[Row]:
        """Of the partitions of these hours, the latest first: some of them, then twice as many, until it is enough.

        Which of an hour's rows a partition has is by a hash, so each is asked for twice its share (an hour may have all
        of them, and its neighbour none) and some more; the few that may have more of the newest are asked again.
        """
        time: Callable[[Row], Any] = itemgetter(names.index("occurred_at_us"))
        found: list[Row] = []

        async def read(keys: Keys) -> None:
            share = -(-limit // len(keys))
            share = min(limit, 2 * share + DEVIATIONS * math.isqrt(2 * share))
            parts = await self._parts(cql, keys, since_us, until_us, share)
            times_us = sorted((time(row) for part in parts for row in part), reverse=True)
            least_us = times_us[limit - 1] if len(times_us) >= limit else since_us
            more = [
                number for number, part in enumerate(parts) if len(part) == share < limit and time(part[-1]) >= least_us
            ]
            again = await self._parts(cql, [keys[number] for number in more], since_us, until_us, limit)
            for number, part in zip(more, again, strict=True):
                parts[number] = part
            found.extend(row for part in parts for row in part)

        waiting: list[Key] = []
        enough = TOGETHER_MAX // 2
        async for of_hour in hours:
            waiting += of_hour
            if len(waiting) > enough:
                await read(waiting)
                waiting, enough = [], min(2 * len(waiting), TOGETHER_MAX**2)
                if len(found) >= limit:
                    return found
        if waiting:
            await read(waiting)
        return found

    async def _rows(self, cql: str, keys: AsyncIterator[Keys], since_us: int, until_us: int, limit: int) -> list[Row]:
        """Of these partitions, some at a time, until there are enough: `keys` come in the order of what is given."""
        rows: list[Row] = []
        waiting: list[Key] = []
        async for of_one_time in keys:
            waiting += of_one_time
            if len(waiting) >= TOGETHER_MAX:
                rows += (row for part in await self._parts(cql, waiting, since_us, until_us, limit) for row in part)
                waiting = []
                if len(rows) >= limit:
                    return rows
        rows += (row for part in await self._parts(cql, waiting, since_us, until_us, limit) for row in part)
        return rows

    async def _parts(self, cql: str, keys: Keys, since_us: int, until_us: int, limit: int) -> list[list[Row]]:
        """By partition, at most `limit` of each."""
        together = asyncio.Semaphore(TOGETHER_MAX)

        async def read(key: Key) -> list[Row]:
            async with together:
                return await self._driver.execute(cql, [*key, since_us, until_us, limit])

        await self._driver.prepare(cql)  # once, before many ask for it
        return await asyncio.gather(*map(read, keys))


def _numbers(of: Callable[[int], int], since_us: int, until_us: int) -> range:
    """Hours or days of a span."""
    return range(of(since_us), of(until_us - 1) + 1)


async def _one_by_one(keys: Iterable[Keys]) -> AsyncIterator[Keys]:
    for some in keys:
        yield some


def _events(names: Sequence[str], rows: list[Row], limit: int, *, newest_first: bool = True) -> list[Event]:
    rows.sort(key=itemgetter(names.index("event_id")))
    rows.sort(key=itemgetter(names.index("occurred_at_us")), reverse=newest_first)
    return [dict(zip(names, row, strict=True)) for row in rows[:limit]]
