"""A job's turns: one gateway of a cluster at a time, as often as its interval says, by PostgreSQL's clock.

Whoever wakes up asks; the table ingest_jobs says whether it is due, an advisory lock whether somebody is at it. A
gateway that dies lets go of the lock with its connection.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import asyncpg

from storage.postgres.connection import connect
from storage.postgres.refusal import translated
from storage.postgres.statement import parse
from storage.sink import StoreError

STATEMENTS: Final = parse((Path(__file__).parent / "jobs.sql").read_text("utf-8"))
DETAIL_MAX: Final = 500

Outcome = Literal["done", "failed"]


class JobFailed(Exception):
    """A turn that could not be done, with a reason for people; the next one comes."""


class Turn(NamedTuple):
    """How one ended."""

    outcome: Outcome
    detail: str


class Job:
    """One job. `work` gets a connection and says what it did; it may raise JobFailed, StoreError, a driver's error."""

    def __init__(
        self, name: str, every_s: float, url: str, work: Callable[[asyncpg.Connection], Awaitable[str]]
    ) -> None:
        self.name = name
        self.every_s = every_s
        self._url = url
        self._work = work
        self._connection: asyncpg.Connection | None = None

    async def turn(self) -> Turn | None:
        """Do it if it is due and nobody else is at it; None when it was not ours.

        Raises StoreError: PostgreSQL is away.
        """
        try:
            with translated():
                connection = await self._connected()
                if not await connection.fetchval(STATEMENTS["lock_job"], self.name):
                    return None
                try:
                    due = await connection.fetchval(
                        STATEMENTS["begin_job"], self.name, timedelta(seconds=self.every_s * SOON)
                    )
                    return await self._done(connection) if due is not None else None
                finally:
                    if not connection.is_closed():
                        await connection.execute(STATEMENTS["unlock_job"], self.name)
        except BaseException:  # no event is in hand, and the lock goes with the connection
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _done(self, connection: asyncpg.Connection) -> Turn:
        try:
            turn = Turn("done", await self._work(connection))
        except (JobFailed, StoreError) as error:
            turn = Turn("failed", str(error) or type(error).__name__)
        except asyncpg.PostgresError as error:
            turn = Turn("failed", f"{type(error).__name__}: {error}")
        detail = turn.detail[:DETAIL_MAX]
        await connection.execute(STATEMENTS["end_job"], self.name, turn.outcome, detail)
        return turn

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url)
            await self._connection.execute(STATEMENTS["job_session"])
        return self._connection


SOON: Final = 0.9
"""Of the interval: who wakes a little early by its own clock finds it due all the same."""
