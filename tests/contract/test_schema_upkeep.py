"""What the upkeep of the schema takes away is booked, so that verify can still balance it."""

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest

from config.settings import Settings
from gateway import schema_upkeep
from gateway.layout import DataDir
from ingest.spool.frame import MASK
from ingest.tuple import row_hash
from storage.postgres.copy import copy
from storage.postgres.partition import TABLE, Month
from storage.postgres.partition_keeper import ensure_month, existing_months
from tests.contract.connected import connected
from tests.contract.postgres_store import COLUMN_LIST, a_store
from tests.spooled import SECOND, rows_of

LONG_AGO_US = int(datetime(2024, 1, 5, tzinfo=UTC).timestamp()) * SECOND


def test_a_month_past_the_retention_is_booked_with_the_sum_of_its_rows_hashes(
    embedded_url: str, tmp_path: Path
) -> None:
    store, rows = a_store(embedded_url, tmp_path), rows_of(300, occurred_at_us=LONG_AGO_US)

    async def scenario() -> None:
        await store.execute("SELECT ensure_month_partition('playback_events', '2024-01-01')")
        async with connected(store.url) as connection:
            columns = [name.strip('"') for name in COLUMN_LIST.split(", ")]
            await copy(connection, TABLE, columns, rows, len(rows))
        await schema_upkeep.prepare(store.url, Settings(), DataDir(tmp_path))
        async with connected(store.url) as connection:
            (booked,) = await connection.fetch("SELECT rows, row_hash_sum FROM ingest_removals")
        assert (booked["rows"], booked["row_hash_sum"]) == (300, sum(map(row_hash, rows)) & MASK)

    asyncio.run(scenario())


class Ahead(datetime):
    """The clock of a gateway that is more than the retention ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """430 days on."""
        return super().now(tz) + timedelta(days=430)


def test_a_gateway_whose_clock_is_ahead_drops_nothing_that_postgresql_does_not_find_old(
    embedded_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, last_month = a_store(embedded_url, tmp_path), Month.of(datetime.now(UTC)).plus(-1)

    async def scenario() -> None:
        async with connected(store.url) as connection:
            before = await existing_months(connection)
            await ensure_month(connection, last_month)  # as few as may be dropped at once: their number saves none
        monkeypatch.setattr(schema_upkeep, "datetime", Ahead)
        await schema_upkeep.prepare(store.url, Settings(), DataDir(tmp_path))
        async with connected(store.url) as connection:
            assert await existing_months(connection) >= {*before, last_month}
            assert not await connection.fetchval("SELECT count(*) FROM ingest_removals")

    asyncio.run(scenario())
