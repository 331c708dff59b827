"""Migration files as they lie in the package, without a database."""

import zlib
from pathlib import Path

import pytest

from storage.postgres.migration import MigrationError, Status, drops_schemas, lock_id, migrations


def test_the_packages_files_are_numbered_from_one_without_a_gap() -> None:
    found = migrations()
    assert [migration.version for migration in found] == list(range(1, len(found) + 1))
    assert found


def test_no_file_opens_a_transaction_of_its_own() -> None:
    for migration in migrations():
        for path in (migration.up, migration.down):
            statements = [line.strip().upper() for line in path.read_text().splitlines()]
            assert not {"BEGIN;", "COMMIT;", "START TRANSACTION;"} & set(statements), path.name


def test_taking_the_event_table_away_is_declared() -> None:
    dropping = {m.version for m in migrations() if "DROP TABLE playback_events;" in m.down.read_text()}
    assert dropping == {m.version for m in migrations() if drops_schemas(m.down.read_text()) == {1}}


def test_no_up_breaks_the_first_schema_yet() -> None:
    assert all(not drops_schemas(migration.up.read_text()) for migration in migrations())


@pytest.mark.parametrize(
    ("sql", "ids"),
    [
        ("-- drops-schema: 1\nDROP TABLE x;", {1}),
        ("-- why\n\n-- drops-schema: 1\n-- drops-schema: 12  \nSELECT 1;", {1, 12}),
        ("-- the header line -- drops-schema: 1 is described here\n", set()),
        ("SELECT 1;\n-- drops-schema: 1\n", set()),
        ("", set()),
    ],
)
def test_only_header_lines_declare_a_schema_dropped(sql: str, ids: set[int]) -> None:
    assert drops_schemas(sql) == ids


def test_the_lock_is_golang_migrates_own_with_the_slash_of_the_url() -> None:
    assert lock_id("events") == zlib.crc32(b"public\0schema_migrations\0/events") * 1486364155 % 2**32
    assert lock_id("events") != lock_id("events", "other")


def write(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).write_text("SELECT 1;")
    return directory


def test_files_of_other_shapes_are_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path, "000002_b.up.sql", "000002_b.down.sql", "README.md", "x_1.up.sql", "1_a.down.sql", "1_a.up.sql")
    assert [(m.version, m.name) for m in migrations(tmp_path)] == [(1, "a"), (2, "b")]


@pytest.mark.parametrize(
    "names", [("1_a.up.sql",), ("1_a.down.sql",), ("1_a.up.sql", "1_b.down.sql"), ("1_a.up.sql", "01_b.up.sql")]
)
def test_half_a_migration_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(MigrationError):
        migrations(write(tmp_path, *names))


def test_status_tells_applied_from_pending() -> None:
    found = migrations()
    assert Status(None, False, found).pending == found
    at_three = Status(3, False, found)
    assert [migration.version for migration in at_three.applied] == [1, 2, 3]
    assert at_three.applied + at_three.pending == found
