"""The CQL schema beside the flow: migrated at the start, looked at every hour."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import structlog

from config.scylla import ScyllaSettings
from storage.backoff import delay_s
from storage.scylla import migration
from storage.scylla.driver import CqlError, connected
from storage.scylla.migration_lock import MigrationError

log: Any = structlog.get_logger()

INTERVAL_S = 3_600.0


async def prepare(settings: ScyllaSettings) -> int:
    """Migrate up, keyspace included; how many migrations. Raises CqlError, MigrationError."""
    driver = await connected(settings, keyspace=False)
    try:
        return await migration.up(driver, settings)
    finally:
        await driver.close()


async def status(settings: ScyllaSettings) -> list[str]:
    """Lines for people: what is applied, what is pending, and what a newer release has made. Raises CqlError."""
    driver = await connected(settings, keyspace=False)
    try:
        found = await migration.status(driver, settings)
    finally:
        await driver.close()
    newer = sorted(found.applied - {one.version for one in found.available})
    return [
        f"CQL keyspace {settings.keyspace}: version {max(found.applied, default='none')}",
        *(f"  {one.version:06d}  {'applied' if one.version in found.applied else 'pending'}  {one.name}"
          for one in found.available),
        *(f"  {version:06d}  applied  by a newer release" for version in newer),
    ]  # fmt: skip


class CqlSchema:
    """Of one gateway."""

    def __init__(self, settings: Callable[[], ScyllaSettings]) -> None:
        self._settings = settings
        self.tried = asyncio.Event()
        """Once, with or without success: a drain that opens a schema which is not there yet would be red first."""
        self.prepared = asyncio.Event()

    async def keep(self) -> None:
        """Until it succeeds, then every hour. Never returns, and never raises: the door would close with it."""
        attempt = 0
        while True:
            try:
                await prepare(self._settings())
            except Exception as error:  # whatever it is, the spool goes on, and the next try comes
                unforeseen = not isinstance(error, CqlError | MigrationError | OSError)
                log.error("cql_schema_not_prepared", error=str(error) or type(error).__name__, exc_info=unforeseen)
                self.tried.set()
                await asyncio.sleep(0.1 + delay_s(attempt, random.random))
                attempt += 1
                continue
            attempt = 0
            self.prepared.set()
            self.tried.set()
            await asyncio.sleep(INTERVAL_S)
