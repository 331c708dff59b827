"""Impressions that are over go, figures stay, and what `verify` compares agrees at each moment."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ingest.ad import AdRow
from storage.postgres import ad_retention
from storage.postgres.ad_retention import AdRetention
from storage.postgres.audit import Audit
from storage.postgres.job import JobFailed
from tests.ads import ads_frame, an_ad
from tests.contract.connected import connected
from tests.contract.postgres_store import Store, a_store, run
from tests.spooled import Spooled, an_id

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
DOOR_PAST_S = 35 * 86_400
RETENTION_DAYS = 400


def us(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def shown(age: timedelta, **changes: Any) -> AdRow:
    """An impression that was received so long ago."""
    at_us = us(NOW - age)
    return an_ad(occurred_at_us=at_us - 10_000_000, received_at_us=at_us, **changes)


@pytest.fixture
def store(embedded_url: str, tmp_path: Path) -> Store:
    return a_store(embedded_url, tmp_path)


async def merged(store: Store, *rows: AdRow) -> None:
    await store.write(Spooled().slice(ads_frame(rows)))


async def retained(store: Store, now: datetime = NOW, **settings: int) -> str:
    """One run."""
    chosen = {"retention_days": RETENTION_DAYS, "door_past_s": DOOR_PAST_S, "months_max": 2} | settings
    async with connected(store.url) as connection:
        return await AdRetention(**chosen).run(connection, now)


async def left(store: Store) -> set[Any]:
    async with connected(store.url) as connection:
        return {row["impression_id"] for row in await connection.fetch("SELECT impression_id FROM ad_impressions")}


async def booked_and_there(store: Store) -> tuple[int, int]:
    """As `verify` compares them."""
    async with Audit(store.url) as audit:
        booked = sum(one.totals.months["ads"].rows for one in await audit.positions() if "ads" in one.totals.months)
        return booked, await audit.ad_events()


def test_what_is_over_goes_and_what_is_not_stays_and_verify_agrees(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ad_retention, "AT_ONCE", 7)  # many transactions

    async def scenario() -> None:
        campaign, profile = an_id(), an_id()
        over = [shown((RETENTION_DAYS + 1) * DAY, impression_id=an_id(), campaign_id=campaign) for _ in range(60)]
        kept = [shown((RETENTION_DAYS - 1) * DAY, impression_id=an_id(), campaign_id=campaign) for _ in range(9)]
        started = shown((RETENTION_DAYS + 1) * DAY, impression_id=over[0].impression_id, event="start")
        fresh = shown(DAY, campaign_id=campaign, profile_id=profile)
        await merged(store, *over, *kept, started, fresh)
        before = await store.value("SELECT sum(impressions) FROM ad_campaign_hours")
        assert await booked_and_there(store) == (71, 71)
        said = await retained(store)
        assert said.startswith("60 impressions and 0 frequencies")
        assert await left(store) == {one.impression_id for one in (*kept, fresh)}
        assert await booked_and_there(store) == (71, 71)
        assert await store.value("SELECT sum(impressions) FROM ad_campaign_hours") == before == 70
        assert (await retained(store)).startswith("0 impressions")
        await merged(store, shown(DAY))
        assert await booked_and_there(store) == (72, 72)

    run(scenario)


def test_frequencies_go_once_no_event_can_move_them(store: Store) -> None:
    async def scenario() -> None:
        await merged(store, shown(DAY, campaign_id=an_id(), profile_id=an_id()))
        row = "INSERT INTO ad_frequencies VALUES (gen_random_uuid(), gen_random_uuid(), $1, 1)"
        async with connected(store.url) as connection:
            for days in (RETENTION_DAYS + 68, RETENTION_DAYS + 65, 1):
                await connection.execute(row, (NOW - days * DAY).date())
        assert "0 impressions and 1 frequencies" in await retained(store)
        assert await store.value("SELECT count(*) FROM ad_frequencies") == 3

    run(scenario)


def test_an_impression_of_which_the_door_takes_events_is_never_over(store: Store) -> None:
    async def scenario() -> None:
        young, old = shown(60 * DAY), shown(70 * DAY)
        await merged(store, young, old)
        await retained(store, retention_days=1)
        assert await left(store) == {young.impression_id}

    run(scenario)


def test_by_a_clock_that_is_years_ahead_nothing_goes(store: Store) -> None:
    async def scenario() -> None:
        one = shown(DAY)
        await merged(store, one)
        assert (await retained(store, NOW + 3_000 * DAY)).startswith("0 impressions"), "PostgreSQL's clock is behind it"
        await store.execute("UPDATE ad_impressions SET received_at = received_at - interval '3000 days'")
        with pytest.raises(JobFailed, match="is the clock right"):
            await retained(store)
        assert await left(store) == {one.impression_id}
        assert (await retained(store, months_max=100)).startswith("1 impressions")

    run(scenario)


def test_events_merged_meanwhile_are_neither_lost_nor_counted_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ad_retention, "AT_ONCE", 20)
    monkeypatch.setattr(ad_retention, "REST", 0.0)

    async def scenario() -> None:
        campaign = an_id()
        over = [shown((RETENTION_DAYS + 1) * DAY, impression_id=an_id(), campaign_id=campaign) for _ in range(1_000)]
        await merged(store, *over)
        retaining = asyncio.create_task(retained(store))
        spooled, sink = Spooled(), await store.opened()
        news = [[shown(DAY, impression_id=an_id(), campaign_id=campaign) for _ in range(50)] for _ in range(20)]
        for batch in news:
            await sink.write([spooled.slice(ads_frame(batch))])
        await sink.close()
        assert (await retaining).startswith("1000 impressions")
        assert await left(store) == {one.impression_id for batch in news for one in batch}
        assert await booked_and_there(store) == (2_000, 2_000)

    run(scenario)


def test_who_is_killed_in_the_middle_took_whole_transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ad_retention, "AT_ONCE", 10)
    monkeypatch.setattr(ad_retention, "REST", 1.0)

    async def scenario() -> None:
        over = [shown((RETENTION_DAYS + 1) * DAY, impression_id=an_id()) for _ in range(2_000)]
        await merged(store, *over)
        async with connected(store.url) as other:
            retaining = asyncio.create_task(retained(store))
            while await other.fetchval("SELECT count(*) FROM ad_impressions") > 1_800:
                await asyncio.sleep(0.01)
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
            await retaining
        assert 0 < len(await left(store)) < 2_000
        assert await booked_and_there(store) == (2_000, 2_000)

    run(scenario)
