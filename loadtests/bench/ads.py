"""What PostgreSQL pays to merge ad events into a large table of impressions: the part `ads`.

As ads are watched: each request has the next event of many impressions, and one impression's events are so many
requests apart that they come in batches of their own. Ids are random, so every event is looked up in a cold place.
"""

from __future__ import annotations

import os
import time
from collections import deque
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import orjson

from loadtests.bench.client import run_load
from loadtests.bench.gateway import CONNECTIONS
from loadtests.bench.pixel import COUNT_SQL
from loadtests.bench.rows import latencies_ms
from loadtests.bench.scene import WARM_UP_S, Figures, Part, Scene, say

STAGES: Final = ("impression", "start", "firstQuartile", "midpoint", "thirdQuartile", "complete")
COHORT: Final = 8
"""Impressions that begin with a request."""
APART: Final = 200
"""Requests between two events of an impression."""
AD_MS: Final = 30_000
AGO_MS: Final = 60_000
"""When an impression began by its own account, so that its end is not ahead of now."""
CAMPAIGNS_COUNT: Final = 50
KNOWN_COUNT: Final = 1_000_000
GIB: Final = 2**30
FILL_SQL: Final = """
INSERT INTO ad_impressions (impression_id, campaign_id, creative_id, content_id, profile_id, session_id, received_at,
                            events, duration, impression_at, start_at)
SELECT gen_random_uuid(), md5((number % 50)::text)::uuid, 'spring', gen_random_uuid(), gen_random_uuid(),
       gen_random_uuid(), now(), 2, 30000, now(), now()
  FROM generate_series(1, $1::int) AS number
"""


class AdMint:
    """Makes POST requests of `events_count` ad events, in the order in which players fire them."""

    events_count: Final = COHORT * len(STAGES)

    def __init__(self, host: str, port: int) -> None:
        self._head = f"POST /v1/events HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n".encode()
        self._waiting: list[deque[list[dict[str, object]]]] = [deque() for _ in STAGES[1:]]
        self._minted = 0
        for _ in range(APART * len(STAGES)):
            self._next()  # from the first request on, all stages

    def mint(self) -> bytes:
        """The next request."""
        body = orjson.dumps({"events": self._next()})
        return b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body)

    def _next(self) -> list[dict[str, object]]:
        began_ms = time.time_ns() // 1_000_000 - AGO_MS
        arriving: list[dict[str, object]] | None = [self._impression(began_ms) for _ in range(COHORT)]
        events: list[dict[str, object]] = []
        for stage, name in enumerate(STAGES):
            if arriving is None:
                break
            events += [_at(one, name, stage) for one in arriving]
            if stage < len(self._waiting):
                self._waiting[stage].append(arriving)
                arriving = self._waiting[stage].popleft() if len(self._waiting[stage]) > APART else None
        return events

    def _impression(self, began_ms: int) -> dict[str, object]:
        self._minted += 1
        return {
            "type": "ad", "impression_id": os.urandom(16).hex(), "occurred_at": began_ms, "creative_id": "spring",
            "campaign_id": str(UUID(int=0xAD << 120 | self._minted % CAMPAIGNS_COUNT)),
            "content_id": os.urandom(16).hex(), "profile_id": os.urandom(16).hex(),
            "session_id": os.urandom(16).hex(), "duration": AD_MS // 1_000,
        }  # fmt: skip


def _at(impression: dict[str, object], event: str, stage: int) -> dict[str, object]:
    began_ms = impression["occurred_at"]
    assert isinstance(began_ms, int)
    at = datetime.fromtimestamp((began_ms + max(0, stage - 1) * AD_MS // 4) / 1_000, UTC)
    return impression | {"event": event, "occurred_at": at.isoformat()}


async def ads(scene: Scene) -> Figures:
    gateway = await scene.gateway()
    say(f"a table of {KNOWN_COUNT:,} impressions")
    await gateway.postgres.execute(FILL_SQL, KNOWN_COUNT, timeout=600)
    await gateway.postgres.execute("VACUUM ANALYZE ad_impressions", timeout=600)
    mint = AdMint(gateway.host, gateway.port)
    say(f"ad events, {mint.events_count} a request, {CONNECTIONS} connections, {scene.seconds:.0f} s")
    stored_before = await gateway.postgres.fetchval(COUNT_SQL)
    acknowledged = unsure = 0
    for seconds in (WARM_UP_S, scene.seconds):
        cpu_before, began_s = gateway.cpu(), time.perf_counter()
        load = await run_load(
            gateway.host, gateway.port, mint.mint, events_count=mint.events_count, connections=CONNECTIONS,
            seconds=seconds,
        )  # fmt: skip
        await gateway.all_counted()
        took_s, cpu = time.perf_counter() - began_s, gateway.cpu().since(cpu_before)
        acknowledged, unsure = acknowledged + load.acknowledged, unsure + load.unsure
    stored = await gateway.postgres.fetchval(COUNT_SQL) - stored_before

    def us(seconds: float) -> float:
        return round(seconds / load.acknowledged * 1e6, 2)

    return {
        "stored_per_s": round(load.acknowledged / took_s),
        "acknowledged_per_s": round(load.per_s),
        "cpu_us_per_event": {
            "collectors": us(cpu.collectors_s),
            "postgres_drain": us(cpu.postgres_drain_s),
            "postgres": us(cpu.postgres_s),
        },
        "latency_ms": latencies_ms(load),
        "acknowledged": acknowledged,
        "stored_count": stored,
        "all_stored": acknowledged <= stored <= acknowledged + unsure,
        "statuses": load.statuses,
    }


PARTS: Final = (Part("ads", "ad events into a table of a million impressions", 2 * GIB, ads),)
