"""The CQL schema on a real server: up, status, a run that was killed, two at once, and a newer release's."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from config.scylla import ScyllaSettings
from gateway import cql_schema
from gateway.cli import main
from ingest.tuple import COLUMNS
from storage.scylla import migration, migration_lock
from storage.scylla.columns import TABLES
from storage.scylla.driver import CqlTimeout, Driver, connected
from storage.scylla.migration_lock import MigrationLock, MigrationLocked
from storage.scylla.row import cql_name
from storage.sink import SinkRefused
from tests.contract.cql_store import CqlStore, drop, make, run
from tests.cql_server import Cassandra
from tests.spooled import Spooled, rows_of

SPECIFIED = {"event_type", "quality", "bitrate", "device_type", "platform", "cdn_edge", "buffer_duration", "error_code"}
"""Columns of playback_events as the platform's schema names them."""
LAST = migration.migrations()[-1].version


@pytest.fixture
def settings(cassandra: Cassandra) -> Iterator[ScyllaSettings]:
    """Of a keyspace that is not there."""
    made = ScyllaSettings(
        contact_points=cassandra.contact_points,
        port=cassandra.port,
        keyspace=f"migrated_{secrets.token_hex(4)}",
        replication=1,
        request_timeout_ms=20_000,
    )
    yield made
    asyncio.run(drop(made))


async def asked(settings: ScyllaSettings, cql: str, *values: Any) -> list[Any]:
    driver = await connected(settings, keyspace=False)
    try:
        return await driver.execute(cql, values)
    finally:
        await driver.close()


async def columns_of(settings: ScyllaSettings) -> set[tuple[str, str, str]]:
    """Table, column and type of all there are."""
    found = "SELECT table_name, column_name, type FROM system_schema.columns WHERE keyspace_name = ?"
    return set(await asked(settings, found, settings.keyspace))


async def applied(settings: ScyllaSettings) -> set[int]:
    driver = await connected(settings, keyspace=False)
    try:
        return set((await migration.status(driver, settings)).applied)
    finally:
        await driver.close()


class Dying:
    """A driver that ends as a killed process does: from its `at`th change of the schema on, nothing is done."""

    def __init__(self, driver: Driver, at: int) -> None:
        self._driver = driver
        self._left = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def run(self, cql: str) -> None:
        self._left -= 1
        if self._left < 0:
            await self._driver.close()
            raise asyncio.CancelledError
        await self._driver.run(cql)


def test_up_makes_every_table_with_the_names_of_the_platforms_schema(settings: ScyllaSettings) -> None:
    async def scenario() -> None:
        assert await applied(settings) == set()
        assert await cql_schema.prepare(settings) == LAST
        assert await cql_schema.prepare(settings) == 0, "nothing is left to do"
        columns = await columns_of(settings)
        record = {name for table, name, _ in columns if table == "events_by_session"}
        assert record == {cql_name(column) for column in COLUMNS} | {"hour"} and record > SPECIFIED
        for table in TABLES:
            assert {name for of, name, _ in columns if of == table.name} >= {*table.always, *table.optional}
        kinds = {name: kind for table, name, kind in columns if table == "events_by_session"}
        assert {kinds[name] for name in SPECIFIED - {"bitrate", "buffer_duration"}} == {"text"}
        assert kinds["bitrate"] == kinds["buffer_duration"] == "int"

    run(scenario)


def test_a_run_that_is_killed_anywhere_is_followed_by_one_that_ends_it(
    settings: ScyllaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_lock, "LOCK_S", 2)

    async def scenario() -> None:
        for at in (0, 1, 2, 4, 2):  # before the keyspace, before the books, within a file, behind it, later
            driver = await connected(settings, keyspace=False)
            with pytest.raises(asyncio.CancelledError):
                await migration.up(Dying(driver, at), settings)
            assert LAST not in await applied(settings)
            if at == 4:
                with pytest.raises(SinkRefused, match="migrate up"):
                    await CqlStore(settings, tmp_path).opened()
        await make(settings)
        assert await applied(settings) == set(range(1, LAST + 1))
        await CqlStore(settings, tmp_path).write(Spooled().slice(rows_of(3)))

    run(scenario)


def test_of_two_that_migrate_at_once_one_does_and_the_other_finds_it_done(settings: ScyllaSettings) -> None:
    async def scenario() -> None:
        other = msgspec.structs.replace(settings, driver="cassandra")
        done = await asyncio.gather(cql_schema.prepare(settings), cql_schema.prepare(other))
        assert sorted(done) == [0, LAST]
        held = f"SELECT name FROM {settings.keyspace}.schema_migrations WHERE version = 0"
        assert await asked(settings, held) == []

    run(scenario)


def test_a_lock_whose_answer_was_lost_is_ones_own_and_anothers_is_waited_for(
    settings: ScyllaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_lock, "PATIENCE_S", 1.0)

    async def scenario() -> None:
        await make(settings)
        driver = await connected(settings, keyspace=False)
        execute, lost = driver.execute, [CqlTimeout("the answer was lost")]

        async def losing(cql: str, values: Any = (), **options: Any) -> Any:
            answer = await execute(cql, values, **options)
            if "IF NOT EXISTS" in cql and lost:
                raise lost.pop()
            return answer

        driver.execute = losing  # type: ignore[method-assign]
        async with MigrationLock(driver, settings.keyspace).held():
            assert not lost
            with pytest.raises(MigrationLocked):
                async with MigrationLock(driver, settings.keyspace).held():
                    pass
        async with MigrationLock(driver, settings.keyspace).held():
            pass
        await driver.close()

    run(scenario)


