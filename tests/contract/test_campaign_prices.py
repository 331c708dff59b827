"""What an hour of a campaign costs: the price it began with, exactly, whatever the platform changes meanwhile."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest

from storage.postgres import migration
from tests.contract.advertised import CAMPAIGN, OTHER, Advertised
from tests.contract.connected import connected
from tests.in_loop import in_loop

HOUR = timedelta(hours=1)
LONG_AGO = datetime(2026, 3, 1, 5, tzinfo=UTC)


@pytest.fixture
def advertised(embedded_url: str, valkey_url: str) -> Advertised:
    return Advertised(embedded_url, valkey_url)


async def prices(advertised: Advertised, campaign: UUID = CAMPAIGN) -> list[tuple[str, str]]:
    """From the oldest on: model and bid."""
    found = await advertised.ask(
        "SELECT pricing_model, bid_amount FROM ad_campaign_prices WHERE campaign_id = $1 ORDER BY from_hour", campaign
    )
    return [(row["pricing_model"], str(row["bid_amount"])) for row in found]


async def next_price(advertised: Advertised, campaign: UUID = CAMPAIGN) -> datetime:
    """From when the newest one holds."""
    query = "SELECT max(from_hour) FROM ad_campaign_prices WHERE campaign_id = $1"
    return (await advertised.ask(query, campaign))[0][0]  # type: ignore[no-any-return]


@in_loop
async def test_the_first_price_is_that_of_every_hour_and_a_change_holds_from_the_next_full_one_on(
    advertised: Advertised,
) -> None:
    await advertised.campaign(pricing_model="cpm", bid_amount=Decimal("5"))
    await advertised.reach(hour=LONG_AGO, impressions=1_000, clicks=3)
    before = datetime.now(UTC)
    await advertised.ask("UPDATE ad_campaigns SET pricing_model = 'cpc', bid_amount = 0.25")
    begins = await next_price(advertised)
    assert (begins.minute, begins.second, begins.microsecond) == (0, 0, 0)
    assert before < begins <= datetime.now(UTC) + HOUR
    await advertised.reach(hour=begins - HOUR, impressions=2_000, clicks=5)
    await advertised.reach(hour=begins, impressions=4_000, clicks=7)
    await advertised.turn()
    assert (await advertised.row())["spent"] == Decimal("5.0000") + Decimal("10.0000") + 7 * Decimal("0.25")


@in_loop
async def test_of_changes_within_an_hour_the_last_one_wins(advertised: Advertised) -> None:
    for campaign in map(UUID, (f"{number:032x}" for number in range(10, 20))):
        await advertised.campaign(campaign, bid_amount=1)
        async with connected(advertised.postgres_url) as connection:
            begun = await connection.fetchval("SELECT date_trunc('hour', clock_timestamp())")
            for bid in (2, 3, 4):
                await connection.execute("UPDATE ad_campaigns SET bid_amount = $2 WHERE id = $1", campaign, bid)
            if begun == await connection.fetchval("SELECT date_trunc('hour', clock_timestamp())"):
                break  # all of it was in one hour
    assert await prices(advertised, campaign) == [("cpm", "1.0000"), ("cpm", "4.0000")]


@in_loop
async def test_what_is_no_change_of_the_price_makes_none(advertised: Advertised) -> None:
    await advertised.campaign(bid_amount=1)
    await advertised.ask("UPDATE ad_campaigns SET name = 'y', bid_amount = 1.0, budget_total = 7, status = 'active'")
    assert await prices(advertised) == [("cpm", "1.0000")]


@in_loop
async def test_a_campaign_that_is_deleted_and_comes_back_pays_for_its_old_hours_what_they_cost(
    advertised: Advertised,
) -> None:
    await advertised.campaign(bid_amount=1, pricing_model="cpc")
    await advertised.reach(hour=LONG_AGO, clicks=2)
    await advertised.ask("DELETE FROM ad_campaigns")
    await advertised.campaign(bid_amount=50, pricing_model="cpc")
    await advertised.turn()
    assert (await advertised.row())["spent"] == 2
    assert await prices(advertised) == [("cpc", "1.0000"), ("cpc", "50.0000")]


@in_loop
async def test_a_currency_is_corrected_for_all_prices(advertised: Advertised) -> None:
    await advertised.campaign(bid_amount=1)
    await advertised.ask("UPDATE ad_campaigns SET bid_amount = 2")
    await advertised.ask("UPDATE ad_campaigns SET currency = 'EUR'")
    found = await advertised.ask("SELECT currency FROM ad_campaign_prices")
    assert [row["currency"] for row in found] == ["EUR", "EUR"]


@in_loop
async def test_campaigns_from_before_have_their_price_from_the_beginning(embedded_url: str) -> None:
    async with connected(embedded_url) as connection:
        await migration.up(connection, 14)
        await connection.execute(
            "INSERT INTO ad_campaigns (id, name, advertiser, start_date, bid_amount, pricing_model) "
            "VALUES ($1, 'x', 'x', '2026-01-01', 3, 'cpcv')",
            CAMPAIGN,
        )
        await migration.up(connection)
        await connection.execute(
            "INSERT INTO ad_campaign_hours (campaign_id, hour, completions) VALUES ($1, $2, 4)", CAMPAIGN, LONG_AGO
        )
        assert await connection.fetchval("SELECT cost FROM ad_campaign_costs") == 12
        assert await connection.fetchval("SELECT count(*) FROM ad_campaign_stale") == 1, "and are summed"


@in_loop
async def test_money_is_rounded_once_in_the_sum_of_all_hours(advertised: Advertised) -> None:
    await advertised.campaign(bid_amount=Decimal("0.05"))  # an impression costs 0.00005
    for number in range(3):
        await advertised.reach(hour=LONG_AGO + number * HOUR, impressions=1)
    await advertised.campaign(OTHER, bid_amount=Decimal("0.05"))
    await advertised.reach(OTHER, hour=LONG_AGO, impressions=1)
    await advertised.turn()
    assert str((await advertised.row())["spent"]) == "0.0002", "0.00015, and not three times 0.0001"
    assert str((await advertised.row(OTHER))["spent"]) == "0.0001", "half a last place is up"


@in_loop
async def test_a_cost_has_all_its_digits_however_large_it_is(advertised: Advertised) -> None:
    await advertised.campaign(bid_amount=Decimal("9.9999"))
    await advertised.reach(hour=LONG_AGO, impressions=987_654_321_098_765_432)
    (found,) = await advertised.ask("SELECT cost FROM ad_campaign_costs")
    assert found["cost"] == 987_654_321_098_765_432 * Decimal("9.9999") / 1_000


PAID = {"cpm": "impressions", "cpc": "clicks", "cpcv": "completions"}


@pytest.mark.parametrize("seed", range(4))
@in_loop
async def test_whatever_prices_and_hours_there_are_the_sum_is_that_of_a_ledger(
    advertised: Advertised, seed: int
) -> None:
    chance = Random(seed)
    await advertised.campaign(bid_amount=1)
    await advertised.ask("DELETE FROM ad_campaign_prices")
    changes = [None, *sorted(chance.sample(range(100), 6))]
    booked = [(change, chance.choice(list(PAID)), Decimal(chance.randrange(200_000)) / 10_000) for change in changes]
    for change, model, bid in booked:
        await advertised.ask(
            "INSERT INTO ad_campaign_prices VALUES ($1, coalesce($2, '-infinity'::timestamptz), $3, $4, 'USD')",
            CAMPAIGN, None if change is None else LONG_AGO + change * HOUR, model, bid,
        )  # fmt: skip
    owed = Decimal(0)
    for number in sorted(chance.sample(range(-20, 130), 60)):
        figures: dict[str, Any] = {name: chance.randrange(1_000) for name in PAID.values()}
        await advertised.reach(hour=LONG_AGO + number * HOUR, **figures)
        _, model, bid = [one for one in booked if one[0] is None or one[0] <= number][-1]
        owed += figures[PAID[model]] * bid / (1_000 if model == "cpm" else 1)
    await advertised.turn()
    assert (await advertised.row())["spent"] == owed.quantize(Decimal("0.0001"), ROUND_HALF_UP)


@in_loop
async def test_who_may_write_campaigns_alone_changes_prices_by_whatever_path_names_are_looked_for(
    advertised: Advertised,
) -> None:
    name = f"sales_{advertised.postgres_url.rpartition('/')[2]}"
    async with connected(advertised.postgres_url) as connection:
        await connection.execute(f"CREATE ROLE {name}; GRANT SELECT, INSERT, UPDATE ON ad_campaigns TO {name}")
        try:
            await connection.execute(f"SET ROLE {name}; SET search_path = ''")
            await connection.execute(
                "INSERT INTO public.ad_campaigns (id, name, advertiser, start_date, pricing_model, bid_amount) "
                "VALUES ($1, 'a', 'b', now(), 'cpm', 2)",
                CAMPAIGN,
            )
            await connection.execute("UPDATE public.ad_campaigns SET bid_amount = 3")
        finally:
            await connection.execute(f"RESET ROLE; DROP OWNED BY {name}; DROP ROLE {name}")
    assert await prices(advertised) == [("cpm", "2.0000"), ("cpm", "3.0000")]
