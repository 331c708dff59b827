"""A database with the schema, seen from behind the PostgreSQL sink, and sinks that are killed in the middle."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from config.settings import DeadLetterSettings, DoorSettings, PostgresSettings
from ingest.spool.disk import FileDisk
from ingest.spool.frame import MASK
from ingest.tuple import COLUMNS, month_of, occurred_at_us, row_hash
from storage.postgres import totals
from storage.postgres.totals import Books, balanced, month_name
from storage.postgres.writer import PostgresSink
from storage.sink import Slice
from tests.contract.connected import connected, migrated
from tests.spooled import StoppedClock

COLUMN_LIST = ", ".join(f'"{column.name}"' for column in COLUMNS)


class Store:
    """A database with the schema, a clock that stands, and a data directory for dead letters."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.url = url
        self.data_dir = data_dir
        self.clock = StoppedClock()

    def sink(
        self, kind: type[PostgresSink] = PostgresSink, *, keeps_playback: bool = True, **settings: Any
    ) -> PostgresSink:
        pieces = PostgresSettings(**settings), DoorSettings(), DeadLetterSettings()
        return kind(self.url, self.data_dir, *pieces, self.clock, FileDisk(), keeps_playback=keeps_playback)

    async def opened(self, kind: type[PostgresSink] = PostgresSink, **settings: Any) -> PostgresSink:
        sink = self.sink(kind, **settings)
        await sink.open()
        return sink

    async def write(self, *slices: Slice) -> None:
        """By a sink that remembers nothing."""
        sink = await self.opened()
        await sink.write(slices)
        await sink.close()

    async def execute(self, statement: str) -> None:
        async with connected(self.url) as connection:
            await connection.execute(statement)

    async def value(self, query: str) -> Any:
        async with connected(self.url) as connection:
            return await connection.fetchval(query)

    async def rows(self) -> list[bytes]:
        """Every row as the tuple that COPY gives back, sorted."""
        parts: list[bytes] = []

        async def take(data: bytes) -> None:
            parts.append(data)

        async with connected(self.url) as connection:
            await connection.copy_from_query(f"SELECT {COLUMN_LIST} FROM playback_events", output=take, format="binary")
        return sorted(split(b"".join(parts)[19:-2]))

    async def books(self) -> list[Books]:
        async with connected(self.url) as connection:
            found = await connection.fetch("SELECT totals::text FROM ingest_positions")
        return [totals.decode(row[0]) for row in found]

    async def check(self) -> None:
        """The equation holds in every position, and by month the positions say what the tables hold."""
        books = await self.books()
        assert all(balanced(one) and not one.unaccounted for one in books)
        expected: dict[str, tuple[int, int]] = {}
        for row in await self.rows():
            name = month_name(month_of(occurred_at_us(row)))
            count, hash_sum = expected.get(name, (0, 0))
            expected[name] = (count + 1, (hash_sum + row_hash(row)) & MASK)
        ads = await self.value("SELECT coalesce(sum(events), 0)::bigint FROM ad_impressions")
        if ads:
            expected["ads"] = (ads, 0)
        said: dict[str, tuple[int, int]] = {}
        for name, month in ((name, month) for one in books for name, month in one.months.items()):
            count, hash_sum = said.get(name, (0, 0))
            said[name] = (count + month.rows, (hash_sum + month.hash) & MASK)
        assert said == expected


def split(data: bytes) -> list[bytes]:
    """COPY's tuples, one by one."""
    rows, at = [], 0
    while at < len(data):
        begin, at = at, at + 2
        for _ in COLUMNS:
            length = int.from_bytes(data[at : at + 4], "big", signed=True)
            at += 4 + max(length, 0)
        rows.append(data[begin:at])
    return rows


async def _nothing(connection: asyncpg.Connection) -> None:
    """The schema is all that is wanted."""


def a_store(url: str, data_dir: Path) -> Store:
    """With the schema made."""
    migrated(url, _nothing)
    return Store(url, data_dir)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """The scenario in an event loop of its own."""

    async def main() -> None:
        await scenario()

    asyncio.run(main())


class KilledBeforeItsPositions(PostgresSink):
    """Its server process ends between the rows and the positions."""

    async def _move_positions(self, connection: asyncpg.Connection, *arguments: Any) -> None:
        async with connected(self._url) as other:
            await other.execute("SELECT pg_terminate_backend($1, 5000)", connection.get_server_pid())
        await super()._move_positions(connection, *arguments)


class KilledAfterItsCommit(PostgresSink):
    """The commit happens, its answer never comes."""

    async def _transaction(self, connection: asyncpg.Connection, *arguments: Any) -> Any:
        await super()._transaction(connection, *arguments)
        raise ConnectionResetError


class StoppedBeforeItsPositions(PostgresSink):
    """Its server process is stopped between the rows and the positions: it neither answers nor goes away."""

    server_pid = 0

    async def _move_positions(self, connection: asyncpg.Connection, *arguments: Any) -> None:
        self.server_pid = connection.get_server_pid()
        os.kill(self.server_pid, signal.SIGSTOP)
        await super()._move_positions(connection, *arguments)
