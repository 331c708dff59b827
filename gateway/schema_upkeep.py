"""The schema beside the flow: migrated at start, months made ahead and dropped when they are too old."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import structlog

from config.settings import Settings
from gateway.layout import DataDir
from gateway.spool_commands import schema_ids
from storage.backoff import delay_s
from storage.postgres import migration, partition_keeper
from storage.postgres.audit import row_hash_sum
from storage.postgres.months import SPOOL_AGE_MAX_S
from storage.postgres.partition import horizon

log: Any = structlog.get_logger()

INTERVAL_S = 3_600.0
CONNECT_TIMEOUT_S = 10.0
MONTHS_LOCK = 0x53564D4F4E544853
"""Advisory lock: of several gateways one makes the months ahead."""
STORE_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a server that answers nonsense, or half an answer
    OSError,
    TimeoutError,
    migration.MigrationError,
)


async def prepare(url: str, settings: Settings, data: DataDir) -> None:
    """Migrate up, make the months ahead, drop the expired ones. Raises STORE_ERRORS."""
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    try:
        status = await migration.status(connection)
        if status.available and status.version != status.available[-1].version:
            spooled = await asyncio.to_thread(schema_ids, data)
            await migration.up(connection, spooled_schema_ids=spooled)
        now = datetime.now(UTC)
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", MONTHS_LOCK):
            try:
                await partition_keeper.ensure_ahead(connection, now, settings.postgres.months_ahead)
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", MONTHS_LOCK)
        await _drop_expired(connection, min(now, await connection.fetchval("SELECT clock_timestamp()")), settings)
    finally:
        await connection.close()


async def _drop_expired(connection: asyncpg.Connection, now: datetime, settings: Settings) -> None:
    """By the earlier of two clocks, and only as many as can be due at once: a clock that is ahead drops no rows."""
    oldest_made = horizon(now, timedelta(seconds=settings.door.past_s), timedelta(seconds=SPOOL_AGE_MAX_S))
    try:
        await partition_keeper.drop_expired(
            connection,
            now,
            settings.postgres.retention_days,
            oldest_made=oldest_made,
            at_once_max=settings.postgres.drop_months_max,
            row_hash_sum=row_hash_sum,
        )
    except partition_keeper.TooManyExpired as refused:
        log.error("months_not_dropped", error=str(refused))


async def keep(
    url: Callable[[], str], settings: Callable[[], Settings], data: DataDir, prepared: asyncio.Event
) -> None:
    """Until it succeeds, then every hour. Never returns, and never raises: the door would close with it."""
    attempt = 0
    while True:
        try:
            await prepare(url(), settings(), data)
        except Exception as error:  # whatever it is, the spool goes on, and the next try comes
            unforeseen = not isinstance(error, STORE_ERRORS)
            log.error("schema_not_prepared", error=str(error) or type(error).__name__, exc_info=unforeseen)
            await asyncio.sleep(0.1 + delay_s(attempt, random.random))
            attempt += 1
            continue
        attempt = 0
        prepared.set()
        await asyncio.sleep(INTERVAL_S)
