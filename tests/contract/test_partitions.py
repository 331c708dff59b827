"""Months of playback_events on a real server: made once by many, in UTC, dropped only when over, with their books."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from storage.postgres.partition import TABLE, Month
from storage.postgres.partition_keeper import (
    MonthDropped,
    TooManyExpired,
    drop_expired,
    ensure_ahead,
    ensure_month,
    existing_months,
)
from tests.contract.connected import connected, migrated, on

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
THIS_MONTH = Month(2026, 11)
OLDEST_MADE = Month(2026, 10)
EXPIRED = Month(2025, 9)
COLUMNS = ["event_id", "content_id", "session_id", "occurred_at", "received_at", "event_type", "test"]


async def event(conn: asyncpg.Connection, *moments: datetime) -> None:
    rows = [(uuid4(), uuid4(), uuid4(), moment, moment, "play", False) for moment in moments]
    await conn.copy_records_to_table(TABLE, records=rows, columns=COLUMNS)


async def tables(conn: asyncpg.Connection) -> Sequence[str]:
    return [row[0] for row in await conn.fetch(
        "SELECT tablename FROM pg_tables WHERE tablename LIKE 'playback_events_%' ORDER BY 1"
    )]  # fmt: skip


def test_of_many_callers_at_once_each_month_is_made_by_one_beside_writers(postgres_url: str) -> None:
    months = [THIS_MONTH.plus(ahead) for ahead in range(12)]
    migrated(postgres_url, lambda conn: ensure_month(conn, THIS_MONTH))

    async def make() -> list[Month]:
        async with connected(postgres_url) as conn:
            return [month for month in months if await ensure_month(conn, month)]

    async def write(stop: asyncio.Event) -> int:
        written = 0
        async with connected(postgres_url) as conn:
            while not stop.is_set():
                await event(conn, *[NOW] * 10)
                written += 10
        return written

    async def race() -> tuple[list[list[Month]], int]:
        stop = asyncio.Event()
        writer = asyncio.create_task(write(stop))
        made = await asyncio.gather(*(make() for _ in range(8)))
        stop.set()
        return made, await writer

    made, written = asyncio.run(race())
    assert sorted(month for one in made for month in one) == months[1:]
    assert on(postgres_url, existing_months) == set(months)
    assert on(postgres_url, lambda conn: conn.fetchval("SELECT count(*) FROM playback_events")) == written > 0


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kolkata"])
def test_bounds_are_utcs_whatever_the_sessions_time_zone(postgres_url: str, zone: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await conn.execute(f"SET TimeZone = '{zone}'; SET DateStyle = 'German'")
        assert await conn.fetchval("SELECT ensure_month_partition('playback_events', $1)", date(2026, 12, 31))
        assert not await conn.fetchval("SELECT ensure_month_partition('playback_events', $1)", date(2026, 12, 1))
        december = Month(2026, 12)
        await event(conn, december.start, december.end - timedelta(microseconds=1))
        for outside in (december.start - timedelta(microseconds=1), december.end):
            with pytest.raises(asyncpg.CheckViolationError):
                await event(conn, outside)
        assert await tables(conn) == [december.table]

    migrated(postgres_url, scenario)


def test_a_row_without_a_month_is_refused_with_23514_and_goes_in_once_it_is_made(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await event(conn, NOW)
        assert refused.value.sqlstate == "23514"
        await ensure_month(conn, Month.of(NOW))
        await event(conn, NOW)

    migrated(postgres_url, scenario)


def test_a_month_has_the_key_and_the_brin_of_its_parent(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await ensure_month(conn, THIS_MONTH)
        query = "SELECT indexdef FROM pg_indexes WHERE tablename = $1"
        found = [row["indexdef"] for row in await conn.fetch(query, THIS_MONTH.table)]
        assert len(found) == 2
        assert any("UNIQUE" in text and "(occurred_at, event_id)" in text for text in found)
        assert any("brin (received_at)" in text for text in found)

    migrated(postgres_url, scenario)


def test_a_table_that_somebody_detached_is_not_taken_for_the_month(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await ensure_month(conn, THIS_MONTH)
        await conn.execute(f"ALTER TABLE {TABLE} DETACH PARTITION {THIS_MONTH.table}")
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="is no partition"):
            await ensure_month(conn, THIS_MONTH)

    migrated(postgres_url, scenario)


def test_three_months_are_made_ahead_and_then_nothing(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await ensure_month(conn, THIS_MONTH.plus(2))
        made = await ensure_ahead(conn, NOW, months_ahead=3)
        assert made == [THIS_MONTH, THIS_MONTH.plus(1), THIS_MONTH.plus(3)]
        assert await ensure_ahead(conn, NOW, months_ahead=3) == []

    migrated(postgres_url, scenario)


async def an_old_month(conn: asyncpg.Connection, month: Month = EXPIRED) -> None:
    """A month with three events and two clock repairs, beside this month with one of each."""
    await ensure_month(conn, month)
    await ensure_month(conn, THIS_MONTH)
    await event(conn, month.start, month.start, month.end - timedelta(microseconds=1), NOW)
    repairs = [(uuid4(), NOW, at) for at in (month.start, month.end - timedelta(microseconds=1), month.end, NOW)]
    await conn.executemany("INSERT INTO clock_repairs VALUES ($1, $2, $3)", repairs)


def test_a_month_that_is_over_goes_with_its_clock_repairs_and_is_booked(postgres_url: str) -> None:
    async def hash_sum(conn: asyncpg.Connection, table: str) -> int:
        return 2**64 - 1 if await conn.fetchval(f"SELECT count(*) FROM {table}") == 3 else 0

    async def scenario(conn: asyncpg.Connection) -> None:
        await an_old_month(conn)
        dropped = await drop_expired(conn, NOW, 400, oldest_made=OLDEST_MADE, row_hash_sum=hash_sum)
        assert dropped == [MonthDropped(EXPIRED, rows=3, clock_repairs=2, row_hash_sum=2**64 - 1)]
        assert await tables(conn) == [THIS_MONTH.table]
        assert await conn.fetchval("SELECT count(*) FROM clock_repairs") == 2
        books = await conn.fetch("SELECT month, reason, rows, row_hash_sum, clock_repairs FROM ingest_removals")
        assert [tuple(row) for row in books] == [(EXPIRED.first_day, "retention", 3, 2**64 - 1, 2)]
        assert await drop_expired(conn, NOW, 400, oldest_made=OLDEST_MADE) == []

    migrated(postgres_url, scenario)


def test_more_months_than_can_be_due_at_once_are_none(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await an_old_month(conn)
        for before in (1, 2):
            await ensure_month(conn, EXPIRED.plus(-before))
        with pytest.raises(TooManyExpired, match=r"3 months.*is the clock right"):
            await drop_expired(conn, NOW, 400, oldest_made=OLDEST_MADE)
        assert await conn.fetchval("SELECT count(*) FROM playback_events") == 4
        assert len(await drop_expired(conn, NOW, 400, oldest_made=OLDEST_MADE, at_once_max=3)) == 3

    migrated(postgres_url, scenario)


def test_a_month_within_the_retention_or_above_the_horizon_stays(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await an_old_month(conn)
        assert await drop_expired(conn, NOW, 420, oldest_made=OLDEST_MADE) == []
        assert await drop_expired(conn, NOW, 400, oldest_made=EXPIRED) == []
        assert await conn.fetchval("SELECT count(*) FROM playback_events") == 4

    migrated(postgres_url, scenario)


def test_writers_go_on_while_a_month_is_dropped_and_one_keeper_works_at_a_time(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await an_old_month(conn)
        async with connected(postgres_url) as writer, connected(postgres_url) as third:
            writing = writer.transaction()
            await writing.start()
            await event(writer, NOW)  # the detach waits for this transaction
            dropping = asyncio.create_task(drop_expired(conn, NOW, 400, oldest_made=OLDEST_MADE))
            await asyncio.sleep(0.3)
            assert not dropping.done()
            assert await drop_expired(third, NOW, 400, oldest_made=OLDEST_MADE) == []
            await asyncio.wait_for(event(third, NOW), timeout=5)  # and holds up nobody else meanwhile
            await event(writer, NOW)
            await writing.commit()
            assert [gone.month for gone in await dropping] == [EXPIRED]

    migrated(postgres_url, scenario)


@pytest.mark.parametrize("cut", ["during the detach", "after the detach"])
def test_a_drop_that_was_cut_short_is_finished_by_the_next(postgres_url: str, cut: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await an_old_month(conn)
        async with connected(postgres_url) as writer, connected(postgres_url) as keeper:
            pid = await keeper.fetchval("SELECT pg_backend_pid()")
            await writer.execute("BEGIN")
            if cut == "during the detach":  # it waits for whoever has written to any month
                await event(writer, NOW)
            else:
                await writer.execute("LOCK TABLE clock_repairs IN EXCLUSIVE MODE")
            dropping = asyncio.create_task(drop_expired(keeper, NOW, 400, oldest_made=OLDEST_MADE))
            await asyncio.sleep(0.3)
            assert not dropping.done()
            detached = "SELECT NOT relispartition FROM pg_class WHERE relname = $1"
            assert await conn.fetchval(detached, EXPIRED.table) == (cut == "after the detach")
            await conn.execute("SELECT pg_terminate_backend($1)", pid)
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                await dropping
        earlier = EXPIRED.plus(-1)  # whose turn it would be first
        await ensure_month(conn, earlier)
        gone = await drop_expired(conn, NOW, 400, oldest_made=OLDEST_MADE)
        assert [(month.month, month.rows) for month in gone] == [(earlier, 0), (EXPIRED, 3)]
        assert await tables(conn) == [THIS_MONTH.table]

    migrated(postgres_url, scenario)


def test_a_month_detached_by_hand_is_kept(postgres_url: str) -> None:
    async def scenario(conn: asyncpg.Connection) -> None:
        await an_old_month(conn)
        await conn.execute(f"ALTER TABLE {TABLE} DETACH PARTITION {EXPIRED.table}")
        assert await drop_expired(conn, NOW, 400, oldest_made=OLDEST_MADE) == []
        assert await conn.fetchval(f"SELECT count(*) FROM {EXPIRED.table}") == 3

    migrated(postgres_url, scenario)