def test_a_lock_is_kept_as_long_as_its_run_takes_and_who_lost_it_changes_nothing_more(
    settings: ScyllaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_lock, "LOCK_S", 4)
    taken = f"SELECT name FROM {settings.keyspace}.schema_migrations WHERE version = 0"

    async def scenario() -> None:
        await make(settings)
        driver = await connected(settings, keyspace=False)
        lock = MigrationLock(driver, settings.keyspace)
        async with lock.held():
            await asyncio.sleep(6)
            assert len(await driver.execute(taken)) == 1
            lock.check()
            await driver.execute(f"DELETE FROM {settings.keyspace}.schema_migrations WHERE version = 0 IF EXISTS")
            await asyncio.sleep(2)
            with pytest.raises(MigrationLocked):
                lock.check()
        await driver.close()

    run(scenario)


@pytest.mark.parametrize("is_slow", [True, False], ids=["its first answer is lost late", "it is never answered again"])
def test_a_lock_is_held_no_longer_than_the_cluster_holds_it(
    settings: ScyllaSettings, monkeypatch: pytest.MonkeyPatch, is_slow: bool
) -> None:
    monkeypatch.setattr(migration_lock, "LOCK_S", 8 if is_slow else 4)
    taken = f"SELECT name FROM {settings.keyspace}.schema_migrations WHERE version = 0"

    async def scenario() -> None:
        await make(settings)
        driver = await connected(settings, keyspace=False)
        execute, lost = driver.execute, [CqlTimeout("the answer was lost")]

        async def losing(cql: str, values: Any = (), **options: Any) -> Any:
            if "USING TTL" in cql and not is_slow and not lost:
                await asyncio.sleep(60)
            answer = await execute(cql, values, **options)
            if "IF NOT EXISTS" in cql and lost:
                await asyncio.sleep(6.3 if is_slow else 0)
                error = lost.pop()
                if is_slow:
                    raise error
            return answer

        driver.execute = losing  # type: ignore[method-assign]
        lock = MigrationLock(driver, settings.keyspace)
        async with lock.held():
            lock.check()
            await asyncio.sleep(1.9 if is_slow else 5)
            if is_slow:
                assert len(await driver.execute(taken)) == 1, "another run could have begun beside this one"
                lock.check()
            else:
                assert await driver.execute(taken) == []
                with pytest.raises(MigrationLocked):
                    lock.check()
        await driver.close()

    run(scenario)


@pytest.fixture
def newer(settings: ScyllaSettings) -> ScyllaSettings:
    """The keyspace has been moved on by a newer release."""

    async def move() -> None:
        await make(settings)
        at = f"INSERT INTO {settings.keyspace}.schema_migrations (version, name) VALUES (?, ?)"
        await asked(settings, at, LAST + 3, "of_tomorrow")

    asyncio.run(move())
    return settings


def test_a_newer_releases_schema_is_refused_by_up_and_by_the_sink(newer: ScyllaSettings, tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(migration.NewerSchema, match=str(LAST + 3)):
            await cql_schema.prepare(newer)
        with pytest.raises(SinkRefused, match="newer release"):
            await CqlStore(newer, tmp_path).opened()

    run(scenario)


def test_status_tells_applied_pending_and_newer(newer: ScyllaSettings) -> None:
    async def scenario() -> None:
        lines = await cql_schema.status(newer)
        assert lines[0].endswith(f"{newer.keyspace}: version {LAST + 3}")
        assert len(lines) == 1 + LAST + 1 and all("applied" in line for line in lines[1:])
        nothing = await cql_schema.status(msgspec.structs.replace(newer, keyspace="nothing_there"))
        assert nothing[0].endswith("version none") and all("pending" in line for line in nothing[1:])

    run(scenario)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("durable_writes = false", "durable_writes"),
        ("replication = {'class': 'SimpleStrategy', 'replication_factor': 3}", "one replica"),
    ],
)
def test_a_keyspace_that_cannot_keep_what_it_takes_is_refused(
    settings: ScyllaSettings, tmp_path: Path, change: str, words: str
) -> None:
    async def scenario() -> None:
        store = CqlStore(msgspec.structs.replace(settings, consistency="ONE"), tmp_path)
        await make(settings)
        await (await store.opened()).close()
        driver = await connected(settings, keyspace=False)
        await driver.run(f"ALTER KEYSPACE {settings.keyspace} WITH {change}")
        await driver.close()
        with pytest.raises(SinkRefused, match=words):
            await store.opened()

    run(scenario)


@pytest.mark.parametrize(("name", "words"), [("status", "version none"), ("up", f"{LAST} applied in CQL")])
def test_the_commands_tell_of_cql_what_they_tell_of_postgres(
    settings: ScyllaSettings, embedded_url: str, tmp_path: Path, name: str, words: str
) -> None:
    def said(*arguments: str) -> str:
        ran = CliRunner().invoke(main, ["migrate", *arguments], env=environment)
        assert ran.exit_code == 0, ran.output
        return ran.output

    environment = {
        "INGEST_STORE": "scylla",
        "INGEST_DATA_DIR": str(tmp_path),
        "INGEST_POSTGRES_URL": embedded_url,
        "INGEST_SCYLLA_KEYSPACE": settings.keyspace,
        "INGEST_SCYLLA_CONTACT_POINTS": settings.contact_points,
        "INGEST_SCYLLA_PORT": str(settings.port),
        "INGEST_SCYLLA_REPLICATION": "1",
        "INGEST_SCYLLA_REQUEST_TIMEOUT_MS": str(settings.request_timeout_ms),
    }
    assert words in said(name)
    if name == "up":
        assert f"{settings.keyspace}: version {LAST}" in said("status")
        assert "upwards only" in said("down")
        assert f"{settings.keyspace}: version {LAST}" in said("status")
