"""What the store holds, read in one snapshot: positions with their totals, and every row of a month with its hash."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import NamedTuple

import asyncpg
import msgspec

from ingest import tuple as copy_tuple
from ingest.spool.frame import MASK
from storage.playback_rows import PlaybackRows
from storage.postgres import loaded
from storage.postgres.partition_keeper import existing_months
from storage.postgres.totals import Books

COPY_HEAD_BYTES = 19
"""Signature, flags and extension length of binary COPY (PostgreSQL, COPY, File Formats)."""
COLUMN_LIST = ", ".join(f'"{column.name}"' for column in copy_tuple.COLUMNS)

VIEWS = """
SELECT content_id, (floor(extract(epoch FROM first_play) / 3600))::bigint AS hour, count(*) AS views FROM (
    SELECT e.session_id, e.content_id, min(
        CASE WHEN abs(extract(epoch FROM e.received_at - e.sent_at)) > $1
             THEN e.received_at + least(coalesce(r.raw_occurred_at, e.occurred_at) - e.sent_at, $3::interval)
             ELSE e.occurred_at END) AS first_play
    FROM playback_events e
    LEFT JOIN clock_repairs r ON r.event_id = e.event_id AND r.occurred_at = e.occurred_at
    WHERE e.event_type = 'play' AND NOT e.test AND e.received_at >= $4
    GROUP BY 1, 2) plays
