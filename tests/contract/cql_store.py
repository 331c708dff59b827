"""The CQL store under test, seen from behind its sinks: what is in its tables, its positions, its books."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from config.scylla import ScyllaSettings
from config.settings import DeadLetterSettings, DoorSettings
from ingest.spool.disk import Disk, FileDisk
from ingest.tuple import COLUMNS, event_id, month_of, occurred_at_us
from storage.postgres.totals import Books, balanced
from storage.scylla import migration, positions
from storage.scylla.columns import RECORD, TABLES
from storage.scylla.driver import Driver, connected
from storage.scylla.row import tuples_of
from storage.scylla.sink import ScyllaSink
from storage.sink import Slice
from tests.spooled import StoppedClock

EMPTIED = [
    *(table.name for table in TABLES),
    "content_buckets", "clock_repairs", "clock_repairs_by_day", "clock_repairs_by_hour", "ingest_registration",
]  # fmt: skip


class CqlStore:
    """A keyspace with the schema made, and a data directory."""

    def __init__(self, settings: ScyllaSettings, data_dir: Path) -> None:
        self.settings = settings
        self.data_dir = data_dir
        self.clock = StoppedClock()
        self.disk: Disk = FileDisk()
        self.connect: Callable[[ScyllaSettings], Awaitable[Driver]] = connected

    def sink(self, **settings: Any) -> ScyllaSink:
        return ScyllaSink(
            msgspec.structs.replace(self.settings, **settings),
            self.data_dir,
            DoorSettings(),
            DeadLetterSettings(),
            self.clock,
            self.disk,
            self.connect,
        )

    async def opened(self, **settings: Any) -> ScyllaSink:
        sink = self.sink(**settings)
        await sink.open()
        return sink

    async def write(self, *slices: Slice) -> None:
        """By a sink that remembers nothing."""
        sink = await self.opened()
        await sink.write(slices)
        await sink.close()

    async def execute(self, cql: str, *values: Any) -> list[Any]:
        driver = await connected(msgspec.structs.replace(self.settings, request_timeout_ms=30_000))
        try:
            return await driver.execute(cql, values)
        finally:
            await driver.close()

    async def rows(self, table: str = "events_by_session") -> list[bytes]:
        """Every row of a table that has all columns, as its tuple, sorted."""
        return sorted(map(tuples_of(COLUMNS), await self.execute(f"SELECT {', '.join(RECORD)} FROM {table}")))

    async def ids(self) -> list[bytes]:
        """The same in both tables."""
        by_session, by_content = await self.rows(), await self.rows("events_by_content")
        assert by_session == by_content
        return sorted(map(event_id, by_session))

    async def positions(self) -> dict[str, int]:
        return {name: found.sequence for name, found in positions.read(self.data_dir, FileDisk()).items()}

    async def books(self) -> list[Books]:
        return [found.books for found in positions.read(self.data_dir, FileDisk()).values()]

    async def lose_registration(self) -> None:
        await (await self.opened()).close()
        await self.execute("TRUNCATE ingest_registration")

    async def check(self) -> None:
        """The equation holds in every position, both tables hold the same, and no month more than the books say."""
        books = await self.books()
        assert all(balanced(one) and not one.unaccounted for one in books)
        assert await self.rows() == await self.rows("events_by_content")
        months: dict[int, int] = {}
        for row in await self.rows():
            month = month_of(occurred_at_us(row))
            months[month] = months.get(month, 0) + 1
        said: dict[str, int] = {}
        for name, month_book in ((name, book) for one in books for name, book in one.months.items()):
            said[name] = said.get(name, 0) + month_book.rows
        for number, rows in months.items():
            assert rows <= said[f"{number // 12:04d}-{number % 12 + 1:02d}"]


async def make(settings: ScyllaSettings) -> None:
    """The keyspace, with its schema."""
    driver = await connected(settings, keyspace=False)
    try:
        await migration.up(driver, settings)
    finally:
        await driver.close()


async def drop(settings: ScyllaSettings) -> None:
    """The keyspace, with all that is in it."""
    driver = await connected(settings, keyspace=False)
    try:
        await driver.run(f"DROP KEYSPACE IF EXISTS {settings.keyspace}")
    finally:
        await driver.close()


async def empty(settings: ScyllaSettings) -> None:
    """Every table that a sink writes to."""
    driver = await connected(settings)
    try:
        for table in EMPTIED:
            if await driver.execute(f"SELECT * FROM {table} LIMIT 1"):
                await driver.run(f"TRUNCATE {table}")
    finally:
        await driver.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """The scenario in an event loop of its own."""

    async def main() -> None:
        await scenario()

    asyncio.run(main())
