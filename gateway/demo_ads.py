"""The ads of a demonstration: a few campaigns, and a break now and then whose player reports what was seen of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import aiohttp
import asyncpg
import orjson

from loadtests.ads import breaks

EVERY_S: Final = 0.5
ADS_A_POST: Final = 3
OVER_MS: Final = 20_000
"""An ad is reported when it is over, all of its events at once."""
ANSWER_TIMEOUT_S: Final = 5.0
HELD_SQL: Final = """
SELECT count(*), coalesce(sum(num_nonnulls(impression_at, start_at, first_quartile_at, midpoint_at, third_quartile_at,
                                           complete_at, skip_at, click_at)), 0)::bigint
  FROM ad_impressions WHERE campaign_id = ANY($1::uuid[])
"""
AGAIN: Final = frozenset((408, 429, 500, 502, 503, 504))
"""Statuses that take nothing now, and may later."""
CAMPAIGNS: Final = [order.campaign_id for order in breaks.ORDERS]


class Count(NamedTuple):
    """Of impressions, and of the events that were fired in them."""

    impressions: int = 0
    events: int = 0

    def plus(self, other: Count) -> Count:
        return Count(self.impressions + other.impressions, self.events + other.events)


class Ads:
    """Campaigns in PostgreSQL, and the impressions that were acknowledged; `endpoints` are the gateway's."""

    def __init__(self, endpoints: Mapping[str, str], seed: int) -> None:
        self._endpoints = endpoints
        # others than an earlier demonstration of this seed had, whose impressions are there already
        self._rng = random.Random(f"demo:ads:{seed}:{time.time_ns()}")
        self._before = Count()
        self.posted = Count()
        """Each once however often it was sent."""
        self.promised = Count()
        """Of them, those that were acknowledged."""
        self.refused = 0
        """Posts of which something was refused for good: nothing here is wrong, so none should be."""

    async def order(self) -> None:
        """Put the campaigns there; those of an earlier demonstration stay. Raises PostgresError, OSError."""
        postgres = await asyncpg.connect(self._endpoints["postgres"])
        try:
            now = datetime.now(UTC)
            await postgres.executemany(breaks.ORDER_SQL, [breaks.order_values(order, now) for order in breaks.ORDERS])
            self._before = Count(*await postgres.fetchrow(HELD_SQL, CAMPAIGNS))
        finally:
            await postgres.close()

    async def held(self) -> Count:
        """Stored since `order`. Raises PostgresError, OSError."""
        postgres = await asyncpg.connect(self._endpoints["postgres"])
        try:
            held = Count(*await postgres.fetchrow(HELD_SQL, CAMPAIGNS))
            return Count(held.impressions - self._before.impressions, held.events - self._before.events)
        finally:
            await postgres.close()

    async def show(self, stop: asyncio.Event) -> None:
        """Ads until `stop`. What is not answered is sent again, as it was, until it is, or until `stop`."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        async with aiohttp.ClientSession(self._endpoints["http"], timeout=timeout) as player:
            while not await is_set_within(stop, EVERY_S):
                over_ms = round(time.time() * 1_000) - OVER_MS
                shown = [breaks.shown(self._rng, over_ms) for _ in range(ADS_A_POST)]
                body = orjson.dumps([event for events in shown for event in events])
                number = Count(len(shown), sum(map(len, shown)))
                self.posted = self.posted.plus(number)
                while (is_taken := await _is_taken(player, body)) is None:
                    if await is_set_within(stop, EVERY_S):
                        break
                if is_taken:
                    self.promised = self.promised.plus(number)
                elif is_taken is not None:
                    self.refused += 1

    async def arrive(self, timeout_s: float) -> Count:
        """Wait until all that was promised is stored; what is, after `timeout_s` at the latest."""
        deadline_s = time.monotonic() + timeout_s
        while not self._is_all(held := await self.held()) and time.monotonic() < deadline_s:
            await asyncio.sleep(EVERY_S)
        return held

    def is_equal(self, held: Count) -> bool:
        """Whether all that was promised is there, nothing that was not posted, and nothing was refused."""
        is_posted = held.impressions <= self.posted.impressions and held.events <= self.posted.events
        return self._is_all(held) and is_posted and not self.refused

    def _is_all(self, held: Count) -> bool:
        return held.impressions >= self.promised.impressions and held.events >= self.promised.events


async def _is_taken(player: aiohttp.ClientSession, body: bytes) -> bool | None:
    """None: not now, or nobody knows."""
    try:
        async with player.post("/v1/events", data=body, headers={"Content-Type": "application/json"}) as answer:
            if answer.status in AGAIN:
                return None
            return answer.status == 200 and not (await answer.json())["rejected"]
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for `event`, so many seconds at most; whether it came."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
