"""What the supervisor does beside the flow: schema and partitions, recovery, retention. Each survives a store that is away."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import structlog

from config.settings import Settings
from gateway.layout import DataDir
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from ingest.spool.recovery import recover
from ingest.spool.retention import remove, removable, sealed_segments, used_bytes
from storage.backoff import delay_s
from storage.postgres import migration, partition_keeper

log: Any = structlog.get_logger()

RETENTION_INTERVAL_S = 5.0
PARTITION_INTERVAL_S = 3_600.0
CONNECT_TIMEOUT_S = 10.0
PARTITION_LOCK = 0x53564D4F4E544853
"""Advisory lock: of several gateways one makes the months ahead."""

READERS = ("postgres", "redis")
"""Every reader holds segments back while its status says where it is."""


async def prepare_schema(url: str, settings: Settings) -> None:
    """Migrate up and make the months ahead. Raises asyncpg and OS errors, MigrationError."""
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    try:
        await migration.up(connection)
        await make_months(connection, settings)
    finally:
        await connection.close()


async def make_months(connection: asyncpg.Connection, settings: Settings) -> None:
    """This month and the next ones, by one gateway at a time."""
    if await connection.fetchval("SELECT pg_try_advisory_lock($1)", PARTITION_LOCK):
        try:
            await partition_keeper.ensure_ahead(connection, datetime.now(UTC), settings.postgres.months_ahead)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", PARTITION_LOCK)


async def keep_schema(url: Callable[[], str], settings: Settings, prepared: asyncio.Event) -> None:
    """Until it succeeds, then every hour. Never returns."""
    attempt = 0
    while True:
        try:
            await prepare_schema(url(), settings)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, migration.MigrationError) as error:
            log.error("schema_not_prepared", error=str(error) or type(error).__name__)
            attempt += 1
            await asyncio.sleep(min(delay_s(attempt, random.random), 10.0) + 0.1)
            continue
        attempt = 0
        prepared.set()
        await asyncio.sleep(PARTITION_INTERVAL_S)


async def recover_spool(data: DataDir, patience_s: float) -> None:
    """End the incarnations of collectors that are gone; wait a while for those that are about to go."""
    disk, clock = FileDisk(), SystemClock()
    until_s = clock.monotonic_s() + patience_s
    while held := await asyncio.to_thread(recover, disk, data.spool, clock):
        if clock.monotonic_s() >= until_s:
            log.warning("spool_incarnations_held", incarnations=held)
            return
        await asyncio.sleep(0.1)


async def keep_spool(data: DataDir, settings: Settings, reader_status: Callable[[str], Any]) -> None:
    """Remove what every reader has delivered. Never returns."""
    disk = FileDisk()

    def once() -> None:
        positions = {}
        for reader in READERS:
            status = reader_status(reader)
            if status is None:
                return  # it has not told where it is: nothing goes
            if status["state"] == "rebuild_needed":
                continue  # cut loose: a derivable reader never stops the intake
            positions[reader] = status["positions"]
        excess_bytes = used_bytes(disk, data.spool) - settings.spool.quota_bytes // 2
        segments = sealed_segments(disk, data.spool, SystemClock().now_us() / 1e6)
        remove(disk, data.spool, removable(segments, positions, settings.spool.kept_s, excess_bytes))

    await every(RETENTION_INTERVAL_S, lambda: asyncio.to_thread(once), "retention")


async def every(interval_s: float, job: Callable[[], Awaitable[None]], name: str) -> None:
    """Run `job` for ever; an error of the disk or a damaged file is logged and the next turn comes."""
    while True:
        await asyncio.sleep(interval_s)
        try:
            await job()
        except (OSError, msgspec.DecodeError) as error:
            log.error("job_failed", job=name, error=str(error))
