"""What the admin port tells of campaigns: real rows, by HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ingest.clock import SystemClock
from live.campaigns import FIGURES, HOURS_MAX
from live.campaigns_api import CampaignsApi
from live.tables import Tables
from tests.contract.advertised import CAMPAIGN, OTHER, Advertised
from tests.in_loop import in_loop

HOUR = timedelta(hours=1)
PROFILE = str(UUID(int=9))


@pytest.fixture
def advertised(embedded_url: str, valkey_url: str) -> Advertised:
    return Advertised(embedded_url, valkey_url)


class Asked:
    """The routes, asked."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def ask(self, path: str, **query: Any) -> tuple[int, Any]:
        async with self._client.get(path, params=query) as answer:
            return answer.status, await answer.json()

    async def told(self, path: str, **query: Any) -> Any:
        status, body = await self.ask(path, **query)
        assert status == 200, body
        return body


@asynccontextmanager
async def asking(tables: Tables) -> AsyncIterator[Asked]:
    application = web.Application()
    application.add_routes(CampaignsApi(tables, SystemClock()).routes())
    async with TestClient(TestServer(application)) as client:
        yield Asked(client)
    tables.close()


def running_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


@in_loop
async def test_a_campaign_is_told_with_its_figures_rates_money_and_pace(advertised: Advertised) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    flight: dict[str, Any] = {"start_date": now - timedelta(days=10), "end_date": now + timedelta(days=30)}
    budgets: dict[str, Any] = {"budget_total": Decimal("20.00"), "budget_daily": Decimal("4.00")}
    await advertised.campaign(
        name="Ünïcode", status="active", pricing_model="cpm", bid_amount=Decimal("12.3456"), **flight, **budgets
    )
    figures: dict[str, Any] = {name: 1_000 - 10 * place for place, name in enumerate(FIGURES)}
    await advertised.reach(**figures)
    async with asking(advertised.tables()) as there:
        found = await there.told(f"/v1/campaigns/{CAMPAIGN}")
    as_of = datetime.fromisoformat(found.pop("as_of"))
    assert abs(as_of - datetime.now(UTC)) < timedelta(minutes=5)
    assert found.pop("pace") == pytest.approx(12.3456 / 20 / 0.25, rel=1e-3)
    assert found == {
        "campaign_id": str(CAMPAIGN), "name": "Ünïcode", "status": "active", "currency": "USD",
        "pricing_model": "cpm", "bid_amount": "12.3456", **figures,
        "click_through_rate": 0.94, "completion_rate": 0.95, "spent": "12.3456", "spent_today": "12.3456",
        "budget_total": "20.00", "budget_daily": "4.00", "remaining_total": "7.6544", "remaining_daily": "-8.3456",
    }  # fmt: skip


@in_loop
async def test_nothing_is_told_of_what_there_is_none_of(advertised: Advertised) -> None:
    await advertised.campaign()
    async with asking(advertised.tables()) as there:
        found = await there.told(f"/v1/campaigns/{CAMPAIGN}", profile_id=PROFILE)
        assert (await there.told(f"/v1/campaigns/{CAMPAIGN}/hours"))["hours"] == []
    assert [found[name] for name in FIGURES] == [0] * len(FIGURES)
    nothing = ("click_through_rate", "completion_rate", "pace", "budget_total", "remaining_total", "remaining_daily")
    assert [found[name] for name in nothing] == [None] * len(nothing)
    assert (found["spent"], found["frequency"]) == ("0.0000", {"today": 0, "total": 0})


@in_loop
@pytest.mark.parametrize("dates", ["end_date = 'infinity'", "start_date = '-infinity', end_date = '2030-01-01'"])
async def test_a_flight_without_a_beginning_or_an_end_has_no_pace(advertised: Advertised, dates: str) -> None:
    await advertised.campaign(budget_total=100)
    await advertised.ask(f"UPDATE ad_campaigns SET {dates}")
    await advertised.reach(impressions=5)
    async with asking(advertised.tables()) as there:
        assert (await there.told(f"/v1/campaigns/{CAMPAIGN}"))["pace"] is None
        assert len((await there.told("/v1/campaigns"))["campaigns"]) == 1


@in_loop
async def test_a_campaign_that_is_not_in_the_table_is_unknown_and_then_has_all_it_reached(
    advertised: Advertised,
) -> None:
    await advertised.reach(impressions=7)
    async with asking(advertised.tables()) as there:
        for path in (f"/v1/campaigns/{CAMPAIGN}", f"/v1/campaigns/{CAMPAIGN}/hours"):
            status, body = await there.ask(path)
            assert (status, body["error"]) == (404, "unknown_campaign")
        await advertised.campaign(bid_amount=1_000)
        found = await there.told(f"/v1/campaigns/{CAMPAIGN}")
    assert (found["impressions"], found["spent"]) == (7, "7.0000"), "before any job has summed it"


@in_loop
async def test_the_busiest_of_the_last_24_hours_come_first(advertised: Advertised) -> None:
    old, active, idle = (uuid4() for _ in range(3))
    statuses = {CAMPAIGN: "paused", OTHER: "draft", old: "completed", active: "active", idle: "draft"}
    for campaign, status in statuses.items():
        await advertised.campaign(campaign, status=status)
    await advertised.reach(impressions=5)
    await advertised.reach(OTHER, hour=running_hour() - 22 * HOUR, impressions=9)
    await advertised.reach(old, hour=running_hour() - 30 * HOUR, impressions=1_000)
    async with asking(advertised.tables()) as there:
        found = await there.told("/v1/campaigns")
        assert [one["campaign_id"] for one in found["campaigns"]] == [str(OTHER), str(CAMPAIGN), str(active)]
        assert found["campaigns"][1] | {"as_of": ""} == await there.told(f"/v1/campaigns/{CAMPAIGN}") | {"as_of": ""}
        assert len((await there.told("/v1/campaigns", top=1))["campaigns"]) == 1


