"""Runs the files of `migrations/` on a cluster: `<version>_<name>.cql`, upwards only.

keyspace   made where it is missing, with the replication of the settings; one that is there keeps its own
a file     statements, each ended by ";" at the end of a line; $keyspace, $window (retention and compaction) and
           $remembered_s are put in. Every statement may be run again: a run that died is repeated
table      schema_migrations(version, name, applied_at_us), one row a file; version 0 is the lock of a run under way
           (migration_lock.py)
no way     down: it would drop tables with the rows in them, for which there is no other copy. A version that has no
           file here is a newer release's: nothing is run, and no sink writes, as nobody knows what that one reads
retention  a setting, not a migration: every run brings the tables to the one of the settings; rows keep the time
           to live that they were written with
"""

import asyncio
import re
import time
from pathlib import Path
from string import Template
from typing import NamedTuple

from config.scylla import ScyllaSettings
from storage.scylla.driver import CqlMissing, Driver
from storage.scylla.migration_lock import POLL_S, MigrationError, MigrationLock

MIGRATIONS = Path(__file__).parent / "migrations"
AGREED_S = 15.0
"""Until all nodes know of a keyspace that another run makes."""
WINDOWED = ("events_by_session", "events_by_content", "events_by_profile", "errors_by_edge")
"""Tables whose rows leave by age, window by window."""
REMEMBERING = ("clock_repairs", "clock_repairs_by_day")
REMEMBERED_LONGER_S = 30 * 86_400
"""Than rows: a resend renews its row, and not what says under which time it stands."""

_FILE_NAME = re.compile(r"^([0-9]+)_(.*)\.cql$")


class NewerSchema(MigrationError):
    """A newer release has made this keyspace; start that one again."""


class Status(NamedTuple):
    """Of a keyspace."""

    applied: frozenset[int]
    available: list["Migration"]
    """By version."""

    @property
    def pending(self) -> list["Migration"]:
        """Those that `up` would run. Raises NewerSchema."""
        newer = self.applied - {one.version for one in self.available}
        if newer:
            raise NewerSchema(f"It has migration {max(newer)}; the files here end at {self.available[-1].version}.")
        return [one for one in self.available if one.version not in self.applied]


class Migration(NamedTuple):
    """One step of the schema."""

    version: int
    name: str
    path: Path

    def statements(self, settings: ScyllaSettings) -> list[str]:
        """In order, as they are run."""
        text = Template(self.path.read_text("utf-8")).substitute(
            keyspace=settings.keyspace,
            window=_window(settings),
            remembered_s=_retention_s(settings) + REMEMBERED_LONGER_S,
        )
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
        return [part.strip() for part in re.split(r";[ \t]*$", "\n".join(lines), flags=re.MULTILINE) if part.strip()]


def migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """Of a directory, by version."""
    found = [(match, path) for path in directory.iterdir() if (match := _FILE_NAME.match(path.name))]
    return sorted(Migration(int(match[1]), match[2], path) for match, path in found)


async def status(driver: Driver, settings: ScyllaSettings, *, directory: Path = MIGRATIONS) -> Status:
    """Of the keyspace; nothing is applied where there is none yet. Raises CqlError."""
    available = migrations(directory)
    if not await _has_table(driver, settings, "schema_migrations"):
        return Status(frozenset(), available)
    rows = await driver.execute(f"SELECT version FROM {settings.keyspace}.schema_migrations")
    return Status(frozenset(int(version or 0) for (version,) in rows) - {0}, available)


async def up(driver: Driver, settings: ScyllaSettings, *, directory: Path = MIGRATIONS) -> int:
    """Runs all that are pending; how many it ran. `driver` is connected without a keyspace.

    Raises NewerSchema, MigrationLocked, and CqlError.
    """
    await _make_table(driver, settings)
    keyspace = settings.keyspace
    lock = MigrationLock(driver, keyspace)
    async with lock.held():
        pending = (await status(driver, settings, directory=directory)).pending
        for migration in pending:
            for statement in migration.statements(settings):
                lock.check()
                await driver.run(statement)
            await driver.execute(
                f"INSERT INTO {keyspace}.schema_migrations (version, name, applied_at_us) VALUES (?, ?, ?)",
                [migration.version, migration.name, time.time_ns() // 1_000],
            )
        lock.check()
        await _keep_for(driver, settings)
    return len(pending)


async def _make_table(driver: Driver, settings: ScyllaSettings) -> None:
    """The keyspace and the table of versions. What another run makes just now, some nodes do not know yet."""
    until_s = time.monotonic() + AGREED_S
    while True:
        try:
            await _try_to_make_table(driver, settings)
        except CqlMissing:
            if time.monotonic() > until_s:
                raise
            await asyncio.sleep(POLL_S)
        else:
            return


async def _try_to_make_table(driver: Driver, settings: ScyllaSettings) -> None:
    keyspace = settings.keyspace
    if not await driver.execute(
        "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?", [keyspace]
    ):
        await driver.run(
            f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = "
            f"{{'class': 'NetworkTopologyStrategy', '{settings.local_dc}': {settings.replication}}}"
        )
    if not await _has_table(driver, settings, "schema_migrations"):
        await driver.run(
            f"CREATE TABLE IF NOT EXISTS {keyspace}.schema_migrations "
            "(version int PRIMARY KEY, name text, applied_at_us bigint)"
        )


async def _keep_for(driver: Driver, settings: ScyllaSettings) -> None:
    """Every table whose rows leave by age to the retention of the settings."""
    for table in (*WINDOWED, *REMEMBERING):
        rows = await driver.execute(
            "SELECT default_time_to_live FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?",
            [settings.keyspace, table],
        )
        options, kept_s = _window(settings), _retention_s(settings)
        if table in REMEMBERING:
            kept_s += REMEMBERED_LONGER_S
            options = f"default_time_to_live = {kept_s}"
        if rows and rows[0][0] != kept_s:
            await driver.run(f"ALTER TABLE {settings.keyspace}.{table} WITH {options}")


async def _has_table(driver: Driver, settings: ScyllaSettings, table: str) -> bool:
    return bool(
        await driver.execute(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?",
            [settings.keyspace, table],
        )
    )


def _retention_s(settings: ScyllaSettings) -> int:
    return settings.retention_days * 86_400


def _window(settings: ScyllaSettings) -> str:
    """Options of a table whose rows leave by age. Nobody deletes, so what is gone need not be remembered for long."""
    return (
        f"default_time_to_live = {_retention_s(settings)} AND gc_grace_seconds = 86400 AND compaction = "
        "{'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'DAYS', "
        f"'compaction_window_size': {settings.window_days}}}"
    )
