"""A gateway's campaigns: from hours to the platform's table, the admin port and the ad server's Redis, by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
import redis

from storage.redis import key
from tests.acceptance.client import ask, eventually, sql
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.contract.advertised import CAMPAIGN

SOON_S: Final = 60.0
ADD: Final = """
    INSERT INTO ad_campaigns (id, name, advertiser, start_date, pricing_model, bid_amount, budget_total)
    VALUES ($1, 'x', 'x', '2026-11-01', 'cpc', 0.5, 3)"""
REACH: Final = """
    WITH moved AS (INSERT INTO ad_campaign_hours AS hours (campaign_id, hour, clicks)
        VALUES ($1, date_trunc('hour', now(), 'UTC'), 4)
        ON CONFLICT (campaign_id, hour) DO UPDATE SET clicks = hours.clicks + excluded.clicks)
    INSERT INTO ad_campaign_stale VALUES ($1)"""


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("campaigns")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as served:
        served.start()
        served.wait_ready()
        yield served


def test_what_ads_reached_is_in_the_table_on_the_admin_port_and_with_the_ad_server_within_seconds(
    gateway: Gateway,
) -> None:
    admin, postgres = gateway.endpoints["admin"], gateway.endpoints["postgres"]
    sql(postgres, ADD, CAMPAIGN)
    sql(postgres, REACH, CAMPAIGN)
    told = ask(f"{admin}/v1/campaigns/{CAMPAIGN}").json
    assert (told["clicks"], told["spent"], told["remaining_total"]) == (4, "2.0000", "1.0000"), "at once"
    with redis.Redis.from_url(gateway.endpoints["redis"], decode_responses=True) as client:

        def standing() -> Any:
            return client.hmget(key.campaign(CAMPAIGN), "clicks", "spent", "remaining_total")

        eventually(lambda: standing() == ["4", "2.0000", "1.0000"], SOON_S, "told")
        ((clicks, spent),) = sql(postgres, "SELECT click_count, spent::text FROM ad_campaigns")
        assert (clicks, spent) == (4, "2.0000")
        sql(postgres, REACH, CAMPAIGN)
        eventually(lambda: standing() == ["8", "4.0000", "-1.0000"], SOON_S, "told again")
        client.delete(key.CAMPAIGNS, key.campaign(CAMPAIGN))
        eventually(lambda: standing() == ["8", "4.0000", "-1.0000"], SOON_S, "back")
    jobs = {one["job"]: one["outcome"] for one in ask(admin + "/statusz").json["jobs"]}
    assert jobs["ad_campaigns"] == "done"
