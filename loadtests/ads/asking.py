"""What the gateway says of ads, as everybody may ask it: the admin port's API, and the tables that the platform reads.

Every call raises OSError (aiohttp's errors are some) or asyncpg's errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import aiohttp
import asyncpg

from loadtests.ads.campaign import SECOND_US, Campaign, Month
from loadtests.ledger import EPOCH, epoch_us

ANSWER_S: Final = 10.0
CAMPAIGN_SQL: Final = """
INSERT INTO ad_campaigns
    (id, name, advertiser, status, pricing_model, bid_amount, budget_total, budget_daily, start_date, end_date)
VALUES ($1, $2, 'somebody', 'active', $3, $4, $5, $6, $7, $8)
"""
PRICE_SQL: Final = """
INSERT INTO ad_campaign_prices (campaign_id, from_hour, pricing_model, bid_amount, currency)
SELECT id, $2, $3, $4, currency FROM ad_campaigns WHERE id = $1
"""
STALE_SQL: Final = "INSERT INTO ad_campaign_stale (campaign_id) VALUES ($1)"
FREQUENCIES_SQL: Final = "SELECT campaign_id, profile_id, day, impressions FROM ad_frequencies WHERE impressions <> 0"
ROWS_SQL: Final = "SELECT impression_id, events, repeats, test, implausible FROM ad_impressions"
KEPT_SQL: Final = "SELECT coalesce(sum(events), 0)::bigint FROM ad_impressions"
PLAYED_SQL: Final = "SELECT event_id FROM playback_events"


class Asking:
    """One who asks: a client of the admin port and one of PostgreSQL."""

    def __init__(self, session: aiohttp.ClientSession, postgres: asyncpg.Connection, admin_url: str) -> None:
        self._session = session
        self._postgres = postgres
        self._url = admin_url

    async def order(self, campaign: Campaign, month: Month) -> None:
        """The platform writes a campaign's row, and what it cost in hours that are over: those are in no row."""
        first = campaign.prices[0]
        async with self._postgres.transaction():
            await self._postgres.execute(
                CAMPAIGN_SQL,
                *(campaign.campaign_id, campaign.name, first.model, first.bid),
                *(campaign.budget_total, campaign.budget_daily),
                *(_datetime(at_us).replace(tzinfo=None) for at_us in (month.begin_us, month.end_us)),
            )
            for price in campaign.prices[1:]:
                assert price.from_us is not None
                start = _datetime(price.from_us)
                await self._postgres.execute(PRICE_SQL, campaign.campaign_id, start, price.model, price.bid)
            await self._postgres.execute(STALE_SQL, campaign.campaign_id)

    async def campaign(self, campaign: UUID, profile: UUID | None = None) -> dict[str, Any] | None:
        """What is said of one, as JSON; None while the platform has none."""
        query = "" if profile is None else f"?profile_id={profile}"
        return await self._get(f"/v1/campaigns/{campaign}{query}")

    async def top(self) -> list[dict[str, Any]]:
        """Of the best of the last day."""
        said = await self._get("/v1/campaigns?top=20")
        return said["campaigns"] if said else []

    async def hours(self, campaign: UUID, month: Month, until_us: int) -> dict[int, dict[str, Any]]:
        """Hour as epoch µs → what is said of it."""
        start, end = (_datetime(at_us).strftime("%Y-%m-%dT%H:%M:%SZ") for at_us in (month.begin_us, until_us))
        said = await self._get(f"/v1/campaigns/{campaign}/hours?from={start}&to={end}")
        return {epoch_us(hour["hour"]): hour for hour in said["hours"]} if said else {}

    async def frequencies(self) -> dict[tuple[UUID, UUID, int], int]:
        """(campaign, profile, day as epoch µs) → impressions."""
        rows = await self._postgres.fetch(FREQUENCIES_SQL)
        return {
            (row["campaign_id"], row["profile_id"], (row["day"] - EPOCH.date()).days * 86_400 * SECOND_US): row[
                "impressions"
            ]
            for row in rows
        }

    async def rows(self) -> Iterable[asyncpg.Record]:
        """Every impression: events, repeats, test, implausible."""
        rows: Iterable[asyncpg.Record] = await self._postgres.fetch(ROWS_SQL)
        return rows

    async def kept(self) -> int:
        """Distinct events of all impressions."""
        count: int = await self._postgres.fetchval(KEPT_SQL)
        return count

    async def played(self) -> list[str]:
        """Ids of all playback events."""
        return [str(row["event_id"]) for row in await self._postgres.fetch(PLAYED_SQL)]

    async def _get(self, path: str) -> dict[str, Any] | None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with self._session.get(self._url + path, timeout=timeout) as response:
            if response.status == 404:
                return None
            response.raise_for_status()
            said: dict[str, Any] = await response.json()
            return said


def _datetime(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // SECOND_US, UTC)
