"""Our runner and golang-migrate's own command, on the same files and the same databases."""

import asyncio
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from storage.postgres import migration
from storage.postgres.migration import MIGRATIONS, NO_VERSION, DirtySchema, MigrationFailed, migrations
from tests.contract.catalog import catalog
from tests.contract.connected import connected, on

ALL = len(migrations())
PATIENCE_S = 60


def cli_command(cli: Path, url: str, arguments: Sequence[str], directory: Path = MIGRATIONS) -> list[str]:
    return [str(cli), "-path", str(directory), "-database", f"{url}?sslmode=disable", *arguments]


def cli_run(cli: Path, url: str, *arguments: str, directory: Path = MIGRATIONS) -> subprocess.CompletedProcess[str]:
    command = cli_command(cli, url, arguments, directory)
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def cli_does(cli: Path, url: str, *arguments: str, directory: Path = MIGRATIONS) -> str:
    done = cli_run(cli, url, *arguments, directory=directory)
    assert done.returncode == 0, done.stderr
    return done.stderr


def files(directory: Path, **sql: str) -> Path:
    """A directory of migrations: files(path, up1=…, down1=…, …)."""
    for key, text in sql.items():
        direction, version = key.rstrip("0123456789"), key.lstrip("updown")
        (directory / f"{int(version):06d}_step.{direction}.sql").write_text(text)
    return directory


async def state(conn: asyncpg.Connection) -> tuple[int | None, bool]:
    now = await migration.status(conn)
    return now.version, now.dirty


