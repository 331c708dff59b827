"""Campaigns in PostgreSQL: their hours are summed into ad_campaigns, which the platform may lock, for ad servers.

The sum waits for no lock on a campaign, and nobody who merges ad events waits for the sum: a mark says that a campaign
changed, its row is taken when it is free, and what is marked meanwhile is summed the next time.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from storage.campaign import Standing
from storage.postgres.statement import parse

STATEMENTS: Final = parse((Path(__file__).parent / "campaigns.sql").read_text("utf-8"))
AT_ONCE: Final = 500
"""Campaigns a transaction: a moment, in which the platform's changes of these wait."""
REFUSED_NAMED: Final = 3
"""In an error's text."""


class SumsRefused(Exception):
    """The database takes the sums of these campaigns not; all others were summed."""

    def __init__(self, refused: dict[UUID, str]) -> None:
        some = "; ".join(f"{campaign}: {why}" for campaign, why in list(refused.items())[:REFUSED_NAMED])
        super().__init__(f"{len(refused)} campaigns were not summed: {some}")


async def summed(connection: asyncpg.Connection) -> AsyncIterator[list[Standing]]:
    """Sum what changed into ad_campaigns, in transactions of their own; each's standings once it is committed.

    Raises the driver's errors, LockNotAvailableError for a table that is being altered, and at the end SumsRefused.
    """
    refused: dict[UUID, str] = {}
    at_once = AT_ONCE
    while True:
        stale: list[UUID] = []
        standings = []
        try:
            async with connection.transaction():
                await connection.execute(STATEMENTS["impatient"])
                stale = [row["id"] for row in await connection.fetch(STATEMENTS["stale"], at_once, list(refused))]
                await connection.execute(STATEMENTS["unmark"], stale)
                if stale:
                    await connection.execute(STATEMENTS["sum"], stale)
                    standings = await _standings(connection, stale)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            if at_once > 1:  # which of them it is shows when each is summed by itself
                at_once = 1
            else:
                refused[stale[0]] = str(error)
            continue
        if standings:
            yield standings
        if len(stale) < at_once:
            break
    if refused:
        raise SumsRefused(refused)


async def every_standing(connection: asyncpg.Connection) -> AsyncIterator[list[Standing]]:
    """Of all campaigns, as they were summed last. Raises the driver's errors."""
    campaigns = [row["id"] for row in await connection.fetch(STATEMENTS["every_campaign"])]
    for first in range(0, len(campaigns), AT_ONCE):
        yield await _standings(connection, campaigns[first : first + AT_ONCE])


async def today(connection: asyncpg.Connection) -> str:
    """The running day in UTC by the database's clock, YYYY-MM-DD. Raises the driver's errors."""
    day: str = await connection.fetchval(STATEMENTS["today"])
    return day


async def _standings(connection: asyncpg.Connection, campaigns: list[UUID]) -> list[Standing]:
    rows: list[Any] = await connection.fetch(STATEMENTS["standings"], campaigns)
    return [Standing(**dict(row)) for row in rows]
