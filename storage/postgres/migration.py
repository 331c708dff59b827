"""Runs the files of `migrations/` up and down, beside golang-migrate's own command on the same database.

Both keep the same books, so either may be used at any time (checked against v4.20.1):

    files    `<version>_<name>.up.sql`, `<version>_<name>.down.sql`; other files are not looked at
    table    `schema_migrations(version bigint primary key, dirty boolean)` in the current schema, at most one row
    a step   TRUNCATE, INSERT (target, true) · the file · TRUNCATE, INSERT (target, false); the target of a down is the
             version before it, and no row at all when there is none
    a lock   a session's advisory lock over the whole run, see `lock_id`

A file runs as one simple query, hence in one implicit transaction: if it fails nothing of it stays but the mark
"dirty", which a person looks at and clears with `force`. The connection must be direct, not through a transaction
pooler, and not inside a transaction.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

MIGRATIONS = Path(__file__).parent / "migrations"

NO_VERSION = -1
"""Of a database without migrations; golang-migrate's NilVersion."""

LOCK_WAIT_S = 60.0
"""How long a run waits for another to end; ours takes about a second."""

LOCK_POLL_S = 0.1

_FILE_NAME = re.compile(r"^([0-9]+)_(.*)\.(down|up)\.(.*)$")
_DROPS_SCHEMA = re.compile(r"^-- drops-schema: *([0-9]+) *$")
_LOCK_SALT = 1_486_364_155


class MigrationError(Exception):
    """The schema could not be moved."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"{self.__doc__} {detail}".strip())


class DirtySchema(MigrationError):
    """A migration has failed here before; look at what it left, then set the version with `force`."""

    def __init__(self, version: int) -> None:
        super().__init__(f"It is marked dirty at version {version}.")
        self.version = version


class MigrationFailed(MigrationError):
    """The database refused a migration; nothing of the file was kept, and the schema is marked dirty."""


class UnknownVersion(MigrationError):
    """There is no migration of this version here; a newer release may have made the schema."""


class MigrationLocked(MigrationError):
    """Another run holds the migrations' lock."""


class SpooledSchemaBroken(MigrationError):
    """A migration takes away columns that frames in a spool still need; let the spool drain first."""


@dataclass(frozen=True)
class Migration:
    """One step of the schema: its number, its name, and the files that take it up and down."""

    version: int
    name: str
    up: Path
    down: Path


@dataclass(frozen=True)
class Status:
    """Where the schema is: at `version`, with it and all before it applied; None when nothing is."""

    version: int | None
    dirty: bool
    available: tuple[Migration, ...]

    @property
    def applied(self) -> tuple[Migration, ...]:
        """The migrations of this release that the database has."""
        return tuple(m for m in self.available if self.version is not None and m.version <= self.version)

    @property
    def pending(self) -> tuple[Migration, ...]:
        """Those that `up` would run."""
        return self.available[len(self.applied) :]


