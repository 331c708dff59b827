"""Pixels, as a browser fetches them, beside a bare aiohttp handler that answers with the same GIF: the part `pixel`."""

from __future__ import annotations

import os
from typing import Final
from uuid import UUID

from loadtests.bench.client import Load, run_load
from loadtests.bench.gateway import CONNECTIONS
from loadtests.bench.in_turns import in_turns
from loadtests.bench.rows import latencies_ms
from loadtests.bench.scene import WARM_UP_S, Figures, Part, Scene

EVENTS: Final = ("impression", "start", "firstQuartile", "midpoint", "thirdQuartile", "complete", "click", "viewable")
CAMPAIGNS_COUNT: Final = 64
GIB: Final = 2**30
COUNT_SQL: Final = "SELECT coalesce(sum(events), 0)::bigint FROM ad_impressions"
_BROWSER: Final = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Accept: image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "Referer: https://watch.example/",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9",
    "Sec-Fetch-Dest: image",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Site: cross-site",
)


class PixelMint:
    """Makes GET requests for pixels, each of an impression of its own."""

    def __init__(self, host: str, port: int) -> None:
        end = "\r\n".join(
            (
                f"&ts=[TIMESTAMP]&cb=12345678 HTTP/1.1\r\nHost: {host}:{port}",
                "Connection: keep-alive",
                *_BROWSER,
                "",
                "",
            )
        )
        self._parts = [self._part(number, end) for number in range(CAMPAIGNS_COUNT)]
        self._minted = 0

    def _part(self, number: int, end: str) -> tuple[bytes, bytes]:
        """What is before the impression, and behind it."""
        campaign, content = UUID(int=0xAD << 120 | number), UUID(int=0xC0 << 120 | number)
        begin = f"GET /v1/ad/{EVENTS[number % len(EVENTS)]}?imp="
        return begin.encode(), f"&cr=spring-{number}&cmp={campaign}&c={content}{end}".encode()

    def mint(self) -> bytes:
        """The next request."""
        begin, end = self._parts[self._minted % CAMPAIGNS_COUNT]
        self._minted += 1
        return b"%b%b%b" % (begin, os.urandom(16).hex().encode(), end)


async def pixel(scene: Scene) -> Figures:
    """In turns with the bare handler."""
    gateway = await scene.gateway()
    stored_before: int = await gateway.postgres.fetchval(COUNT_SQL)
    seconds = max(2.0, scene.seconds / 2)
    turns = await in_turns(gateway, "pixels", seconds, lambda host, port: _fetched(host, port, seconds))
    every = turns.every
    await gateway.all_counted()
    acknowledged, unsure = sum(load.acknowledged for load in every), sum(load.unsure for load in every)
    stored = await gateway.postgres.fetchval(COUNT_SQL) - stored_before
    return {
        "per_s": [round(load.per_s) for load in turns.ours],
        "bare_aiohttp_per_s": [round(load.per_s) for load in turns.bare],
        "share_of_bare_aiohttp": round(turns.share, 3),
        "latency_ms": latencies_ms(turns.ours[-1]),
        "statuses": turns.ours[-1].statuses,
        "acknowledged": acknowledged,
        "stored_count": stored,
        "all_stored": acknowledged <= stored <= acknowledged + unsure,
    }


async def _fetched(host: str, port: int, seconds: float) -> list[Load]:
    """Warming up, and then what counts."""
    mint = PixelMint(host, port).mint
    return [
        await run_load(host, port, mint, events_count=1, connections=CONNECTIONS, seconds=one_s)
        for one_s in (WARM_UP_S, seconds)
    ]


PARTS: Final = (Part("pixel", "an ad's pixel a request, and a bare aiohttp handler", GIB, pixel),)
