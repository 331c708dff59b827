"""Campaigns' hours into the platform's table and to ad servers: nothing missed, nobody held up."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from gateway.ad_campaigns_job import AdCampaignsJob
from storage.postgres.campaigns import AT_ONCE
from storage.postgres.job import Job, JobFailed
from storage.redis import campaigns as hashes
from storage.redis import key
from storage.redis.connection import connect
from tests.contract.advertised import CAMPAIGN, OTHER, Advertised, reach, soon
from tests.contract.connected import connected
from tests.in_loop import in_loop


@pytest.fixture
def advertised(embedded_url: str, valkey_url: str) -> Advertised:
    return Advertised(embedded_url, valkey_url)


async def marks(advertised: Advertised) -> int:
    return len(await advertised.ask("SELECT FROM ad_campaign_stale"))


@in_loop
async def test_the_platforms_row_has_the_sums_of_all_hours(advertised: Advertised) -> None:
    await advertised.campaign(bid_amount=2, pricing_model="cpcv")
    first: dict[str, Any] = {"impressions": 10, "starts": 9, "completions": 6, "clicks": 4, "skips": 2, "errors": 1}
    await advertised.reach(**first)
    await advertised.reach(
        hour=datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=40), **first
    )
    await advertised.reach(impressions=-1, clicks=-1)  # one was found to be implausible
    assert await advertised.turn() == "1 campaigns summed"
    names = ("impression_count", "start_count", "complete_count", "click_count", "skip_count", "error_count", "spent")
    row = await advertised.row()
    assert [row[name] for name in names] == [19, 18, 12, 7, 4, 2, 24]
    assert await marks(advertised) == 0
    assert await advertised.turn() == "0 campaigns summed"


@in_loop
async def test_a_campaign_that_the_platform_has_locked_waits_alone_and_is_summed_when_it_is_free(
    advertised: Advertised,
) -> None:
    await advertised.campaign()
    await advertised.campaign(OTHER)
    async with connected(advertised.postgres_url) as platform:
        async with platform.transaction():
            await platform.execute("UPDATE ad_campaigns SET bid_amount = 7 WHERE id = $1", CAMPAIGN)
            await soon(advertised.reach(impressions=5))
            await soon(advertised.reach(OTHER, impressions=3))
            assert await soon(advertised.turn()) == "1 campaigns summed"
            await soon(advertised.reach(impressions=1))
            assert (await advertised.row(OTHER))["impression_count"] == 3
            assert (await advertised.standing(OTHER))["impressions"] == "3"
        assert (await advertised.row())["impression_count"] == 0
    assert await advertised.turn() == "1 campaigns summed"
    assert (await advertised.row())["impression_count"] == 6


@in_loop
async def test_a_table_that_is_being_altered_fails_a_turn_and_the_next_one_does_it(advertised: Advertised) -> None:
    await advertised.campaign()
    await advertised.reach(impressions=5)
    async with connected(advertised.postgres_url) as platform, platform.transaction():
        await platform.execute("LOCK TABLE ad_campaigns IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await soon(advertised.turn())
        await soon(advertised.reach(impressions=1))
    assert await advertised.turn() == "1 campaigns summed"
    assert (await advertised.row())["impression_count"] == 6


@in_loop
async def test_a_campaign_that_costs_more_than_the_table_can_say_costs_as_much_as_it_can(
    advertised: Advertised,
) -> None:
    await advertised.campaign(pricing_model="cpc", bid_amount=Decimal(999_999))
    await advertised.campaign(OTHER, pricing_model="cpc", bid_amount=1)
    await advertised.reach(clicks=10_001)
    await advertised.reach(OTHER, clicks=3)
    assert await advertised.turn() == "2 campaigns summed"
    assert (await advertised.row())["spent"] == Decimal("9999999999.9999")
    assert (await advertised.row(OTHER))["spent"] == 3


@in_loop
async def test_sums_that_the_table_refuses_are_named_and_keep_nobody_else_from_theirs(advertised: Advertised) -> None:
    await advertised.campaign()
    await advertised.campaign(OTHER)
    await advertised.reach(impressions=-1)
    await advertised.reach(OTHER, impressions=3)
    for _ in range(2):  # it keeps its mark, and is tried again
        with pytest.raises(JobFailed, match=f"1 campaigns were not summed: {CAMPAIGN}"):
            await advertised.turn()
        assert (await advertised.row(OTHER))["impression_count"] == 3
        assert (await advertised.standing(OTHER))["impressions"] == "3"
    await advertised.reach(impressions=3)
    assert await advertised.turn() == "1 campaigns summed"
    assert (await advertised.row())["impression_count"] == 2


@in_loop
async def test_what_is_committed_behind_a_sum_is_in_the_next_one(advertised: Advertised) -> None:
    await advertised.campaign()
    await advertised.reach(impressions=5)
    async with connected(advertised.postgres_url) as drain, drain.transaction():
        await reach(drain, CAMPAIGN, impressions=2)
        assert await soon(advertised.turn()) == "1 campaigns summed"
        assert (await advertised.row())["impression_count"] == 5
    assert await advertised.turn() == "1 campaigns summed"
    assert (await advertised.row())["impression_count"] == 7


@in_loop
async def test_figures_of_a_campaign_that_is_not_in_the_table_wait_for_it(advertised: Advertised) -> None:
    await advertised.reach(impressions=5, clicks=2)
    assert await advertised.turn() == "0 campaigns summed"
    assert (await marks(advertised), await advertised.standing()) == (0, {})
    await advertised.campaign(bid_amount=1, pricing_model="cpc")
    assert await advertised.turn() == "1 campaigns summed"
    row = await advertised.row()
    assert (row["impression_count"], row["spent"]) == (5, 2)


@in_loop
async def test_more_campaigns_than_are_summed_at_once_are_all_summed(advertised: Advertised) -> None:
    many = 2 * AT_ONCE + 7
    await advertised.ask(
        "INSERT INTO ad_campaigns (name, advertiser, start_date) SELECT n, n, now() FROM generate_series(1, $1) n", many
    )
    await advertised.ask(
        "INSERT INTO ad_campaign_hours (campaign_id, hour, clicks) SELECT id, now(), 1 FROM ad_campaigns"
    )
    assert await advertised.turn() == f"{many} campaigns summed"
    assert (await advertised.ask("SELECT sum(click_count) FROM ad_campaigns"))[0][0] == many


@in_loop
async def test_an_ad_server_reads_what_is_spent_and_what_remains(advertised: Advertised) -> None:
    budgets: dict[str, Any] = {"budget_total": Decimal("10.00"), "budget_daily": Decimal("2.50")}
    await advertised.campaign(bid_amount=Decimal("1.5"), pricing_model="cpc", **budgets)
    await advertised.reach(impressions=9, clicks=2, completions=4)
    await advertised.reach(hour=datetime(2026, 3, 1, tzinfo=UTC), clicks=4)
    await advertised.turn()
    found = await advertised.standing()
    assert datetime.fromisoformat(found.pop("as_of")).tzinfo is not None
    assert found == {
        "impressions": "9", "clicks": "6", "completions": "4", "spent": "9.0000", "spent_today": "3.0000",
        "remaining_total": "1.0000", "remaining_daily": "-0.5000",
    }  # fmt: skip
    await advertised.ask("UPDATE ad_campaigns SET budget_total = 8, budget_daily = NULL")
    await advertised.turn()
    found = await advertised.standing()
    assert (found["remaining_total"], found["remaining_daily"]) == ("-1.0000", ""), "overspent; without a bound"


@in_loop
async def test_a_redis_that_was_emptied_has_all_campaigns_again_with_the_next_turn(advertised: Advertised) -> None:
    await advertised.campaign(budget_total=1)
    await advertised.campaign(OTHER)
    await advertised.reach(impressions=5)
    await advertised.turn()
    client = connect(advertised.redis_url)
    before = await advertised.standing()
    await client.flushall()
    assert await advertised.turn() == "0 campaigns summed"
    assert {**await advertised.standing(), "as_of": ""} == {**before, "as_of": ""}
    assert (await advertised.standing(OTHER))["impressions"] == "0"
    assert 0 < await client.ttl(key.CAMPAIGNS) <= hashes.WHOLE_S
    assert hashes.WHOLE_S < await client.ttl(key.campaign(CAMPAIGN)) <= hashes.KEPT_S
    await client.delete(key.campaign(OTHER))
    await advertised.turn()
    assert await advertised.standing(OTHER) == {}, "it was whole, and is written again within the minute"
    await client.set(key.CAMPAIGNS, "2026-01-01")
    await advertised.turn()
    assert await advertised.standing(OTHER) != {}, "a new day has begun"
    await client.aclose()


@in_loop
async def test_while_redis_takes_nothing_the_platforms_table_is_kept_up_and_behind_that_ad_servers_have_it_at_once(
    advertised: Advertised,
) -> None:
    await advertised.campaign()
    await advertised.turn()
    await advertised.reach(impressions=5)
    client, job = connect(advertised.redis_url), AdCampaignsJob(advertised.redis_url)
    await client.config_set("maxmemory", 1)
    try:
        for summed in (1, 0):
            with pytest.raises(JobFailed, match=f"{summed} campaigns summed, but ad servers read what was before"):
                await advertised.turn_of(job)
        assert (await advertised.row())["impression_count"] == 5
        assert (await advertised.standing())["impressions"] == "0"
    finally:
        await client.config_set("maxmemory", 0)
    assert await advertised.turn_of(job) == "0 campaigns summed"
    assert (await advertised.standing())["impressions"] == "5"
    await job.close()
    await client.aclose()


@in_loop
async def test_of_many_gateways_one_does_it(advertised: Advertised) -> None:
    await advertised.campaign()
    await advertised.reach(impressions=5)
    works = [AdCampaignsJob(advertised.redis_url) for _ in range(5)]
    jobs = [Job("ad_campaigns", 3_600.0, advertised.postgres_url, work.run) for work in works]
    turns = await asyncio.gather(*(job.turn() for job in jobs))
    assert [(turn.outcome, turn.detail) for turn in turns if turn is not None] == [("done", "1 campaigns summed")]
    for job, work in zip(jobs, works, strict=True):
        await job.close()
        await work.close()
