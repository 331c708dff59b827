"""Ten million viewers of one channel: how right their number is, what it takes to read it and to keep it: `crowd`."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import Any, Final

import aiohttp

from loadtests.bench.client import run_load
from loadtests.bench.gateway import CONNECTIONS
from loadtests.bench.scene import Figures, Part, Scene, say

VIEWERS: Final = 10_000_000
EVENTS_COUNT: Final = 200  # a request: one heartbeat each of so many sessions
ROUND_S: Final = 3.0  # then all are counted: a session costs Redis twenty times what an event more of it does
READS: Final = 100
SETTINGS: Final = {
    "INGEST_REDIS_HEARTBEAT_S": "1800",  # nobody's lease runs out while the crowd is coming
    "INGEST_REDIS_EMBEDDED_MEMORY_MAX_BYTES": str(6 * 2**30),  # some 250 bytes a session that was heard of lately
}
CONTENT: Final = "c0ffee00-0000-4000-8000-000000000001"
SESSION_TAIL: Final = b"-0000-4000-8000-"
MIB: Final = 2**20


class CrowdMint:
    """Requests of EVENTS_COUNT heartbeats, each of a session of its own, all of one content."""

    def __init__(self, host: str, port: int) -> None:
        self._head = f"POST /v1/events HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n".encode()

    def mint(self) -> bytes:
        """The next request."""
        chance = os.urandom(18 * EVENTS_COUNT).hex().encode()
        at = b"%d" % (time.time_ns() // 1_000_000)
        events = [
            b'{"event_id":"%b-0000-4000-8000-%b","event_type":"heartbeat","content_id":"%b","session_id":"%b%b%b"'
            b',"sequence":1,"occurred_at":%b}'
            % (
                *(chance[i : i + 8], chance[i + 8 : i + 20], CONTENT.encode()),
                *(chance[i + 20 : i + 28], SESSION_TAIL, chance[i + 8 : i + 16] + chance[i + 28 : i + 32], at),
            )
            for i in range(0, 36 * EVENTS_COUNT, 36)
        ]
        body = b'{"events":[' + b",".join(events) + b"]}"
        return self._head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


async def crowd(scene: Scene) -> Figures:
    """They come as fast as they can be taken, and then their number is read."""
    await scene.let_go()
    async with scene.started("crowd", SETTINGS) as gateway:
        mint, came = CrowdMint(gateway.host, gateway.port), 0
        while came < VIEWERS:
            say(f"{came:,} of {VIEWERS:,} viewers")
            load = await run_load(
                gateway.host,
                gateway.port,
                mint.mint,
                events_count=EVENTS_COUNT,
                connections=CONNECTIONS,
                seconds=ROUND_S,
            )
            came += load.acknowledged
            await gateway.all_counted()
        figures: dict[str, Any] = {"viewers": came, "all_stored": True}
        url = f"{gateway.product.endpoints['admin']}/v1/live/{CONTENT}"
        took_ms, told = [], 0
        async with aiohttp.ClientSession() as session:
            for _ in range(READS):
                began_s = time.perf_counter()
                async with session.get(url) as answer:
                    answer.raise_for_status()
                    told = (await answer.json())["viewers"]
                took_ms.append((time.perf_counter() - began_s) * 1_000)
                await asyncio.sleep(0.02)
        figures["told"] = told
        figures["off_share"] = round(abs(told / came - 1), 5)
        figures["read_ms_p50"] = round(statistics.median(took_ms), 2)
        figures["read_ms_p99"] = round(sorted(took_ms)[int(len(took_ms) * 0.99) - 1], 2)
        sets_bytes = await gateway.redis_bytes(f"{{ingest}}:viewers:{CONTENT}*")
        figures["sets_mib"] = round(sets_bytes / MIB, 1)
        figures["sessions_mib"] = round((await gateway.redis_used_bytes() - sets_bytes) / MIB)
    return figures


PARTS: Final = (Part("crowd", "ten million viewers of one channel", 8 * 2**30, crowd),)
