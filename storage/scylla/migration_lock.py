"""The lock of a run of migrations: version 0 of schema_migrations, taken by compare-and-set.

It carries the token of who has it and a time to live, and is renewed meanwhile, so a run that was killed holds up
others for LOCK_S. What a timed-out compare-and-set did is unknown: it is asked again, and a row with our token is ours,
taken nobody knows how long ago: so it is renewed before anything is done. Who hears nothing for LOCK_S has lost it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import uuid4

import structlog

from storage.scylla.driver import (
    CqlError,
    CqlGone,
    CqlMissing,
    CqlOverloaded,
    CqlTimeout,
    CqlUnavailable,
    Driver,
    Row,
    Value,
)

log = structlog.get_logger()

LOCK_S: Final = 30
PATIENCE_S: Final = 1.5 * LOCK_S
"""Until another run is over, or a cluster in trouble answers."""
POLL_S: Final = 0.2

_PASSING: Final = (CqlTimeout, CqlUnavailable, CqlOverloaded, CqlGone, CqlMissing)
"""Missing: a table that another run makes just now is in the tables of the schema before it is anywhere else."""


class MigrationError(Exception):
    """The schema could not be moved."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"{self.__doc__} {detail}".strip())


class MigrationLocked(MigrationError):
    """Another run is under way."""


class MigrationLock:
    """Of one run, in one keyspace."""

    def __init__(self, driver: Driver, keyspace: str) -> None:
        self._driver = driver
        self._token = f"lock {uuid4()}"
        self._lost = False
        self._kept_s = 0.0
        """When what last said that it is ours was asked; it is for LOCK_S from then on."""
        table = f"{keyspace}.schema_migrations"
        self._take = f"INSERT INTO {table} (version, name) VALUES (0, ?) IF NOT EXISTS USING TTL {LOCK_S}"
        self._renew = f"UPDATE {table} USING TTL {LOCK_S} SET name = ? WHERE version = 0 IF name = ?"
        self._let_go = f"DELETE FROM {table} WHERE version = 0 IF name = ?"

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Raises MigrationLocked when another run is not over in time, and CqlError."""
        await self._taken()
        renewing = asyncio.create_task(self._renewed())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with suppress(CqlError):  # it ends by itself
                await self._driver.execute(self._let_go, [self._token])

    def check(self) -> None:
        """Raises MigrationLocked when another run may have begun."""
        if self._lost or time.monotonic() > self._kept_s + LOCK_S:
            raise MigrationLocked("This one could not keep its lock.")

    async def _taken(self) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while True:
            answer = await self._answered(self._take, [self._token], until_s)
            if not answer[0] and self._token in answer:
                answer = await self._answered(self._renew, [self._token, self._token], until_s)
            if answer[0]:
                return
            if time.monotonic() > until_s:
                raise MigrationLocked(f"It was not over within {PATIENCE_S:.0f} s.")
            await asyncio.sleep(POLL_S)

    async def _renewed(self) -> None:
        while not self._lost:
            await asyncio.sleep(LOCK_S / 4)
            try:
                answer = await self._answered(self._renew, [self._token, self._token], self._kept_s + LOCK_S)
            except CqlError as error:
                log.error("migration_lock_lost", error=str(error))
                self._lost = True
            else:
                self._lost = not answer[0]

    async def _answered(self, cql: str, values: Sequence[Value], until_s: float) -> Row:
        """What a compare-and-set says, which may be repeated. Raises CqlError."""
        while True:
            asked_s = time.monotonic()
            try:
                (answer,) = await self._driver.execute(cql, values)
            except _PASSING:
                if time.monotonic() > until_s:
                    raise
                await asyncio.sleep(POLL_S)
            else:
                if answer[0]:
                    self._kept_s = asked_s
                return answer
