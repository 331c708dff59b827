"""Requests on their way to the gateway: many at once, resent until they are answered, each written into the ledger."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp

from loadtests.body import some_form
from loadtests.ledger import LedgerFile
from loadtests.poster import Poster, Tally
from loadtests.truth.evening import Request

CONNECTIONS: Final = 32  # the kernel spreads them over the collectors
AT_ONCE: Final = 64
GIVE_UP_S: Final = 120.0
HANG_UP_SHARE: Final = 0.002
PAUSE_MAX_S: Final = 0.5


async def post_all(url: str, requests: Sequence[Request], ledger_path: Path, seed: int) -> Tally:
    """Post everything, in about the order given; what was said, event by event, is in the ledger.

    A tenth is posted twice, by two connections at once or one after the other: a resend that nobody needed.
    """
    ledger, tally, rng = LedgerFile(ledger_path), Tally(), random.Random(f"truth:posting:{seed}")
    deadline_s = time.monotonic() + GIVE_UP_S + len(requests) / 100
    ahead = iter(requests)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:
        poster = Poster(session, url, ledger, rng, tally, lambda: deadline_s, HANG_UP_SHARE, PAUSE_MAX_S)

        async def one_after_the_other() -> None:
            for request in ahead:
                form = some_form(rng, needs_sent_at=request.needs_sent_at, last=False)
                parts = [[event] for event in request.events] if form == "single" else [list(request.events)]
                for part in parts:
                    for _ in range(2 if rng.random() < 0.1 else 1):
                        await poster.post(part, form, request.skew_ms)

        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    ledger.close()
    return tally
