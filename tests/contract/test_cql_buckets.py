"""How many buckets a content's hour has: one number for a content and day, whoever writes and whatever is set."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from config.scylla import ScyllaSettings
from ingest.tuple import occurred_at_us
from storage.scylla.bucket import buckets_of_hour, day_of
from storage.scylla.content_buckets import EVERY_CONTENT, ContentBuckets, PlanRefused, plan
from storage.scylla.driver import connected
from tests.builders import RECEIVED_AT_US
from tests.contract.cql_store import CqlStore, run
from tests.spooled import DAY, SECOND, Spooled, a_row, an_id, rows_of

TODAY = day_of(RECEIVED_AT_US)


@pytest.fixture
def store(cql_settings: ScyllaSettings, tmp_path: Path) -> CqlStore:
    return CqlStore(cql_settings, tmp_path)


def test_the_first_writer_of_a_day_fixes_its_buckets_and_a_changed_setting_is_of_later_days(store: CqlStore) -> None:
    async def scenario() -> None:
        rows, spooled = rows_of(40, session_id=an_id()), Spooled()
        sink = await store.opened(content_buckets=3)
        await sink.write([spooled.slice(rows)])
        await sink.close()
        changed = await store.opened(content_buckets=50)
        await changed.write([spooled.slice(rows)])  # the same events once more
        later = a_row(occurred_at_us=RECEIVED_AT_US + DAY - SECOND)
        await changed.write([spooled.slice([later])])
        await changed.close()
        assert await store.ids() == sorted(row[6:22] for row in [*rows, later])
        days = await store.execute("SELECT day, content_id, buckets FROM content_buckets")
        assert sorted(days) == [(TODAY, EVERY_CONTENT, 3), (day_of(occurred_at_us(later)), EVERY_CONTENT, 50)]

    run(scenario)


def test_of_many_that_open_a_day_at_once_one_decides(store: CqlStore) -> None:
    async def scenario() -> None:
        drivers = [await connected(store.settings) for _ in range(3)]
        numbers = list(range(1, 13))
        made = [
            ContentBuckets(drivers[number % 3], ScyllaSettings(content_buckets=number)).open_day(TODAY)
            for number in numbers
        ]
        found = {day.of(an_id().bytes) for day in await asyncio.gather(*made)}
        assert len(found) == 1 and found <= set(numbers)
        for driver in drivers:
            await driver.close()

    run(scenario)


def test_a_content_that_was_planned_for_more_has_more_from_its_first_event_on(store: CqlStore) -> None:
    async def scenario() -> None:
        hit, day = an_id(), TODAY + 2
        driver = await connected(store.settings)
        await plan(driver, hit, day, 40, RECEIVED_AT_US)
        time_us = day * DAY + 20 * 3_600 * SECOND
        rows = [a_row(content_id=hit, session_id=an_id(), occurred_at_us=time_us) for _ in range(300)]
        other = [a_row(session_id=an_id(), occurred_at_us=time_us) for _ in range(300)]
        await store.write(Spooled().slice(rows, other))
        for content, most in ((hit, 40), (UUID(int=1), store.settings.content_buckets)):
            found = await driver.execute("SELECT content_id, bucket FROM events_by_content")
            buckets = {bucket for content_id, bucket in found if content_id == str(content)}
            assert buckets <= set(buckets_of_hour(time_us, most)) and len(buckets) > most * 0.9
        await driver.close()

    run(scenario)


@pytest.mark.parametrize("ahead", [-3, 0, 1], ids=["past", "today", "tomorrow"])
def test_a_day_that_is_open_cannot_be_planned(store: CqlStore, ahead: int) -> None:
    async def scenario() -> None:
        driver = await connected(store.settings)
        with pytest.raises(PlanRefused, match="open"):
            await plan(driver, an_id(), TODAY + ahead, 40, RECEIVED_AT_US)
        await driver.close()

    run(scenario)


def test_nor_can_a_day_that_an_event_was_written_for_or_every_content_or_no_number(store: CqlStore) -> None:
    async def scenario() -> None:
        driver = await connected(store.settings)
        await store.write(Spooled().slice([a_row(occurred_at_us=RECEIVED_AT_US + 5 * DAY)]))
        for content, day, buckets in ((an_id(), TODAY + 5, 40), (UUID(int=0), TODAY + 9, 40), (an_id(), TODAY + 9, 0)):
            with pytest.raises(PlanRefused):
                await plan(driver, content, day, buckets, RECEIVED_AT_US)
        assert len(await driver.execute("SELECT * FROM content_buckets")) == 1
        await driver.close()

    run(scenario)


def test_a_day_without_events_has_no_buckets_to_read(store: CqlStore) -> None:
    async def scenario() -> None:
        driver = await connected(store.settings)
        buckets = ContentBuckets(driver, store.settings)
        assert await buckets.of_day(TODAY) is None
        await store.write(Spooled().slice(rows_of(1)))
        found = await buckets.of_day(TODAY)
        assert found is not None and found.of(an_id().bytes) == store.settings.content_buckets
        await driver.close()

    run(scenario)
