"""What a store made of ad events, held against the fold of their arrivals."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import asyncpg

from ingest.ad import AdRow
from tests import ads
from tests.contract.connected import connected
from tests.contract.postgres_store import Store


async def check(store: Store, sent: Iterable[AdRow]) -> list[dict[str, Any]]:
    """Rows, hours, frequencies and marks are what the fold of the arrivals says; returns the expected rows."""
    arrivals = sorted(sent, key=lambda one: one.impression_id)
    rows = [ads.expected_row(list(group)) for _, group in groupby(arrivals, lambda one: one.impression_id)]
    async with connected(store.url) as connection:
        found = await connection.fetch("SELECT * FROM ad_impressions ORDER BY impression_id")
        assert [{name: one[name] for name in rows[0]} for one in found] == rows
        hours = await connection.fetch("SELECT * FROM ad_campaign_hours")
        assert _figures(hours) == ads.expected_hours(rows)
        frequencies = await connection.fetch("SELECT * FROM ad_frequencies WHERE impressions <> 0")
        assert {
            (one["campaign_id"], one["profile_id"], one["day"]): one["impressions"] for one in frequencies
        } == ads.expected_frequencies(rows)
        stale = await connection.fetch("SELECT DISTINCT campaign_id FROM ad_campaign_stale")
    assert {one["campaign_id"] for one in stale} >= {campaign for campaign, _ in ads.expected_hours(rows)}
    books = await store.books()
    assert sum(one.stored for one in books) - len(await store.rows()) == sum(row["events"] for row in rows)
    await store.check()
    return rows


def _figures(hours: Iterable[asyncpg.Record]) -> ads.Hours:
    result = {}
    for one in hours:
        figures = {name: number for name, number in list(one.items())[2:] if number}
        if figures:
            result[one["campaign_id"], one["hour"]] = figures
    return result