def migrations(directory: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """The migrations of a directory by version. Raises MigrationError when one lacks its up or its down."""
    files: dict[int, dict[str, tuple[str, Path]]] = {}
    for path in sorted(directory.iterdir()):
        if match := _FILE_NAME.match(path.name):
            version, name, direction, _ = match.groups()
            if direction in files.setdefault(int(version), {}):
                raise MigrationError(f"Version {int(version)} has two {direction} files.")
            files[int(version)][direction] = (name, path)
    found = []
    for number, pair in sorted(files.items()):
        if pair.keys() != {"up", "down"} or pair["up"][0] != pair["down"][0]:
            raise MigrationError(f"Version {number} needs one up and one down file of the same name.")
        found.append(Migration(number, pair["up"][0], pair["up"][1], pair["down"][1]))
    return tuple(found)


def drops_schemas(sql: str) -> frozenset[int]:
    """Schema ids of spool frames that could not be stored after this file, from its header.

    A file that takes away, renames or retypes a column of playback_events begins with a line `-- drops-schema: <id>`
    for every id whose column list (ingest.tuple) names that column; one that takes what the merge of ad events writes,
    for every id of ingest.ad. Only the comment lines before the first statement count.
    """
    ids = set()
    for line in sql.splitlines():
        if line.strip() and not line.startswith("--"):
            break
        if match := _DROPS_SCHEMA.match(line):
            ids.add(int(match[1]))
    return frozenset(ids)


def lock_id(database: str, schema: str = "public") -> int:
    """The advisory lock of golang-migrate for a database that its command opened by URL.

    The name carries the leading slash of the URL's path; without it the two would not exclude each other.
    """
    name = "\0".join((schema, "schema_migrations", f"/{database}"))
    return zlib.crc32(name.encode()) * _LOCK_SALT % 2**32


async def status(conn: asyncpg.Connection, *, directory: Path = MIGRATIONS) -> Status:
    """Where the schema is, without waiting for a run under way and without writing anything."""
    version, dirty = await _version(conn)
    return Status(None if version == NO_VERSION else version, dirty, migrations(directory))


async def up(
    conn: asyncpg.Connection,
    steps: int | None = None,
    *,
    spooled_schema_ids: frozenset[int] = frozenset(),
    directory: Path = MIGRATIONS,
) -> int:
    """Runs the next `steps` migrations, all that are pending by default; returns how many it ran (0: nothing to do).

    `spooled_schema_ids` are the schema ids of frames still in a spool. Raises DirtySchema, UnknownVersion,
    SpooledSchemaBroken (before anything is run), MigrationFailed and MigrationLocked.
    """
    if steps is not None and steps < 1:
        raise ValueError("steps must be at least 1")
    available = migrations(directory)
    async with _locked(conn):
        at = _index(available, await _clean_version(conn))
        chosen = available[at:] if steps is None else available[at : at + steps]
        return await _run(conn, [(m.up, m.version) for m in chosen], spooled_schema_ids)


async def down(
    conn: asyncpg.Connection,
    steps: int | None = 1,
    *,
    spooled_schema_ids: frozenset[int] = frozenset(),
    directory: Path = MIGRATIONS,
) -> int:
    """Takes back the last `steps` migrations, every one with None; returns how many. Raises as `up` does."""
    if steps is not None and steps < 1:
        raise ValueError("steps must be at least 1")
    available = migrations(directory)
    async with _locked(conn):
        at = _index(available, await _clean_version(conn))
        last = 0 if steps is None else max(0, at - steps)
        before = [NO_VERSION, *(m.version for m in available)]
        chosen = [(available[i].down, before[i]) for i in range(at - 1, last - 1, -1)]
        return await _run(conn, chosen, spooled_schema_ids)


async def force(conn: asyncpg.Connection, version: int, *, directory: Path = MIGRATIONS) -> None:
    """Sets the version and clears the mark "dirty" without running anything; -1 says that nothing is applied.

    Raises UnknownVersion for a version that has no file here.
    """
    if version != NO_VERSION:
        _index(migrations(directory), version)
    async with _locked(conn):
        await _set_version(conn, version, dirty=False)


async def _run(conn: asyncpg.Connection, steps: Sequence[tuple[Path, int]], spooled: frozenset[int]) -> int:
    texts = [(path, target, path.read_text(encoding="utf-8")) for path, target in steps]
    for path, _, sql in texts:
        if broken := drops_schemas(sql) & spooled:
            raise SpooledSchemaBroken(f"{path.name} drops schema {', '.join(map(str, sorted(broken)))}.")
    for path, target, sql in texts:
        await _set_version(conn, target, dirty=True)
        try:
            await conn.execute(sql)
        except asyncpg.PostgresError as error:
            raise MigrationFailed(f"{path.name}: {error.sqlstate} {error}") from error
        await _set_version(conn, target, dirty=False)
    return len(texts)


def _index(available: Sequence[Migration], version: int) -> int:
    """How many migrations are applied at `version`."""
    if version == NO_VERSION:
        return 0
    for index, migration in enumerate(available):
        if migration.version == version:
            return index + 1
    raise UnknownVersion(f"It is {version}; the files here end at {available[-1].version if available else 'none'}.")


async def _version(conn: asyncpg.Connection) -> tuple[int, bool]:
    if not await _has_version_table(conn):
        return NO_VERSION, False
    row = await conn.fetchrow("SELECT version, dirty FROM schema_migrations LIMIT 1")
    return (row["version"], row["dirty"]) if row else (NO_VERSION, False)


async def _has_version_table(conn: asyncpg.Connection) -> bool:
    found: bool = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_migrations')"
    )
    return found


async def _clean_version(conn: asyncpg.Connection) -> int:
    version, dirty = await _version(conn)
    if dirty:
        raise DirtySchema(version)
    return version


async def _set_version(conn: asyncpg.Connection, version: int, *, dirty: bool) -> None:
    async with conn.transaction():
        await conn.execute("TRUNCATE schema_migrations")
        if version != NO_VERSION or dirty:  # a failed first down is (-1, true), as golang-migrate writes it
            await conn.execute("INSERT INTO schema_migrations (version, dirty) VALUES ($1, $2)", version, dirty)


@asynccontextmanager
async def _locked(conn: asyncpg.Connection) -> AsyncIterator[None]:
    """Holds the migrations' lock, and sees to the table of versions.

    It polls instead of waiting in the server: a waiting statement holds a snapshot, and CREATE INDEX CONCURRENTLY in
    the run that is waited for would wait for that snapshot in turn.
    """
    if conn.is_in_transaction():
        raise ValueError("migrations need a connection outside a transaction")
    row = await conn.fetchrow("SELECT current_database() AS database, current_schema() AS schema")
    if row["schema"] is None:
        raise MigrationError("The connection's search_path names no schema that exists.")
    key = lock_id(row["database"], row["schema"])
    deadline = time.monotonic() + LOCK_WAIT_S
    while not await conn.fetchval("SELECT pg_try_advisory_lock($1)", key):
        if time.monotonic() > deadline:
            raise MigrationLocked(f"It was not free within {LOCK_WAIT_S:.0f} s.")
        await asyncio.sleep(LOCK_POLL_S)
    try:
        if not await _has_version_table(conn):  # asked first: a role that may not create can still see "no change"
            await conn.execute(
                "CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null)"
            )
        yield
    finally:
        if not conn.is_closed():  # a closed one has let go of it by itself
            await conn.execute("SELECT pg_advisory_unlock($1)", key)
