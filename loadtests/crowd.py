"""A crowd of seeded viewers who post to a gateway: `python -m loadtests.crowd --url http://127.0.0.1:8080 --seed 1`.

Several of these run beside each other, with `--first-index` apart and a ledger each. Once a second a line of JSON on
stdout says what was posted and acknowledged. SIGTERM or SIGINT (or --seconds) ends the viewings; what was sent and not
answered is still resent for `--resend` seconds, so that the ledger ends without open questions. A second signal ends
at once. Exit code 0, or 1 when something stayed unanswered.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import uvloop

from loadtests.body import some_form
from loadtests.ledger import LedgerFile
from loadtests.poster import Poster, Tally
from loadtests.viewing import Viewing, viewing

FLUSH_S: Final = (5, 10, 30, 60)  # how long, in seconds of film, players gather events before they post
EVENTS_A_POST_MAX: Final = 100
CONNECTIONS_MAX: Final = 256
RAMP_S: Final = 2.0  # viewers arrive over this long, not all at once
BETWEEN_VIEWINGS_S: Final = 0.2


@dataclass(slots=True)
class Pacing:
    """At most `per_s` posts a second over all viewers; 0 is no limit."""

    per_s: float
    _next_s: float = field(default=0.0, init=False)

    async def turn(self) -> None:
        if self.per_s <= 0:
            return
        now_s = time.monotonic()
        mine_s = max(now_s, self._next_s)
        self._next_s = mine_s + 1 / self.per_s
        if mine_s > now_s:
            await asyncio.sleep(mine_s - now_s)


@dataclass(slots=True)
class Crowd:
    """The viewers of one process and the moment when they stop."""

    options: argparse.Namespace
    poster: Poster
    pacing: Pacing
    rng: random.Random
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    watching: int = 0

    async def viewer(self, number: int) -> None:
        """One viewing after the other until the crowd ends."""
        await self._sleep(self.rng.uniform(0, RAMP_S))
        index = self.options.first_index + number
        while not self.ended.is_set():
            self.watching += 1
            try:
                start_ms = time.time_ns() // 1_000_000
                await self.play(viewing(self.options.seed, index, start_ms, self.options.pace))
            finally:
                self.watching -= 1
            index += self.options.viewers
            await self._sleep(BETWEEN_VIEWINGS_S)

    async def play(self, told: Viewing) -> None:
        """Hand over each step when it is due, gathered into posts; the rest stays unsaid when the crowd ends."""
        flush_ms = int(self.rng.choice(FLUSH_S) * 1000 / self.options.pace)
        gathered: list[dict[str, Any]] = []
        flush_at_ms = 0
        for step in told.steps:
            if gathered and step.due_ms > flush_at_ms:
                await self._sleep(flush_at_ms / 1000 - time.time())
                await self._post(told, gathered, last=False)
                gathered = []
            await self._sleep(step.due_ms / 1000 - time.time())
            if self.ended.is_set():
                break
            if not gathered:
                flush_at_ms = step.due_ms + flush_ms
            gathered.append(step.event)
            if len(gathered) >= EVENTS_A_POST_MAX:
                await self._post(told, gathered, last=False)
                gathered = []
        if gathered:
            await self._post(told, gathered, last=True)

    async def _post(self, told: Viewing, events: list[dict[str, Any]], *, last: bool) -> None:
        form = some_form(self.rng, needs_sent_at=told.needs_sent_at, last=last)
        requests = [[event] for event in events] if form == "single" else [events]
        for request in requests:
            await self.pacing.turn()
            await self.poster.post(request, form, told.skew_ms)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end."""
        if seconds <= 0 or self.ended.is_set():
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), seconds)


def stats_line(crowd: Crowd, tally: Tally, *, final: bool) -> bytes:
    """One line of JSON: totals so far, latencies of the answers since the last line."""
    latencies = sorted(tally.latencies_ms)
    tally.latencies_ms = []
    line = {
        "time": round(time.time(), 3),
        "final": final,
        "viewers": crowd.watching,
        "posts": tally.posts,
        "tries": tally.tries,
        "posted": tally.posted,
        "acknowledged": tally.acknowledged,
        "rows": len(tally.row_identities),
        "views": len(tally.view_identities),
        "refused": tally.refused,
        "in_flight": tally.in_flight,
        "given_up": tally.given_up,
        "latency_ms_p50": round(latencies[len(latencies) // 2], 2) if latencies else None,
        "latency_ms_p99": round(latencies[len(latencies) * 99 // 100], 2) if latencies else None,
        "statuses": tally.statuses,
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


async def run(options: argparse.Namespace) -> int:
    """Play the crowd; returns the exit code."""
    ended_s: list[float] = []
    tally = Tally()
    ledger = LedgerFile(options.ledger)
    rng = random.Random(f"crowd:{options.seed}:{options.first_index}")

    def gives_up_at() -> float:
        resend_s: float = options.resend
        return (ended_s[0] if ended_s else time.monotonic()) + resend_s

    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
    async with aiohttp.ClientSession(connector=connector) as session:
        poster = Poster(session, options.url, ledger, rng, tally, gives_up_at, options.hang_up_share, options.pause_max)
        crowd = Crowd(options, poster, Pacing(options.rate), rng)
        viewers = [asyncio.create_task(crowd.viewer(number)) for number in range(options.viewers)]

        def end() -> None:
            if ended_s:
                for task in viewers:
                    task.cancel()
                return
            ended_s.append(time.monotonic())
            crowd.ended.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        if options.seconds:
            loop.call_later(options.seconds, lambda: None if ended_s else end())
        ticker = asyncio.create_task(_tell(crowd, tally, end))
        results = await asyncio.gather(*viewers, return_exceptions=True)
        ticker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticker
    ledger.close()
    _print(stats_line(crowd, tally, final=True))
    failures = [result for result in results if isinstance(result, Exception)]
    if failures:
        raise ExceptionGroup("viewers failed", failures)
    return 1 if tally.given_up else 0


async def _tell(crowd: Crowd, tally: Tally, end: Any) -> None:
    """A stats line every so often; when nobody reads them any more, the crowd ends."""
    while True:
        await asyncio.sleep(crowd.options.every)
        if not _print(stats_line(crowd, tally, final=False)):
            end()
            return


def _print(line: bytes) -> bool:
    try:
        os.write(sys.stdout.fileno(), line)
    except BrokenPipeError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.crowd", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the gateway, without a path")
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="contents and viewings; the same for all of one crowd")
    parser.add_argument("--first-index", type=int, default=0, help="where this process begins to count viewings")
    parser.add_argument("--seconds", type=float, default=0, help="0: until a signal")
    parser.add_argument("--ledger", type=Path, required=True, help="file to append to")
    parser.add_argument("--rate", type=float, default=0, help="posts a second at most; 0: as the viewings ask")
    parser.add_argument("--pace", type=float, default=20, help="seconds of film a second")
    parser.add_argument("--resend", type=float, default=120, help="seconds an unanswered request is resent")
    parser.add_argument("--hang-up-share", type=float, default=0.005, help="of the tries that break on purpose")
    parser.add_argument(
        "--pause-max", type=float, default=math.inf, help="seconds between two tries, whatever is advised"
    )
    parser.add_argument("--every", type=float, default=1, help="seconds between two stats lines")
    options = parser.parse_args(arguments)
    options.url = options.url.rstrip("/")
    return uvloop.run(run(options))


if __name__ == "__main__":
    sys.exit(main())
