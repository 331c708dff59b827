"""Views and watch history counted anew from another store's rows, piece by piece: each is one transaction, which says
that it is done, so whoever is stopped in the middle goes on there. Everything raises the driver's errors, and those of
the other store.
"""

from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
import structlog
from msgspec import Struct

from ingest.spool.disk import Disk
from storage.playback_rows import PlaybackRows
from storage.postgres import loaded, positions, views, watch_history
from storage.postgres.statement import STATEMENTS
from storage.redis.gap import first_gap
from storage.redis.key import counted_hours
from storage.redis.rebuild import rows_since_us
from storage.sink import SinkLost

log: Any = structlog.get_logger()

PIECES: Final = 16
"""Of all rows: what is read again by who is stopped, and what lies in temporary tables at once."""


class Progress(Struct, frozen=True):
    """Of a backfill that was begun and is not over; kept as the totals of a position of its own."""

    since_us: int
    stood: dict[str, int]
    """Incarnation → next sequence, as the store stood when it began: from there on, frames bring the rest."""
    done: int = 0


async def unfinished(connection: asyncpg.Connection, rows: PlaybackRows) -> Progress | None:
    """One that was stopped in the middle."""
    found = await connection.fetchval(STATEMENTS["backfill"], UUID(await rows.identity()))
    return msgspec.json.decode(found, type=Progress) if found is not None else None


async def run(
    connection: asyncpg.Connection,
    rows: PlaybackRows,
    reader: str,
    spool: Path,
    disk: Disk,
    now_us: int,
    memory_s: int,
    timeout_s: float,
) -> tuple[int, int]:
    """To its end; how many views and watch positions were merged. Positions of `reader` are where the store stood.

    Raises SinkLost when the spool lacks what the store does not have either.
    """
    owner = UUID(await rows.identity())
    progress = await unfinished(connection, rows)
    if progress is None or first_gap(disk, spool, progress.stood) is not None:
        progress = Progress(rows_since_us(now_us, memory_s), await rows.positions())
        gap = first_gap(disk, spool, progress.stood)
        if gap is not None:
            raise SinkLost(f"rebuild_needed: the store lacks what the spool no longer has: {gap}")
    if not progress.stood:  # then all of its rows are in the spool still; those of others are theirs to count
        async with connection.transaction():
            await _begin(connection, reader)
        return 0, 0
    repairs = await rows.repairs()
    counted = watched = 0
    for piece in range(progress.done, PIECES):
        await loaded.load(connection, rows, repairs, progress.since_us, piece, PIECES)
        async with connection.transaction():
            await _begin(connection, reader)
            hours = counted_hours(now_us)
            counted += await views.count_stored(connection, progress.since_us, hours, timeout_s, loaded=True)
            watched += await watch_history.apply_stored(connection, progress.since_us, timeout_s)
            progress = msgspec.structs.replace(progress, done=piece + 1)
            if progress.done < PIECES:
                await connection.execute(STATEMENTS["keep_backfill"], owner, msgspec.json.encode(progress).decode())
            else:
                await positions.raise_to(connection, reader, progress.stood)
                await connection.execute(STATEMENTS["end_backfill"], owner)
        log.info("derived_backfill", done=progress.done, pieces=PIECES)
    await loaded.unload(connection)
    return counted, watched


async def _begin(connection: asyncpg.Connection, reader: str) -> None:
    """Of a transaction that counts: nobody else does now, and what the first of all nodes found is forgotten."""
    await views.take_turn(connection)
    if await connection.fetchval(STATEMENTS["registration"], reader) is None:
        await connection.execute(STATEMENTS["forget_everything"])
        await connection.execute(STATEMENTS["register"], reader)
