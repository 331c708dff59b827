"""Retention of ad_impressions and ad_frequencies: what is over goes, some thousand rows a transaction, and is booked.

Figures of campaigns stay: they are sums. An impression is over by the receipt of its first event, and never sooner than
the door would still take another event of it: that one would find no row, and be counted once more.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from storage.postgres.job import JobFailed

AT_ONCE: Final = 5_000
"""Rows a transaction, which no merge goes beside: some 50 ms."""
REST: Final = 3.0
"""Between transactions, in their durations: who merges goes first."""
TURN_TIMEOUT: Final = "10s"
PARTITIONS: Final = tuple(f"ad_impressions_p{part}" for part in range(8))
DOOR_MARGIN: Final = timedelta(days=31)
"""Of the door limit: for what lies in a spool, and clocks."""
MONTH: Final = timedelta(days=31)

TAKE_SQL: Final = """
WITH gone AS (
    DELETE FROM {partition} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {partition} WHERE received_at < $1 LIMIT $2))
    RETURNING events
), booked AS (
    UPDATE ad_events_adopted SET events = events - (SELECT coalesce(sum(gone.events), 0) FROM gone)
     WHERE EXISTS (SELECT FROM gone)
)
SELECT count(*) FROM gone
"""
"""`verify` takes the events of ad_events_adopted from those of the rows: what goes here goes there as well."""
IS_OLDER_SQL: Final = "SELECT EXISTS (SELECT FROM ad_impressions WHERE received_at < $1)"
BLOCKS: Final = 1_024
"""Of ad_frequencies, looked through at once: no index of it knows a day, and its own key does without another."""
BLOCKS_SQL: Final = "SELECT pg_relation_size('ad_frequencies') / current_setting('block_size')::bigint"
FREQUENCIES_SQL: Final = """
DELETE FROM ad_frequencies
 WHERE ctid >= format('(%s,0)', $2::bigint)::tid AND ctid < format('(%s,0)', $3::bigint)::tid AND day < $1::date
"""


class AdRetention:
    """The work of a daily job. `retention_days`: as of playback events; `door_past_s`: how old an event may come;
    `months_max`: what lies further back than so many months before the first that is due is rather a wrong clock's.
    """

    def __init__(self, retention_days: int, door_past_s: int, months_max: int) -> None:
        self._late = timedelta(seconds=door_past_s) + DOOR_MARGIN
        self._kept = max(timedelta(days=retention_days), self._late)
        self._months_max = months_max

    async def run(self, connection: asyncpg.Connection, now: datetime) -> str:
        """Take what is over by the earlier of `now` and PostgreSQL's clock; what was taken, for people.

        Raises JobFailed, and takes nothing, where more is due than months go by; the driver's errors.
        """
        horizon = min(now, await connection.fetchval("SELECT clock_timestamp()")) - self._kept
        if await self._is_older(connection, horizon - self._months_max * MONTH):
            raise JobFailed(
                f"Impressions of more than {self._months_max} months are due before {horizon:%Y-%m-%d}: is the clock "
                "right? If it is, set postgres.drop_months_max until they are gone."
            )
        impressions = 0
        for partition in PARTITIONS:
            impressions += await self._taken(connection, TAKE_SQL.format(partition=partition), horizon)
        frequencies = await self._forgotten(connection, horizon)
        return f"{impressions} impressions and {frequencies} frequencies of before {horizon:%Y-%m-%d} taken"

    async def _is_older(self, connection: asyncpg.Connection, than: datetime) -> bool:
        async with connection.transaction():
            await connection.execute("SET LOCAL enable_seqscan = off")  # the BRIN knows
            is_older: bool = await connection.fetchval(IS_OLDER_SQL, than)
        return is_older

    async def _taken(self, connection: asyncpg.Connection, take: str, horizon: datetime) -> int:
        """Of one partition."""
        total = 0
        while True:
            began_s = time.monotonic()
            async with connection.transaction():
                await connection.execute(
                    f"SET LOCAL statement_timeout = '{TURN_TIMEOUT}'; SET LOCAL enable_seqscan = off"
                )
                # the turn of who merges: what a merge read of a row is there when it writes it
                await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('ad_impressions', 0))")
                taken: int = await connection.fetchval(take, horizon, AT_ONCE)
            total += taken
            if taken < AT_ONCE:
                return total
            await asyncio.sleep((time.monotonic() - began_s) * REST)

    async def _forgotten(self, connection: asyncpg.Connection, horizon: datetime) -> int:
        """Days on which no impression lies that is still there, and that an event could move."""
        day, total = (horizon - self._late).date(), 0
        blocks: int = await connection.fetchval(BLOCKS_SQL)
        for first in range(0, blocks, BLOCKS):
            began_s = time.monotonic()
            status = await connection.execute(FREQUENCIES_SQL, day, first, first + BLOCKS)
            total += int(status.split()[-1])
            await asyncio.sleep((time.monotonic() - began_s) * REST)
        return total
