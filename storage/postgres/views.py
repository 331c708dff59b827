"""Views by content and hour in PostgreSQL: view_firsts remembers the earliest play of each, content_views_hourly their
sums. All of it happens in the caller's transaction, after `take_turn`; everything raises the driver's errors."""

from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from ingest.tuple import CLOCK_TOLERANCE_US, CORRECTED_AHEAD_MAX_US
from storage.postgres.statement import STATEMENTS

COUNT_FRAMES: Final = STATEMENTS["count_views"].format(sent=STATEMENTS["views_of_frames"].rstrip(";"))
_OF_TABLE: Final = STATEMENTS["views_of_table"].rstrip(";")
_AND_STOOD: Final = f"{STATEMENTS['stood_of_store'].rstrip(';')}, {_OF_TABLE}"
COUNT_LOADED: Final = STATEMENTS["count_views"].format(sent=_OF_TABLE)
COUNT_TABLE: Final = STATEMENTS["count_views"].format(sent=_AND_STOOD)

FORGOTTEN_MAX: Final = 10_000
"""Views a statement: some 50 ms of the server."""


async def take_turn(connection: asyncpg.Connection) -> None:
    """Wait until no other transaction counts views."""
    await connection.execute(STATEMENTS["views_turn"])


async def count(connection: asyncpg.Connection, packed: bytes, kept: range) -> int:
    """Count views, packed as `storage.redis.sign.VIEW`, in any order and as often as they come; how many were new or
    moved. Those in hours that are not `kept` (since 1970 UTC) are remembered and counted nowhere."""
    return int(await connection.fetchval(COUNT_FRAMES, kept.start, kept.stop, packed))


async def count_stored(
    connection: asyncpg.Connection, since_us: int, kept: range, timeout_s: float, *, loaded: bool = False
) -> int:
    """The same for all plays that are stored and were received since then (microseconds since 1970); the positions of
    `derived` become those of `postgres`, as the same snapshot has them, where they are behind these. Not so of rows
    that were `loaded`."""
    since = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=since_us)
    ahead_max = timedelta(microseconds=CORRECTED_AHEAD_MAX_US)
    bounds = (kept.start, kept.stop, CLOCK_TOLERANCE_US // 1_000_000, ahead_max, since)
    return int(await connection.fetchval(COUNT_LOADED if loaded else COUNT_TABLE, *bounds, timeout=timeout_s))


async def forget(connection: asyncpg.Connection, before: datetime) -> int:
    """Forget at most FORGOTTEN_MAX views that were settled before then; how many. Sums stay. Needs no turn."""
    status = await connection.execute(STATEMENTS["forget_views"], before, FORGOTTEN_MAX)
    return int(status.split()[-1])
