"""The PostgreSQL sink beside another store of playback events: it passes their rows over, and says whose they are."""

import asyncio
import random
from pathlib import Path

import pytest

from storage.postgres.writer import PostgresSink
from storage.sink import SinkRefused
from tests.ads import ads_frame, many_ads
from tests.cmcd import a_cmcd_body
from tests.contract.ads_store import check
from tests.contract.postgres_store import Store, a_store, run
from tests.spooled import DAY, Spooled, a_row, broken, rows_of

CHOICE = "FROM ingest_registration WHERE reader = 'playback'"


@pytest.fixture
def store(embedded_url: str, tmp_path: Path) -> Store:
    return a_store(embedded_url, tmp_path)


@pytest.mark.usefixtures("each_core")
def test_rows_of_playback_are_passed_over_and_ad_events_are_merged(store: Store) -> None:
    async def scenario() -> None:
        spooled, rows, sent = Spooled(), rows_of(4), many_ads(random.Random(7), impressions=9)
        old = a_row(occurred_at_us=DAY, sent_at_us=DAY)
        sink = await store.opened(keeps_playback=False)
        await sink.write([spooled.slice(rows, ads_frame(sent), a_cmcd_body(), broken(old))])
        await sink.write([spooled.slice(rows, rows[:2], lost_rows=3)])  # sent again: whose the rows are, settles it
        await sink.close()
        (books,) = await store.books()
        assert books.elsewhere == 4 + 1 + 4 + 2
        assert (books.duplicate, books.dead, books.unaccounted) == (len(sent) - books.stored, {}, 0)
        assert books.months.keys() == {"ads"} and books.quarantined.rows == 3
        assert await store.rows() == [] and await store.value("SELECT count(*) FROM clock_repairs") == 0
        await check(store, sent)

    run(scenario)


def test_a_database_that_has_playback_rows_keeps_them(store: Store) -> None:
    async def scenario() -> None:
        await store.write(Spooled().slice(rows_of(2)))
        await store.execute(f"DELETE {CHOICE}")  # as one of before
        with pytest.raises(SinkRefused, match='set store = "postgres" again'):
            await store.opened(keeps_playback=False)
        await store.opened()

    run(scenario)


def test_a_database_whose_playback_rows_are_elsewhere_takes_none(store: Store) -> None:
    async def scenario() -> None:
        sink = await store.opened(keeps_playback=False)
        await sink.write([Spooled().slice(rows_of(2))])
        await sink.close()
        for _ in range(2):
            with pytest.raises(SinkRefused, match='set store = "scylla" again'):
                await store.opened()
            await store.opened(keeps_playback=False)

    run(scenario)


def test_a_database_of_before_with_nothing_but_ad_events_may_leave_the_rows_to_another_store(store: Store) -> None:
    async def scenario() -> None:
        await store.write(Spooled().slice(ads_frame(many_ads(random.Random(8), impressions=2))))
        await store.execute(f"DELETE {CHOICE}")
        await store.opened(keeps_playback=False)

    run(scenario)


@pytest.mark.parametrize("first", [True, False])
def test_of_two_opinions_the_second_is_refused_before_a_first_row_is_written(store: Store, first: bool) -> None:
    async def scenario() -> None:
        sink = await store.opened(keeps_playback=first)
        with pytest.raises(SinkRefused):
            await store.opened(keeps_playback=not first)
        await sink.write([Spooled().slice(rows_of(2))])
        await store.opened(keeps_playback=first)
        assert len(await store.rows()) == (2 if first else 0)

    run(scenario)


def test_of_two_that_choose_at_once_one_is_refused(store: Store) -> None:
    async def scenario() -> None:
        for _ in range(5):
            await store.execute(f"DELETE {CHOICE}")
            asked = [store.opened(keeps_playback=which) for which in (True, False, True, False)]
            found = await asyncio.gather(*asked, return_exceptions=True)
            refused = [isinstance(one, SinkRefused) for one in found]
            assert refused in ([True, False] * 2, [False, True] * 2)
            for one in found:
                if isinstance(one, PostgresSink):
                    await one.close()

    run(scenario)
