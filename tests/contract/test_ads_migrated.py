"""Rows of ads that are there when the merge comes to them, made by others or by the merge before a way down and up."""

import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from storage.postgres import migration
from storage.postgres.audit import Audit
from storage.postgres.totals import ADS
from tests.ads import ads_frame, an_ad, many_ads
from tests.contract.connected import connected
from tests.contract.postgres_store import Store, a_store, run
from tests.spooled import Spooled

MERGE = 16  # the migration below which the merge has nothing to write to
BELOW_THE_MERGE = sum(one.version >= MERGE for one in migration.migrations())  # steps
FIGURES = "SELECT * FROM ad_campaign_hours ORDER BY campaign_id, hour"
FREQUENCIES = "SELECT * FROM ad_frequencies WHERE impressions <> 0 ORDER BY campaign_id, profile_id, day"


@pytest.fixture
def store(embedded_url: str, tmp_path: Path) -> Store:
    return a_store(embedded_url, tmp_path)


async def figures(connection: asyncpg.Connection) -> tuple[list[Any], list[Any]]:
    """Hours without their repeats, which no row says the hour of once it was made anew; and frequencies."""
    hours = [{**dict(row), "repeats": 0} for row in await connection.fetch(FIGURES)]
    return [row for row in hours if any(list(row.values())[2:])], await connection.fetch(FREQUENCIES)


async def is_balanced(store: Store) -> bool:
    async with Audit(store.url) as audit:
        books = await store.books()
        return await audit.ad_events() == sum(one.months[ADS].rows for one in books if ADS in one.months)


def test_figures_are_the_same_behind_a_way_down_and_up_and_go_on_from_there(store: Store) -> None:
    async def scenario() -> None:
        # a way down takes how long an ad was, and with it what of its times is implausible only for that
        sent = [one._replace(duration_ms=None) for one in many_ads(random.Random(3), impressions=60)]
        spooled, sink = Spooled(), await store.opened()
        await sink.write([spooled.slice(ads_frame(sent))])
        await sink.close()
        async with connected(store.url) as connection:
            before = await figures(connection)
            assert before[0] and before[1]
            for steps in (1, BELOW_THE_MERGE):
                await migration.down(connection, steps)
                await migration.up(connection)
                assert await figures(connection) == before
                assert await is_balanced(store)
            counted = next(one for one in sent if one.campaign_id and one.event == "impression")
            sink = await store.opened()
            await sink.write([spooled.slice(ads_frame([counted._replace(event="pause", test=True)]))])
            await sink.close()
            assert all(figure >= 0 for row in await connection.fetch(FIGURES) for figure in list(row.values())[2:])
        assert await is_balanced(store)

    run(scenario)


def test_rows_that_others_made_are_counted_and_booked_by_nobody(store: Store) -> None:
    async def scenario() -> None:
        campaign, profile = uuid4(), uuid4()
        async with connected(store.url) as connection:
            await migration.down(connection, BELOW_THE_MERGE)
            await connection.execute(
                "INSERT INTO ad_impressions (impression_id, campaign_id, profile_id, impression_at, start_at, test) "
                "SELECT gen_random_uuid(), $1, $2, now(), now(), n = 3 FROM generate_series(1, 3) AS n",
                campaign, profile,
            )  # fmt: skip
            await migration.up(connection)
            (hour,), ((*_, seen),) = await figures(connection)
            assert (hour["impressions"], hour["starts"], hour["tests"], seen) == (2, 2, 1, 2)
            assert [row["campaign_id"] for row in await connection.fetch("SELECT * FROM ad_campaign_stale")] == [
                campaign
            ]
        assert await is_balanced(store)
        sink = await store.opened()
        await sink.write([Spooled().slice(ads_frame([an_ad(campaign_id=campaign)]))])
        await sink.close()
        assert await is_balanced(store)

    run(scenario)
