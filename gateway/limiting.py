"""Who watches more streams than the plan allows: found every second, by the readers' process, and told to the doors."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import structlog

from config.settings import RedisSettings
from gateway import surplus_file
from gateway.layout import DataDir
from ingest.clock import Clock
from live import streams
from live.surplus import Surplus
from storage.postgres import accounts
from storage.postgres.reads import Reads
from storage.redis.connection import connect
from storage.sink import StoreError

log: Any = structlog.get_logger()

PERIOD_S: Final = 1.0
DEADLINE_S: Final = 5.0
"""Of one look at each store: nobody waits for it."""
OVERLAP_S: Final = 5
"""What began so long before the last look is looked at again: clocks of nodes, and a script that was under way."""
PROFILES_MAX: Final = 2_000
"""Looked at at once, the latest; of more each is looked at again after some minutes."""
USERS_MAX: Final = 100
"""Asked for by one script: less than 5 ms of Redis."""


async def run(settings: RedisSettings, data: DataDir, postgres_url: str, redis_url: str, clock: Clock) -> None:
    """For ever. While a store does not answer nothing is told, and the doors soon refuse nobody."""
    surplus = Surplus(1 + 1 / settings.lease_factor)  # a lease and a heartbeat
    client, reads = connect(redis_url, DEADLINE_S), Reads(postgres_url, DEADLINE_S)
    failed = ""
    try:
        while True:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await look(surplus, client, reads, clock.now_us(), settings.leases_us)
            except (StoreError, TimeoutError) as error:
                if (why := f"{type(error).__name__}: {error}") != failed:
                    log.warning("streams_not_limited", error=why)
                failed = why
            else:
                failed = ""
                await asyncio.to_thread(surplus_file.write, data.run, surplus.refused)
            await asyncio.sleep(PERIOD_S)
    finally:
        reads.close()
        await client.aclose()


async def look(surplus: Surplus, client: Any, reads: Reads, now_us: int, leases_us: Sequence[int]) -> None:
    """Once, at all of whom a session began lately or who had too many. Raises SinkUnavailable, SinkRefused."""
    profiles = await streams.begun(client, now_us // 1_000_000 - OVERLAP_S, PROFILES_MAX)
    known = surplus.users
    if not profiles and not known:
        return
    found = await accounts.of(reads, profiles, known)
    for user in known - found.keys():
        surplus.forget(user)
    users = list(found.items())
    for first in range(0, len(users), USERS_MAX):
        part = dict(users[first : first + USERS_MAX])
        owners = {profile: user for user, account in part.items() for profile in account.profiles}
        watched: dict[UUID, list[streams.Stream]] = {user: [] for user in part}
        for stream in (await streams.of(client, list(owners), now_us, leases_us)).streams:
            watched[owners[stream.profile_id]].append(stream)
        for user, account in part.items():
            surplus.look(user, account.streams_max, watched[user], now_us)
