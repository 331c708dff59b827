"""Lines of CMCD, as players post them, beside a bare aiohttp handler that answers 204: the part `cmcd`.

One line a request is what players do by default, and is compared; twenty a request say what a line itself costs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from loadtests.bench.client import Load, run_load
from loadtests.bench.gateway import CONNECTIONS, BenchGateway
from loadtests.bench.in_turns import in_turns
from loadtests.bench.rows import latencies_ms
from loadtests.bench.scene import WARM_UP_S, Figures, Part, Scene

SESSIONS_COUNT: Final = 256
LINES_MANY: Final = 20
GIB: Final = 2**30
COUNT_SQL: Final = """
SELECT coalesce(sum(coalesce((totals::jsonb ->> 'staged')::bigint, 0)), 0)::bigint
  FROM ingest_positions WHERE reader = 'postgres'
"""
"""Lines that the store's drain has booked: they are no rows, whatever events become of them."""
_BROWSER: Final = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    'Sec-CH-UA-Platform: "Linux"',
    "Sec-CH-UA-Mobile: ?0",
    "Accept: */*",
    "Origin: https://watch.example",
    "Referer: https://watch.example/",
    "Content-Type: application/cmcd",
)


class CmcdMint:
    """Makes POST requests of `lines_count` lines, all of one session, as hls.js writes them: mostly heartbeats."""

    def __init__(self, host: str, port: int, lines_count: int) -> None:
        target = "/v1/cmcd?key=bench&device=web"
        self._head = "\r\n".join((f"POST {target} HTTP/1.1", f"Host: {host}:{port}", *_BROWSER, "")).encode()
        self._lines_count = lines_count
        self._sessions = [os.urandom(16).hex() for _ in range(SESSIONS_COUNT)]
        self._minted = 0

    def mint(self) -> bytes:
        """The next request."""
        turn, number = divmod(self._minted, SESSIONS_COUNT)
        self._minted += 1
        first = turn * self._lines_count
        body = "".join(self._line(number, first + index) for index in range(self._lines_count)).encode()
        return b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body)

    def _line(self, session: int, sequence: int) -> str:
        event, state = ("ps", "p") if sequence % 10 == 0 else ("t", "p")
        return (
            f'bl=({sequence * 700 % 30_000}),br=({(966, 2_400, 5_100)[sequence // 20 % 3]}),cid="film-{session % 50}",'
            f'e={event},mtp=({23_000 + sequence % 9 * 100}),sf=h,sid="{self._sessions[session]}",sn={sequence},st=v,'
            f"sta={state},ts={time.time_ns() // 1_000_000},v=2\n"
        )


async def cmcd(scene: Scene) -> Figures:
    """In turns with the bare handler."""
    gateway = await scene.gateway()
    kept_before: int = await gateway.postgres.fetchval(COUNT_SQL)
    seconds = max(2.0, scene.seconds / 2)
    turns = await in_turns(gateway, "CMCD", seconds, lambda host, port: _reported(host, port, 1, seconds))
    every = turns.every
    alone_us = await _cpu_us(gateway, every, 1, seconds)
    many_us = await _cpu_us(gateway, every, LINES_MANY, seconds)
    acknowledged, unsure = sum(load.acknowledged for load in every), sum(load.unsure for load in every)
    kept = await gateway.postgres.fetchval(COUNT_SQL) - kept_before
    return {
        "per_s": [round(load.per_s) for load in turns.ours],
        "bare_aiohttp_per_s": [round(load.per_s) for load in turns.bare],
        "share_of_bare_aiohttp": round(turns.share, 3),
        "many_per_s": round(every[-1].per_s),
        "collectors_us_per_line": {"alone": alone_us, f"of {LINES_MANY}": many_us},
        "latency_ms": latencies_ms(turns.ours[-1]),
        "statuses": turns.ours[-1].statuses,
        "acknowledged": acknowledged,
        "stored_count": kept,
        "all_stored": acknowledged <= kept <= acknowledged + unsure,
    }


async def _cpu_us(gateway: BenchGateway, every: list[Load], lines_count: int, seconds: float) -> float:
    """Of the collectors, a line; the loads are added to `every`."""
    await gateway.all_counted()
    before = gateway.cpu()
    loads = await _reported(gateway.host, gateway.port, lines_count, seconds)
    await gateway.all_counted()
    every += loads
    return round(gateway.cpu().since(before).collectors_s / sum(load.acknowledged for load in loads) * 1e6, 2)


async def _reported(host: str, port: int, lines_count: int, seconds: float) -> list[Load]:
    """Warming up, and then what counts."""
    mint: Callable[[], bytes] = CmcdMint(host, port, lines_count).mint
    return [
        await run_load(host, port, mint, events_count=lines_count, connections=CONNECTIONS, seconds=one_s)
        for one_s in (WARM_UP_S, seconds)
    ]


PARTS: Final = (Part("cmcd", "lines of CMCD, and a bare aiohttp handler", GIB, cmcd),)
