"""Campaigns in a migrated database, their hours as the merge of ad events writes them, and a Redis for ad servers."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from gateway.ad_campaigns_job import AdCampaignsJob
from live.tables import Tables
from storage.redis import key
from storage.redis.connection import connect
from tests.contract.connected import connected, migrated

CAMPAIGN, OTHER = UUID(int=1), UUID(int=2)
HOUR = "date_trunc('hour', now(), 'UTC')"


class Advertised:
    """A migrated PostgreSQL and an empty Valkey."""

    def __init__(self, postgres_url: str, redis_url: str) -> None:
        async def nothing(connection: asyncpg.Connection) -> None:
            """The schema is all that is wanted."""

        migrated(postgres_url, nothing)
        self.postgres_url, self.redis_url = postgres_url, redis_url

    async def ask(self, query: str, *arguments: Any) -> list[Any]:
        async with connected(self.postgres_url) as connection:
            return list(await connection.fetch(query, *arguments))

    async def turn(self) -> str:
        """One of a gateway that has just begun."""
        job = AdCampaignsJob(self.redis_url)
        try:
            return await self.turn_of(job)
        finally:
            await job.close()

    async def turn_of(self, job: AdCampaignsJob) -> str:
        async with connected(self.postgres_url) as connection:
            return await job.run(connection)

    async def campaign(self, campaign: UUID = CAMPAIGN, **columns: Any) -> UUID:
        """It is in the platform's table."""
        given = {"id": campaign, "name": "a name", "advertiser": "x", "start_date": datetime(2026, 1, 1)} | columns  # noqa: DTZ001
        places = ", ".join(f"${place}" for place in range(1, len(given) + 1))
        await self.ask(f"INSERT INTO ad_campaigns ({', '.join(given)}) VALUES ({places})", *given.values())
        return campaign

    async def reach(self, campaign: UUID = CAMPAIGN, hour: datetime | None = None, **figures: int) -> None:
        """An hour, the running one, has so much more."""
        async with connected(self.postgres_url) as connection, connection.transaction():
            await reach(connection, campaign, hour, **figures)

    async def row(self, campaign: UUID = CAMPAIGN) -> Any:
        (found,) = await self.ask("SELECT * FROM ad_campaigns WHERE id = $1", campaign)
        return found

    async def standing(self, campaign: UUID = CAMPAIGN) -> dict[str, str]:
        """What an ad server reads."""
        client = connect(self.redis_url)
        try:
            found = await client.hgetall(key.campaign(campaign))
        finally:
            await client.aclose()
        return {name.decode(): value.decode() for name, value in found.items()}

    def tables(self) -> Tables:
        return Tables(lambda: self.postgres_url)


async def reach(connection: asyncpg.Connection, campaign: UUID, hour: datetime | None = None, **figures: int) -> None:
    """As the merge does it: an hour is moved on, and the campaign is marked, in one transaction."""
    names = list(figures)
    added = ", ".join(f"{name} = hours.{name} + excluded.{name}" for name in names)
    await connection.execute(
        f"INSERT INTO ad_campaign_hours AS hours (campaign_id, hour, {', '.join(names)}) "
        f"VALUES ($1, coalesce($2, {HOUR}), {', '.join(f'${place}' for place in range(3, len(names) + 3))}) "
        f"ON CONFLICT (campaign_id, hour) DO UPDATE SET {added}",
        campaign, hour, *figures.values(),
    )  # fmt: skip
    await connection.execute("INSERT INTO ad_campaign_stale (campaign_id) VALUES ($1)", campaign)


async def soon(work: Any) -> Any:
    """What waits for a lock that nobody lets go of waits for ever; this fails then, however slow the machine is."""
    return await asyncio.wait_for(work, 30)