def test_every_down_undoes_its_up_exactly(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        for step in migrations():
            before = await catalog(conn)
            assert await migration.up(conn, 1) == 1
            after = await catalog(conn)
            assert after != before
            assert await migration.down(conn, 1) == 1
            assert await catalog(conn) == before, step.name
            assert await migration.up(conn, 1) == 1
            assert await catalog(conn) == after, step.name

    on(postgres_url, scenario)


def test_down_to_zero_leaves_nothing_and_up_again_makes_the_same(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        empty = await catalog(conn)
        assert await state(conn) == (None, False)
        assert await migration.up(conn) == ALL
        whole = await catalog(conn)
        assert await migration.up(conn) == 0
        await conn.execute("SELECT ensure_month_partition('playback_events', '2026-11-01')")
        assert await migration.down(conn, None) == ALL
        assert await catalog(conn) == empty
        assert await migration.down(conn) == 0
        assert await state(conn) == (None, False)
        assert await migration.up(conn) == ALL
        assert await catalog(conn) == whole
        assert await state(conn) == (ALL, False)

    on(postgres_url, scenario)


def test_the_two_runners_take_turns_on_one_database(postgres_url: str, migrate_cli: Path) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        async def cli(*arguments: str) -> str:
            return await asyncio.to_thread(cli_does, migrate_cli, postgres_url, *arguments)

        empty = await catalog(conn)
        assert await migration.up(conn, 3) == 3
        assert (await cli("version")).strip() == "3"
        await cli("up", "4")
        assert await state(conn) == (7, False)
        assert await migration.up(conn) == ALL - 7
        ours = await catalog(conn)
        assert "no change" in await cli("up")
        await cli("down", "2")
        assert await state(conn) == (ALL - 2, False)
        assert await migration.down(conn, 3) == 3
        assert (await cli("version")).strip() == str(ALL - 5)
        await cli("down", "-all")
        assert await state(conn) == (None, False)
        assert await catalog(conn) == empty
        assert "no change" in await cli("down", "-all")
        await cli("up")
        assert await catalog(conn) == ours
        assert await migration.up(conn) == 0
        assert await migration.down(conn, None) == ALL
        assert await catalog(conn) == empty

    on(postgres_url, scenario)


def test_of_many_runners_at_once_one_applies_and_the_others_find_it_done(postgres_url: str, migrate_cli: Path) -> None:
    async def ours() -> int:
        async with connected(postgres_url) as conn:
            return await migration.up(conn)

    async def race() -> list[int]:
        command = cli_command(migrate_cli, postgres_url, ["up"])
        others = [await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL) for _ in range(3)]
        applied = await asyncio.gather(*(ours() for _ in range(4)))
        assert [await other.wait() for other in others] == [0, 0, 0]
        return applied

    applied = asyncio.run(race())
    assert sorted(applied)[:3] == [0, 0, 0]
    assert max(applied) in {0, ALL}
    assert on(postgres_url, state) == (ALL, False)


def test_the_command_waits_while_we_hold_the_lock(postgres_url: str, migrate_cli: Path, tmp_path: Path) -> None:
    slow = files(tmp_path, up1="SELECT pg_sleep(1.5); CREATE TABLE once ()", down1="DROP TABLE once")

    async def scenario(conn: asyncpg.Connection) -> None:
        running = asyncio.create_task(migration.up(conn, directory=slow))
        await asyncio.sleep(0.5)
        answer = await asyncio.to_thread(cli_does, migrate_cli, postgres_url, "up", directory=slow)
        assert "no change" in answer  # it did not run the file a second time, which would have failed
        assert await running == 1

    on(postgres_url, scenario)


def test_we_wait_while_the_command_holds_the_lock(postgres_url: str, migrate_cli: Path, tmp_path: Path) -> None:
    slow = files(tmp_path, up1="CREATE TABLE once (); SELECT pg_sleep(1.5)", down1="DROP TABLE once")

    async def scenario(conn: asyncpg.Connection) -> None:
        command = cli_command(migrate_cli, postgres_url, ["up"], slow)
        other = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        key = migration.lock_id(postgres_url.rpartition("/")[2])
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND (classid::int8 << 32) + objid::int8 = $1"
        deadline = time.monotonic() + PATIENCE_S
        while not (await conn.fetchval(held, key) and (await state(conn)) == (1, True)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert await migration.up(conn, directory=slow) == 0
        assert await other.wait() == 0

    on(postgres_url, scenario)


def test_a_failed_file_leaves_only_the_mark_that_stops_both_runners(
    postgres_url: str, migrate_cli: Path, tmp_path: Path
) -> None:
    broken = files(
        tmp_path,
        up1="CREATE TABLE first ()", down1="DROP TABLE first",
        up2="CREATE TABLE second (); SELECT 1 / 0", down2="DROP TABLE second",
    )  # fmt: skip

    async def scenario(conn: asyncpg.Connection) -> None:
        with pytest.raises(MigrationFailed, match=r"000002_step\.up\.sql: 22012"):
            await migration.up(conn, directory=broken)
        assert await state(conn) == (2, True)
        assert await conn.fetchval("SELECT to_regclass('second')") is None
        for again in (migration.up(conn, directory=broken), migration.down(conn, directory=broken)):
            with pytest.raises(DirtySchema, match="2"):
                await again
        refused = await asyncio.to_thread(cli_run, migrate_cli, postgres_url, "up", directory=broken)
        assert refused.returncode != 0
        assert "Dirty database version 2" in refused.stderr
        await migration.force(conn, 1, directory=broken)
        assert await state(conn) == (1, False)
        files(tmp_path, up2="CREATE TABLE second ()")
        assert await migration.up(conn, directory=broken) == 1

    on(postgres_url, scenario)


def test_the_mark_of_the_command_stops_us_and_its_force_lets_us_go_on(
    postgres_url: str, migrate_cli: Path, tmp_path: Path
) -> None:
    broken = files(tmp_path, up1="CREATE TABLE first ()", down1="DROP TABLE first; SELECT 1 / 0")

    async def scenario(conn: asyncpg.Connection) -> None:
        assert await migration.up(conn, directory=broken) == 1
        refused = await asyncio.to_thread(cli_run, migrate_cli, postgres_url, "down", "1", directory=broken)
        assert refused.returncode != 0
        assert await conn.fetch("SELECT version, dirty FROM schema_migrations") == [(NO_VERSION, True)]
        assert (await migration.status(conn, directory=broken)).applied == ()
        with pytest.raises(DirtySchema):
            await migration.up(conn, directory=broken)
        await asyncio.to_thread(cli_does, migrate_cli, postgres_url, "force", "1", directory=broken)
        with pytest.raises(MigrationFailed):
            await migration.down(conn, directory=broken)
        assert await conn.fetch("SELECT version, dirty FROM schema_migrations") == [(NO_VERSION, True)]
        await migration.force(conn, NO_VERSION, directory=broken)
        assert await conn.fetchval("SELECT count(*) FROM schema_migrations") == 0

    on(postgres_url, scenario)


def test_a_version_without_a_file_is_neither_moved_nor_forced(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await migration.up(conn)
        with pytest.raises(migration.UnknownVersion):
            await migration.force(conn, 999)
        await conn.execute("UPDATE schema_migrations SET version = 999")
        for move in (migration.up(conn), migration.down(conn)):
            with pytest.raises(migration.UnknownVersion, match="999"):
                await move
        assert await state(conn) == (999, False)

    on(postgres_url, scenario)


def test_what_frames_in_a_spool_need_is_not_taken_away(postgres_url: str, tmp_path: Path) -> None:
    narrower = files(
        tmp_path,
        up1="CREATE TABLE first ()", down1="DROP TABLE first",
        up2="-- narrower\n-- drops-schema: 1\nDROP TABLE first", down2="CREATE TABLE first ()",
    )  # fmt: skip

    async def scenario(conn: asyncpg.Connection) -> None:
        with pytest.raises(migration.SpooledSchemaBroken, match=r"000002_step\.up\.sql drops schema 1"):
            await migration.up(conn, spooled_schema_ids=frozenset({1}), directory=narrower)
        assert await state(conn) == (None, False)  # not even the first was run
        assert await migration.up(conn, spooled_schema_ids=frozenset({2}), directory=narrower) == 2

    on(postgres_url, scenario)


def test_events_are_not_migrated_away_under_a_spool(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await migration.up(conn)
        with pytest.raises(migration.SpooledSchemaBroken):
            await migration.down(conn, None, spooled_schema_ids=frozenset({1}))
        with pytest.raises(migration.SpooledSchemaBroken):  # ad events
            await migration.down(conn, ALL - 15, spooled_schema_ids=frozenset({2}))
        assert await state(conn) == (ALL, False)

    on(postgres_url, scenario)


def test_a_lock_that_stays_taken_is_reported(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "LOCK_WAIT_S", 0.3)

    async def scenario(conn: asyncpg.Connection) -> None:
        async with connected(postgres_url) as other:
            await other.execute("SELECT pg_advisory_lock($1)", migration.lock_id(postgres_url.rpartition("/")[2]))
            with pytest.raises(migration.MigrationLocked):
                await migration.up(conn)

    on(postgres_url, scenario)


def test_an_owner_who_is_no_superuser_can_migrate(postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]

    async def scenario(admin: asyncpg.Connection) -> None:
        await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'plain'; ALTER DATABASE {name} OWNER TO {name}")
        await admin.execute(f"GRANT ALL ON SCHEMA public TO {name}")
        try:
            owner = await asyncpg.connect(postgres_url, user=name, password="plain")
            assert await migration.up(owner) == ALL
            await owner.execute("INSERT INTO users (email, username, password_hash) VALUES ('e', 'u', 'p')")
            assert await migration.down(owner, None) == ALL
            await owner.close()
        finally:
            await admin.execute(f"ALTER DATABASE {name} OWNER TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")

    on(postgres_url, scenario)
