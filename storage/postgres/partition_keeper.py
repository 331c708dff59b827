"""Makes months of playback_events ahead of time and drops those that are over. Decisions are in `partition`.

Any number of gateways may run it on one database: making is settled inside ensure_month_partition(), dropping is done
by whoever holds the advisory lock, and the others come back later.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from storage.postgres.partition import TABLE, Month, months_expired, months_missing

_LOG = logging.getLogger(__name__)

_RETENTION_LOCK = 6_014_171_128_702_613  # any number, but the same in every release
_MARK = "expired: detached to be dropped"

RowHashSum = Callable[[asyncpg.Connection, str], Awaitable[int]]
"""(connection, table name) → sum of its rows' 64-bit hashes modulo 2^64."""


@dataclass(frozen=True)
class MonthDropped:
    """What retention removed with one month, as it is booked in ingest_removals."""

    month: Month
    rows: int
    clock_repairs: int
    row_hash_sum: int | None


async def existing_months(conn: asyncpg.Connection) -> set[Month]:
    """The months that have a partition into which rows can go."""
    return {month for month, pending in await _attached(conn) if not pending}


async def ensure_month(conn: asyncpg.Connection, month: Month) -> bool:
    """Makes the partition of a month; False when it was there. Whether it may be made, `may_be_made` says."""
    made: bool = await conn.fetchval("SELECT ensure_month_partition($1, $2)", TABLE, month.first_day)
    return made


async def ensure_ahead(conn: asyncpg.Connection, now: datetime, months_ahead: int = 3) -> list[Month]:
    """Makes this month and the next `months_ahead` where they are missing; returns those that it made itself."""
    missing = months_missing(await existing_months(conn), Month.of(now), months_ahead)
    made = [month for month in missing if await ensure_month(conn, month)]
    for month in made:
        _LOG.info("partition made", extra={"partition": month.table})
    return made


class TooManyExpired(Exception):
    """Nothing was dropped."""


async def drop_expired(
    conn: asyncpg.Connection,
    now: datetime,
    retention_days: int = 400,
    *,
    oldest_made: Month,
    at_once_max: int = 2,
    row_hash_sum: RowHashSum | None = None,
) -> list[MonthDropped]:
    """Drops the months that are older than the retention; returns what went, nothing while another does the same.

    A month is due once a month. Raises TooManyExpired, and drops none, when more than `at_once_max` are: then it is
    rather the clock that is wrong.

    `oldest_made` is the horizon: months from there on are never dropped. Each month is marked and detached
    (concurrently, which holds up no writer, and is the reason why `conn` must not be inside a transaction), then
    counted, booked and dropped in one transaction with its clock repairs. A run that was cut short is finished by the
    next.
    """
    if conn.is_in_transaction():
        raise ValueError("retention needs a connection outside a transaction")
    if not await conn.fetchval("SELECT pg_try_advisory_lock($1)", _RETENTION_LOCK):
        return []
    try:
        pending = dict(await _attached(conn))
        expired = months_expired(pending.keys(), now, retention_days, oldest_made)
        if len(expired) > at_once_max:
            raise TooManyExpired(
                f"{len(expired)} months are older than {retention_days} days at {now:%Y-%m-%d %H:%M}, and at most "
                f"{at_once_max} are dropped at once (postgres.drop_months_max): is the clock right?"
            )
        for month in sorted(expired, key=lambda month: not pending[month]):  # one pending detach stops all others
            await _detach(conn, month, pending=pending[month])
        dropped = []
        for month in months_expired(await _marked(conn), now, retention_days, oldest_made):
            gone = await _drop(conn, month, row_hash_sum)
            dropped.append(gone)
            _LOG.info("partition dropped", extra={"partition": month.table, "rows": gone.rows})
        return dropped
    finally:
        if not conn.is_closed():
            await conn.execute("SELECT pg_advisory_unlock($1)", _RETENTION_LOCK)


async def _detach(conn: asyncpg.Connection, month: Month, *, pending: bool) -> None:
    # The mark comes first: a table that somebody detached to keep it carries none, and is left alone.
    await conn.execute(f"COMMENT ON TABLE {month.table} IS '{_MARK}'")
    how = "FINALIZE" if pending else "CONCURRENTLY"
    await conn.execute(f"ALTER TABLE {TABLE} DETACH PARTITION {month.table} {how}")


async def _drop(conn: asyncpg.Connection, month: Month, row_hash_sum: RowHashSum | None) -> MonthDropped:
    async with conn.transaction():
        await conn.execute(f"LOCK TABLE {month.table} IN ACCESS EXCLUSIVE MODE")
        rows = await conn.fetchval(f"SELECT count(*) FROM {month.table}")
        hash_sum = await row_hash_sum(conn, month.table) if row_hash_sum else None
        deleted = await conn.execute(
            "DELETE FROM clock_repairs WHERE occurred_at >= $1 AND occurred_at < $2", month.start, month.end
        )
        repairs = int(deleted.split()[1])
        await conn.execute(
            "INSERT INTO ingest_removals (month, reason, rows, row_hash_sum, clock_repairs) "
            "VALUES ($1, 'retention', $2, $3, $4)",
            month.first_day, rows, hash_sum, repairs,
        )  # fmt: skip
        await conn.execute(f"DROP TABLE {month.table}")
    return MonthDropped(month, rows, repairs, hash_sum)


async def _attached(conn: asyncpg.Connection) -> list[tuple[Month, bool]]:
    """Partitions, each with whether a concurrent detach of it was cut short."""
    rows = await conn.fetch(
        "SELECT relname, inhdetachpending FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
        "WHERE inhparent = $1::text::regclass",
        TABLE,
    )
    return [(month, row["inhdetachpending"]) for row in rows if (month := Month.of_table(row["relname"]))]


async def _marked(conn: asyncpg.Connection) -> list[Month]:
    rows = await conn.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition "
        "AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = $1::text::regclass) "
        "AND obj_description(oid, 'pg_class') = $2",
        TABLE, _MARK,
    )  # fmt: skip
    return [month for row in rows if (month := Month.of_table(row["relname"]))]
