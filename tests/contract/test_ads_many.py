"""Batches as catching up brings them: as many ad events as fit, all of them repeats, or several of each impression."""

from pathlib import Path

import pytest

from ingest.ad import AdRow
from tests.ads import ads_frame, an_ad
from tests.builders import RECEIVED_AT_US
from tests.contract.connected import connected
from tests.contract.postgres_store import Store, a_store, run
from tests.spooled import SECOND, Spooled, an_id

MANY = 60_000
"""What a batch may hold. Looking at each for each of the others takes minutes for so many, and the drain's
connection is patient for less than one.
"""


@pytest.fixture
def store(embedded_url: str, tmp_path: Path) -> Store:
    return a_store(embedded_url, tmp_path)


async def written(store: Store, *batches: list[AdRow]) -> dict[str, int]:
    """Each by itself; what the table has of them in all."""
    spooled, sink = Spooled(), await store.opened()
    for batch in batches:
        await sink.write([spooled.slice(*(ads_frame(batch[at : at + 1_000]) for at in range(0, len(batch), 1_000)))])
    await sink.close()
    async with connected(store.url) as connection:
        row = await connection.fetchrow(
            "SELECT count(*) AS impressions, sum(events)::bigint AS events, sum(repeats)::bigint AS repeats "
            "FROM ad_impressions"
        )
        figures = await connection.fetchrow(
            "SELECT sum(impressions)::bigint AS counted, sum(repeats)::bigint AS counted_again FROM ad_campaign_hours"
        )
    return {**row, **figures}


def test_a_batch_of_repeats_is_merged_in_the_time_that_the_drain_has(store: Store) -> None:
    async def scenario() -> None:
        campaign = an_id()
        events = [an_ad(impression_id=an_id(), campaign_id=campaign) for _ in range(MANY)]
        assert await written(store, events, events) == {
            "impressions": MANY, "events": MANY, "repeats": MANY, "counted": MANY, "counted_again": MANY,
        }  # fmt: skip

    run(scenario)


def test_a_batch_of_several_events_an_impression_is_merged_in_the_time_that_the_drain_has(store: Store) -> None:
    async def scenario() -> None:
        campaign, shown = an_id(), [an_id() for _ in range(MANY // 2)]
        events = [
            an_ad(
                impression_id=impression, campaign_id=campaign, event=event, received_at_us=RECEIVED_AT_US + place,
                occurred_at_us=RECEIVED_AT_US + (place - 12) * 5 * SECOND,
            )
            for place, event in enumerate(("impression", "start"))
            for impression in shown
        ]  # fmt: skip
        assert await written(store, events) == {
            "impressions": MANY // 2, "events": MANY, "repeats": 0, "counted": MANY // 2, "counted_again": 0,
        }  # fmt: skip

    run(scenario)
