"""Everything that the specification names is there after `up`."""

import re

import asyncpg

from storage.postgres import migration
from tests.contract import spec_schema
from tests.contract.connected import migrated, on

ABBREVIATED = {
    "character varying": "varchar",
    "character(": "char(",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "integer": "int",
}
COLUMNS = """
    SELECT attname, attnotnull, format_type(atttypid, atttypmod) AS type, pg_get_expr(adbin, adrelid) AS default
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


def short(name: str) -> str:
    for long, abbreviation in ABBREVIATED.items():
        name = name.replace(long, abbreviation)
    return name


def listed(columns: str) -> list[str]:
    """The columns of a list such as "id uuid, price numeric(10,2)", one string each."""
    return [" ".join(column.split()) for column in re.split(r",\s", columns)]


async def columns_of(conn: asyncpg.Connection, table: str) -> list[str]:
    rows = await conn.fetch(COLUMNS, table)
    return [f"{r['attname']} {short(r['type'])}{' not null' if r['attnotnull'] else ''}" for r in rows]


def test_every_table_has_the_columns_of_the_specification(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        for table, wanted in spec_schema.COLUMNS.items():
            found = await columns_of(conn, table)
            # A key may be stricter than the specification says, never laxer.
            missing = {column for column in listed(wanted) if not {column, f"{column} not null"} & set(found)}
            assert not missing, table

    migrated(postgres_url, scenario)


def test_events_have_the_columns_of_schema_one_in_copy_order(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        wanted = listed(spec_schema.SCHEMA_1)
        assert (await columns_of(conn, "playback_events"))[: len(wanted)] == wanted
        await conn.execute("SELECT ensure_month_partition('playback_events', '2026-11-01')")
        assert (await columns_of(conn, "playback_events_2026_11"))[: len(wanted)] == wanted

    migrated(postgres_url, scenario)


def test_defaults_are_those_of_the_specification(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        for column, wanted in spec_schema.DEFAULTS.items():
            table, _, name = column.partition(".")
            found = {row["attname"]: row["default"] for row in await conn.fetch(COLUMNS, table)}
            assert (found[name] or "").partition("::")[0] == wanted, column

    migrated(postgres_url, scenario)


def test_every_index_has_its_name_and_columns(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        found = dict(await conn.fetch("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"))
        for name, columns in spec_schema.INDEXES.items():
            assert columns in found[name], found[name]

    migrated(postgres_url, scenario)


def test_the_title_index_falls_back_where_pg_trgm_is_lacking(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        # A pg_trgm out of sight is what the migration finds where there is none.
        await conn.execute("CREATE SCHEMA elsewhere; CREATE EXTENSION pg_trgm SCHEMA elsewhere")
        await migration.up(conn)
        definition = await conn.fetchval("SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_content_title_trgm'")
        assert "to_tsvector" in definition
        await migration.down(conn, None)
        assert await conn.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'") == 1  # was not ours

    on(postgres_url, scenario)


def test_every_constraint_is_there(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        query = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::text::regclass"
        for table, wanted in spec_schema.CONSTRAINTS.items():
            found = [row[0] for row in await conn.fetch(query, table)]
            assert not [start for start in wanted if not any(text.startswith(start) for text in found)], (table, found)

    migrated(postgres_url, scenario)


def test_hot_tables_have_no_foreign_keys_and_events_no_checks(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        query = """SELECT count(*) FROM pg_constraint
            WHERE conrelid = $1::text::regclass AND contype = ANY($2::"char"[])"""
        for table in spec_schema.WITHOUT_FOREIGN_KEYS:
            assert await conn.fetchval(query, table, [b"f"]) == 0, table
        assert await conn.fetchval(query, "playback_events", [b"f", b"c"]) == 0

    migrated(postgres_url, scenario)


def test_functions_triggers_and_the_view_are_there(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        names = {row[0] for row in await conn.fetch("SELECT proname FROM pg_proc")}
        assert names >= set(spec_schema.FUNCTIONS)
        on_update = "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgfoid = 'update_updated_at_column'::regproc"
        assert sorted(row[0] for row in await conn.fetch(on_update)) == sorted(spec_schema.TRIGGERS)
        assert await conn.fetchval("SELECT relkind FROM pg_class WHERE relname = 'content_popularity'") == b"m"
        popularity = {column.split()[0] for column in await columns_of(conn, "content_popularity")}
        assert popularity >= {"content_id", *spec_schema.POPULARITY}

    migrated(postgres_url, scenario)


def test_events_are_partitioned_by_month_without_default_and_impressions_by_hash(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        key = "SELECT pg_get_partkeydef($1::text::regclass)"
        children = "SELECT count(*) FROM pg_inherits WHERE inhparent = $1::text::regclass"
        assert await conn.fetchval(key, "playback_events") == "RANGE (occurred_at)"
        assert await conn.fetchval(children, "playback_events") == 0  # the gateway makes them
        assert await conn.fetchval(key, "ad_impressions") == "HASH (impression_id)"
        assert await conn.fetchval(children, "ad_impressions") == 8

    migrated(postgres_url, scenario)


def test_the_five_plans_are_seeded(postgres_url: str) -> None:
    wanted = [
        ("free", "0.00", 1, "720p", True, False),
        ("basic", "4.99", 1, "1080p", True, False),
        ("standard", "9.99", 2, "1080p", False, True),
        ("premium", "14.99", 4, "4k", False, True),
        ("family", "19.99", 6, "4k", False, True),
    ]
    query = """SELECT name, price::text, max_streams, max_quality, has_ads, downloads
        FROM subscription_plans plan ORDER BY plan.price"""

    async def scenario(conn: asyncpg.Connection) -> None:
        assert [tuple(row) for row in await conn.fetch(query)] == wanted
        assert await conn.fetchval("SELECT max_profiles FROM subscription_plans WHERE name = 'family'") == 5

    migrated(postgres_url, scenario)


def test_a_database_is_registered_once_and_knows_no_positions(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        assert [row["reader"] for row in await conn.fetch("SELECT reader FROM ingest_registration")] == ["postgres"]
        assert await conn.fetchval("SELECT count(*) FROM ingest_positions") == 0

    migrated(postgres_url, scenario)
