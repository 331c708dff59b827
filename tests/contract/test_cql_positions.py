"""Positions of the CQL store: behind their effects, once, for one sink at a time, and never begun anew in silence."""

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from config.scylla import ScyllaSettings
from ingest.spool.disk import FileDisk
from storage.scylla.driver import Driver, Write, connected
from storage.sink import SinkFenced, SinkLost, SinkRefused, SinkUnavailable, Slice
from tests.contract.cql_store import CqlStore, drop, make, run
from tests.incarnations import ALTERING, FailingDisk
from tests.spooled import Spooled, rows_of


class Killed(BaseException):
    """Nothing of the process goes on."""


class MortalDisk(FailingDisk):
    """Kills who calls it the `nth` time, and does nothing for the dead."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ALTERING:
            return found

        def call(*arguments: Any) -> Any:
            try:
                return found(*arguments)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                raise Killed from error

        return call


@pytest.fixture
def store(cql_settings: ScyllaSettings, tmp_path: Path) -> CqlStore:
    return CqlStore(cql_settings, tmp_path)


class Kept:
    """One connection for many sinks, which all believe it is their own."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def close(self) -> None:
        """It stays."""


@pytest.mark.parametrize("disk", [FailingDisk, MortalDisk], ids=["failing", "killed"])
def test_a_sink_that_ends_at_any_step_is_followed_by_one_that_delivers_the_rest(
    store: CqlStore, disk: type[FailingDisk], tmp_path: Path
) -> None:
    async def scenario() -> None:
        driver = await connected(store.settings)

        async def connect(_: ScyllaSettings) -> Driver:
            return Kept(driver)

        store.connect = connect
        step, ended = 0, False
        while not ended:
            assert step < 200
            store.data_dir = tmp_path / str(step)
            store.data_dir.mkdir()
            rows, spooled = rows_of(9), Spooled()
            slices = [
                spooled.slice(rows[:2], rows[2:5]),
                spooled.slice(rows[5:7]),
                spooled.slice(rows[7:], lost_rows=2),
            ]
            store.disk = disk(nth=step)
            store.disk.broken = disk is MortalDisk
            try:
                await _deliver(store, slices)
            except (Killed, SinkUnavailable):
                pass
            else:
                ended = step > 10
            store.disk = FileDisk()
            await _deliver(store, slices)
            (books,) = await store.books()
            assert (books.stored, books.rows, books.quarantined.rows, books.unaccounted) == (9, 11, 2, 0), step
            assert set(await store.rows()) >= set(rows)
            step += 1
        await driver.close()
        await store_check(store)

    run(scenario)


async def store_check(store: CqlStore) -> None:
    store.connect = connected
    assert await store.rows() == await store.rows("events_by_content")


async def _deliver(store: CqlStore, slices: Sequence[Slice]) -> None:
    """What a new sink's positions say is left."""
    sink = store.sink()
    try:
        position = (await sink.open()).get(slices[0].incarnation, 0)
        for one in slices:
            if one.begin >= position:
                await sink.write([one])
    finally:
        await sink.close()


def test_one_that_is_left_behind_in_the_middle_of_its_write_moves_nothing(store: CqlStore) -> None:
    async def scenario() -> None:
        held, go_on = asyncio.Event(), asyncio.Event()

        async def connect(settings: ScyllaSettings) -> Driver:
            driver = await connected(settings)
            write = driver.write

            async def holding_write(writes: Sequence[Write]) -> None:
                held.set()
                await go_on.wait()
                await write(writes)

            driver.write = holding_write  # type: ignore[method-assign]
            return driver

        rows, spooled = rows_of(5), Spooled()
        first = spooled.slice(rows[:2])
        store.connect = connect
        zombie = await store.opened()
        writing = asyncio.create_task(zombie.write([first]))
        await held.wait()
        store.connect = connected
        sink = await store.opened()
        await sink.write([first])
        await sink.write([spooled.slice(rows[2:])])
        go_on.set()
        with pytest.raises(SinkFenced):
            await writing
        await sink.write([])
        await sink.close()
        assert await store.positions() == {spooled.incarnation: 2}
        assert await store.rows() == sorted(rows)

    run(scenario)


def test_incarnations_of_before_are_found_again_and_not_written_again(store: CqlStore) -> None:
    async def scenario() -> None:
        old, new = Spooled(), Spooled()
        for _ in range(3):
            await store.write(old.slice(rows_of(1)))
        await store.write(new.slice(rows_of(1)))
        assert await store.positions() == {old.incarnation: 3, new.incarnation: 1}
        assert old.incarnation not in (store.data_dir / "scylla" / "positions.json").read_text()

    run(scenario)


def test_what_is_missing_or_damaged_is_said_and_nothing_begins_anew(store: CqlStore) -> None:
    async def scenario() -> None:
        await store.write(Spooled().slice(rows_of(2)))
        await (await store.opened()).close()
        directory = store.data_dir / "scylla"
        for name, damaged, error in [
            ("positions.json", None, SinkLost),
            ("registration", None, SinkLost),
            ("before.json", None, SinkLost),
            ("positions.json", b'{"owner": "x"', SinkRefused),
            ("before.json", b"[]", SinkRefused),
            ("registration", b'{"registration_id": "5e551011-1111-4222-8333-444455556666"}', SinkLost),
        ]:
            path = directory / name
            before = path.read_bytes()
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            with pytest.raises(error):
                await store.opened()
            path.write_bytes(before)
        assert len(await (await store.opened()).open()) == 1

    run(scenario)


