"""A whole table of a real Cassandra, range by range: every row once, whatever breaks in between."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from config.scylla import ScyllaSettings
from ingest.tuple import COLUMNS, decode
from storage.scylla.driver import CqlGone, CqlMissing, CqlTimeout, Driver, Row, Value, connected
from storage.scylla.row import cql_name, tuples_of
from storage.scylla.scanning import BY_SESSION, PAGE_ROWS, RING_BEGIN, RING_END, Table, ranges, scan
from tests.builders import RECEIVED_AT_US
from tests.contract.cql_store import run
from tests.spooled import a_row, an_id, rows_of

NAMES = [cql_name(column) for column in COLUMNS]
INSERT = f"INSERT INTO events_by_session (hour, {', '.join(NAMES)}) VALUES (?, {', '.join('?' * len(NAMES))})"


@asynccontextmanager
async def driven(settings: ScyllaSettings) -> AsyncIterator[Driver]:
    driver = await connected(settings)
    try:
        yield driver
    finally:
        await driver.close()


async def store(driver: Driver, rows: Sequence[bytes]) -> None:
    async def one(row: bytes) -> None:
        values: list[Any] = [str(value) if isinstance(value, UUID) else value for value in decode(row)]
        await driver.execute(INSERT, [decode(row).occurred_at_us // 86_400_000_000, *values])

    for at in range(0, len(rows), 64):
        await asyncio.gather(*map(one, rows[at : at + 64]))


class Seen:
    """A Part that keeps what was read to its end."""

    def __init__(self, everything: Counter[bytes]) -> None:
        self._everything = everything
        self._rows: list[bytes] = []

    async def take(self, rows: list[Row]) -> None:
        self._rows += map(tuples_of(COLUMNS), rows)

    def whole(self) -> None:
        self._everything.update(self._rows)


def nothing() -> Seen:
    return Seen(Counter())


def count(told: Counter[tuple[int, int]], done: int, all_: int) -> None:
    told[done, all_] += 1


class Breaking:
    """A driver whose pages are lost now and then, before or after they were given."""

    def __init__(self, driver: Driver, seed: int, often: float = 0.1) -> None:
        self._driver = driver
        self._chance = random.Random(seed).random
        self._often = often
        self.page_rows: set[int] = set()

    async def scan(self, cql: str, values: Sequence[Value] = (), *, page_rows: int = 0) -> AsyncIterator[list[Row]]:
        self.page_rows.add(page_rows)
        async for page in self._driver.scan(cql, values, page_rows=page_rows):
            if self._chance() < self._often:
                raise random.Random(self._chance()).choice([CqlTimeout, CqlGone])("on purpose")
            yield page
            if self._chance() < self._often:
                raise CqlTimeout("on purpose, behind a page")


def test_ranges_are_the_whole_ring_without_gap_or_overlap() -> None:
    for number in (1, 2, 3, 256):
        cut = ranges(number)
        assert (cut[0].begin, cut[-1].end, len(cut)) == (RING_BEGIN, RING_END, number)
        assert all(one.end == following.begin for one, following in pairwise(cut))


def test_every_row_is_read_once_as_the_tuple_it_was_whatever_breaks(cql_settings: ScyllaSettings) -> None:
    full = a_row(
        sent_at_us=RECEIVED_AT_US - 1, sequence=2**53 - 1, position_s=0, duration_s=2**31 - 1, profile_id=an_id(),
        quality="1440p", bitrate_kbps=4500, device_type="Fernseher", platform="tizen", cdn_edge="fra-03",
        buffer_duration_ms=240, startup_ms=810, error_code="MEDIA_ERR_DECODE", player="shaka", app_version="3.2.1",
        country="DE", metadata='{"a" :  [1, 2.50, "\\u00e9\\u0000", null], "a": 1}', test=True,
    )  # fmt: skip
    rows = [full, *rows_of(120), *(a_row(session_id=an_id()) for _ in range(400))]

    async def scenario() -> None:
        async with driven(cql_settings) as driver:
            await store(driver, rows)
            columns = ", ".join(NAMES)
            for reader in (driver, Breaking(driver, 1), Breaking(driver, 2)):
                seen, told = Counter[bytes](), Counter[tuple[int, int]]()
                await scan(reader, BY_SESSION, columns, partial(Seen, seen), told=partial(count, told), pieces=32)
                assert seen == Counter(rows)
                assert told == Counter((number, 32) for number in range(1, 33))
                if isinstance(reader, Breaking):
                    assert {PAGE_ROWS, PAGE_ROWS // 2} <= reader.page_rows, "timeouts make pages smaller"

    run(scenario)


def test_an_outage_is_waited_out_for_so_long_and_a_missing_table_not_at_all(cql_settings: ScyllaSettings) -> None:
    async def scenario() -> None:
        async with driven(cql_settings) as driver:
            with pytest.raises((CqlTimeout, CqlGone)):
                await scan(Breaking(driver, 3, often=1.0), BY_SESSION, "hour", nothing, patience_s=0.5)
            with pytest.raises(CqlMissing):
                await scan(driver, Table("no_such_table", "day"), "day", nothing)

    run(scenario)
