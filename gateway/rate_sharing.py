"""A collector's rates, settled with those of all others in Redis, behind the requests: none of them waits for it."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from ingest.clock import Clock
from ingest.rate import Rates

log: Any = structlog.get_logger()

PERIOD_S: Final = 0.2
PAUSE_S: Final = 1.0
"""After a failure."""
DEADLINE_S: Final = 0.5
"""Of Redis; less than a grant is good for."""


async def run(rates: Rates, redis_url: Callable[[], str], clock: Clock) -> None:
    """For ever. `redis_url` is empty while nobody knows it. Where Redis does not answer, each collector bounds rates by
    itself.
    """
    from storage.redis.connection import connect  # here: collectors that ask for no keys share nothing
    from storage.redis.rate import Pools

    client: Any = None
    collector = os.urandom(8)
    failed = ""
    try:
        while True:
            await asyncio.sleep(PAUSE_S if failed else PERIOD_S)
            reports = rates.reports(clock.monotonic_s())
            if not reports:
                continue
            try:
                if client is None:
                    if not (url := redis_url()):
                        rates.lost()
                        continue
                    client = connect(url, DEADLINE_S)
                async with asyncio.timeout(DEADLINE_S):
                    standings = await Pools(client, collector).settle(reports)
            except Exception as error:  # noqa: BLE001  whatever it is: requests are taken, and the next try comes
                rates.lost()
                if (why := f"{type(error).__name__}: {error}") != failed:
                    log.warning("rates_not_shared", error=why)
                failed = why
                await _let_go(client)  # an embedded one may come back elsewhere
                client = None
            else:
                rates.told(standings, clock.monotonic_s())
                if failed:
                    log.info("rates_shared")
                failed = ""
    finally:
        await _let_go(client)


async def _let_go(client: Any) -> None:
    if client is not None:
        with suppress(Exception):
            async with asyncio.timeout(DEADLINE_S):
                await client.aclose()