WHERE first_play >= $2 GROUP BY 1, 2
"""
"""A view is a (session, content), counted in the hour of its earliest play by corrected time (DESIGN §4). Written apart
from what counts in Redis (storage.redis.sign), so that the one shows errors of the other."""

AD_EVENTS = """
SELECT (SELECT coalesce(sum(events), 0) FROM ad_impressions)::bigint - (SELECT events FROM ad_events_adopted)
"""
"""Those of rows that were there before the merge were booked by nobody."""


class StoredPosition(NamedTuple):
    """Where the store stands in one incarnation."""

    incarnation: str
    sequence: int
    totals: Books


class Audit:
    """A read-only snapshot of the store: `async with Audit(url) as audit`. Raises asyncpg and OS errors.

    With `rows` of another store, views are those of the rows that it received `since_us`; raises its errors, too.
    """

    def __init__(self, url: str, rows: PlaybackRows | None = None, since_us: int = 0) -> None:
        self._url = url
        self._rows = rows
        self._since_us = since_us

    async def __aenter__(self) -> "Audit":
        # in UTC, where a day has 24 hours: times are added up below
        self._connection = await asyncpg.connect(self._url, timeout=10, server_settings={"timezone": "UTC"})
        if self._rows is not None:
            try:
                await loaded.load(self._connection, self._rows, await self._rows.repairs(), self._since_us)
            except BaseException:
                self._connection.terminate()
                raise
        self._snapshot = self._connection.transaction(isolation="repeatable_read", readonly=True)
        await self._snapshot.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def sums(self, since_us: int) -> tuple[dict[str, int], dict[tuple[str, int], int]]:
        """Where the reader of views is, incarnation → sequence; and its sums, (content, hour since 1970) → views."""
        reached = await self._connection.fetch(
            "SELECT incarnation, sequence FROM ingest_positions WHERE reader = 'derived' AND sequence > 0"
        )
        rows = await self._connection.fetch(
            "SELECT content_id, extract(epoch FROM hour)::bigint / 3600 AS hour, views FROM content_views_hourly"
            " WHERE hour >= $1 AND views > 0",
            _moment(since_us),
        )
        return (
            {row["incarnation"].hex: row["sequence"] for row in reached},
            {(str(row["content_id"]), row["hour"]): row["views"] for row in rows},
        )

    async def positions(self) -> list[StoredPosition]:
        """Of every incarnation the store has heard of."""
        rows = await self._connection.fetch(
            "SELECT incarnation, sequence, totals FROM ingest_positions WHERE reader = 'postgres' ORDER BY incarnation"
        )
        return [
            StoredPosition(row["incarnation"].hex, row["sequence"], msgspec.json.decode(row["totals"], type=Books))
            for row in rows
        ]

    async def months(self) -> list[str]:
        """YYYY-MM of every month that has a partition."""
        return sorted(f"{month.year:04d}-{month.month:02d}" for month in await existing_months(self._connection))

    async def removed_months(self) -> set[str]:
        """YYYY-MM that retention has dropped."""
        rows = await self._connection.fetch("SELECT DISTINCT month FROM ingest_removals")
        return {row["month"].strftime("%Y-%m") for row in rows}

    async def has_rows(self) -> bool:
        """Whether there are rows of playback events."""
        return any([
            await self._connection.fetchval(f"SELECT EXISTS (SELECT FROM playback_events_{month.replace('-', '_')})")
            for month in await self.months()
        ])  # fmt: skip

    async def ad_events(self) -> int:
        """That the rows of ad_impressions hold, repeats left out."""
        number: int = await self._connection.fetchval(AD_EVENTS)
        return number

    async def rows(self, month: str, take: Callable[[list[bytes]], None]) -> None:
        """Every row of YYYY-MM as its COPY tuple, in no order, handed to `take` some at a time."""
        await read_rows(self._connection, f"playback_events_{month.replace('-', '_')}", take)

    async def repairs(self) -> dict[tuple[bytes, int], int]:
        """(event id, raw time in µs) → the time under which the row is stored, for players with broken clocks."""
        rows = await self._connection.fetch("SELECT event_id, raw_occurred_at, occurred_at FROM clock_repairs")
        return {(row["event_id"].bytes, _us(row["raw_occurred_at"])): _us(row["occurred_at"]) for row in rows}

    async def views(self, since_us: int, received_since_us: int) -> dict[tuple[str, int], int]:
        """(content, hour since 1970) → views since then, computed from rows received since then."""
        ahead_max = timedelta(microseconds=copy_tuple.CORRECTED_AHEAD_MAX_US)
        moments = _moment(since_us), ahead_max, _moment(received_since_us)
        rows = await self._connection.fetch(VIEWS, copy_tuple.CLOCK_TOLERANCE_US // 1_000_000, *moments)
        return {(str(row["content_id"]), row["hour"]): row["views"] for row in rows}


async def read_rows(connection: asyncpg.Connection, table: str, take: Callable[[list[bytes]], None]) -> None:
    """Every row of a month's table as its COPY tuple, in no order, handed to `take` some at a time."""
    rest = b""
    skip = COPY_HEAD_BYTES

    async def receive(chunk: bytes) -> None:
        nonlocal rest, skip
        rest += chunk
        if skip and len(rest) >= skip:
            rest, skip = rest[skip:], 0
        if not skip:
            tuples, rest = split(rest)
            take(tuples)

    await connection.copy_from_query(f"SELECT {COLUMN_LIST} FROM {table}", output=receive, format="binary")


async def row_hash_sum(connection: asyncpg.Connection, table: str) -> int:
    """Sum of the hashes of the rows of a month's table, modulo 2^64. Raises the driver's errors."""
    total = 0

    def add(rows: list[bytes]) -> None:
        nonlocal total
        total = (total + sum(map(copy_tuple.row_hash, rows))) & MASK

    await read_rows(connection, table, add)
    return total


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole tuples at the begin of a COPY stream, and the rest. The trailer (-1) ends the list."""
    result: list[bytes] = []
    at, size = 0, len(data)
    while at + 2 <= size:
        count = int.from_bytes(data[at : at + 2], "big", signed=True)
        if count < 0:
            return result, b""
        end = at + 2
        for _ in range(count):
            if end + 4 > size:
                return result, data[at:]
            length = int.from_bytes(data[end : end + 4], "big", signed=True)
            end += 4 + (length if length > 0 else 0)
        if end > size:
            break
        result.append(data[at:end])
        at = end
    return result, data[at:]


def _moment(epoch_us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=epoch_us)


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