@in_loop
async def test_hours_are_those_that_begin_in_a_span_each_with_its_cost(advertised: Advertised) -> None:
    await advertised.campaign(pricing_model="cpc", bid_amount=Decimal("0.3333"))
    begin = datetime(2026, 10, 31, 23, tzinfo=UTC)
    for number in range(4):
        await advertised.reach(hour=begin + number * HOUR, clicks=number, impressions=10)
    async with asking(advertised.tables()) as there:
        path = f"/v1/campaigns/{CAMPAIGN}/hours"
        found = await there.told(path, **{"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T03:00:00+01:00"})
        assert found["campaign_id"] == str(CAMPAIGN)
        assert [(one["hour"], one["clicks"], one["spent"]) for one in found["hours"]] == [
            ("2026-11-01T00:00:00.000Z", 1, "0.3333"), ("2026-11-01T01:00:00.000Z", 2, "0.6666")
        ]  # fmt: skip
        assert set(found["hours"][0]) == {"hour", "spent", *FIGURES}
        found = await there.told(path, **{"from": "2026-11-01T02:00:00.001Z", "to": "2026-11-02T00:00:00Z"})
        assert found["hours"] == []
        await advertised.reach(clicks=1)
        await advertised.reach(hour=running_hour() - 22 * HOUR, clicks=1)
        await advertised.reach(hour=running_hour() - 26 * HOUR, clicks=1)
        assert len((await there.told(path))["hours"]) == 2, "of the last day"


@in_loop
async def test_of_more_hours_than_are_told_at_once_the_answer_says_where_to_go_on(advertised: Advertised) -> None:
    await advertised.campaign()
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    await advertised.ask(
        "INSERT INTO ad_campaign_hours (campaign_id, hour, clicks) "
        "SELECT $1, hour, 1 FROM generate_series($2::timestamptz, $2 + $3 * interval '1 hour', '1 hour') AS hour",
        CAMPAIGN, begin, HOURS_MAX + 4,
    )  # fmt: skip
    async with asking(advertised.tables()) as there:
        path, since = f"/v1/campaigns/{CAMPAIGN}/hours", "0001-01-01T00:00:00+14:00"
        first = await there.told(path, **{"from": since})
        assert len(first["hours"]) == HOURS_MAX and first["next"] not in {one["hour"] for one in first["hours"]}
        rest = await there.told(path, **{"from": first["next"], "to": "9999-12-31T23:59:59-14:00"})
        assert (len(rest["hours"]), rest["hours"][0]["hour"], rest["next"]) == (5, first["next"], None)
        assert (await there.told(path, **{"from": first["next"], "to": since}))["hours"] == []


@in_loop
async def test_how_often_a_profile_has_seen_it_today_and_ever(advertised: Advertised) -> None:
    await advertised.campaign()
    row = "INSERT INTO ad_frequencies VALUES ($1, $2, (now() AT TIME ZONE 'UTC')::date - $3::int, $4)"
    for campaign, days_ago, times in ((CAMPAIGN, 0, 2), (CAMPAIGN, 1, 3), (OTHER, 0, 5)):
        await advertised.ask(row, campaign, PROFILE, days_ago, times)
    async with asking(advertised.tables()) as there:
        found = await there.told(f"/v1/campaigns/{CAMPAIGN}", profile_id=PROFILE)
        assert found["frequency"] == {"today": 2, "total": 5}
        assert "frequency" not in await there.told(f"/v1/campaigns/{CAMPAIGN}")


REFUSED = {
    "/v1/campaigns?top=0": "out_of_range",
    "/v1/campaigns?top=101": "out_of_range",
    "/v1/campaigns/7": "invalid_uuid",
    "/v1/campaigns/7/hours": "invalid_uuid",
    f"/v1/campaigns/{CAMPAIGN}?profile_id=7": "invalid_uuid",
    f"/v1/campaigns/{CAMPAIGN}?profile_id={PROFILE}&profile_id={PROFILE}": "invalid_uuid",
    f"/v1/campaigns/{CAMPAIGN}/hours?from=yesterday": "invalid_time",
    f"/v1/campaigns/{CAMPAIGN}/hours?from=2026-11-01T00:00:00Z&from=2026-11-01T00:00:00Z": "out_of_range",
}


@in_loop
async def test_what_cannot_be_asked_is_refused_with_a_code_and_a_store_that_is_away_is_a_503(
    advertised: Advertised,
) -> None:
    async with asking(advertised.tables()) as there:
        for path, code in REFUSED.items():
            status, body = await there.ask(path)
            assert (status, body["error"]) == (400, code), path
    away = advertised.postgres_url.rpartition("/")[0] + "/nothing"
    async with asking(Tables(lambda: away)) as there:
        for path in ("/v1/campaigns", f"/v1/campaigns/{CAMPAIGN}", f"/v1/campaigns/{CAMPAIGN}/hours"):
            status, body = await there.ask(path)
            assert (status, body["error"]) == (503, "store_unavailable")