def test_a_keyspace_that_is_older_than_the_directory_is_lost_and_says_so(store: CqlStore) -> None:
    async def scenario() -> None:
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(rows_of(2))])
        ((registered, moved),) = await store.execute("SELECT registration_id, moved FROM ingest_registration")
        await sink.write([spooled.slice(rows_of(2))])
        await sink.write([])
        await store.execute("TRUNCATE ingest_registration")  # and back as it was in yesterday's snapshot
        await store.execute(
            "INSERT INTO ingest_registration (registration_id, moved) VALUES (?, ?) USING TIMESTAMP 1",
            registered,
            moved,
        )
        with pytest.raises(SinkLost, match="older than this data directory"):
            await sink.write([])
        with pytest.raises(SinkLost, match="begin-anew"):
            await sink.open()

    run(scenario)


@pytest.mark.parametrize("driver", ["acsylla", "cassandra"])
@pytest.mark.parametrize("known", [None, 1], ids=["emptied", "restored"])
def test_a_keyspace_put_back_under_a_drain_that_writes_is_not_registered_again(
    store: CqlStore, driver: Any, known: int | None
) -> None:
    async def scenario() -> None:
        spooled, sink = Spooled(), await store.opened(driver=driver)
        await sink.write([spooled.slice(rows_of(2))])
        await sink.write([spooled.slice(rows_of(2))])
        ((registered,),) = await store.execute("SELECT registration_id FROM ingest_registration")
        await store.execute("TRUNCATE ingest_registration")
        if known is not None:
            put_back = "INSERT INTO ingest_registration (registration_id, moved) VALUES (?, ?) USING TIMESTAMP 1"
            await store.execute(put_back, registered, known)
        with pytest.raises(SinkLost, match="begin-anew"):
            await sink.write([spooled.slice(rows_of(2))])
        assert await store.positions() == {spooled.incarnation: 2}
        with pytest.raises(SinkLost, match="begin-anew"):
            await sink.open()

    run(scenario)


def test_a_move_that_the_cluster_knows_of_and_the_directory_does_not_is_none(store: CqlStore) -> None:
    async def scenario() -> None:
        spooled = Spooled()
        await store.write(spooled.slice(rows_of(2)))
        ((registered,),) = await store.execute("SELECT registration_id FROM ingest_registration")
        await store.execute(
            "INSERT INTO ingest_registration (registration_id, moved) VALUES (?, ?) USING TIMESTAMP 9", registered, 9
        )
        sink = await store.opened()
        await sink.write([spooled.slice(rows_of(1))])
        await sink.write([])
        await sink.close()
        assert await store.execute("SELECT moved FROM ingest_registration") == [(10,)]

    run(scenario)


def test_a_directory_without_positions_begins_at_the_beginning(store: CqlStore) -> None:
    async def scenario() -> None:
        sink = await store.opened()
        await sink.close()
        (before,) = await store.execute("SELECT registration_id FROM ingest_registration")
        assert await (await store.opened()).open() == {}
        assert await store.execute("SELECT registration_id FROM ingest_registration") == [before]

    run(scenario)


@pytest.mark.parametrize("driver", ["acsylla", "cassandra"])
@pytest.mark.parametrize("is_idle", [True, False], ids=["idle", "writing"])
def test_a_dropped_keyspace_is_lost_and_not_made_anew(
    cql_keyspace: ScyllaSettings, tmp_path: Path, driver: Any, is_idle: bool
) -> None:
    settings = ScyllaSettings(
        **{name: getattr(cql_keyspace, name) for name in ("contact_points", "port", "replication")},
        keyspace="test_dropped",
        driver=driver,
    )

    async def scenario() -> None:
        await drop(settings)
        with pytest.raises(SinkLost, match="migrate"):
            await CqlStore(settings, tmp_path).opened()
        await make(settings)
        store, spooled = CqlStore(settings, tmp_path), Spooled()
        sink = await store.opened()
        await sink.write([spooled.slice(rows_of(5))])
        await drop(settings)
        # of what was prepared before, the C++ driver says no more than that no node took it: to open again tells why
        with pytest.raises((SinkLost, SinkUnavailable)):
            await sink.write([] if is_idle else [spooled.slice(rows_of(200))])
        with pytest.raises(SinkLost):
            await sink.open()
        await make(settings)
        with pytest.raises(SinkLost, match="registered"):
            await sink.open()
        await drop(settings)

    run(scenario)


def test_a_keyspace_that_lacks_a_migration_is_refused_until_it_has_it(store: CqlStore) -> None:
    async def scenario() -> None:
        await store.execute("DELETE FROM schema_migrations WHERE version = 4")
        try:
            with pytest.raises(SinkRefused, match="migrate up"):
                await store.opened()
        finally:
            await make(store.settings)
        await (await store.opened()).close()

    run(scenario)
