"""Redis as a sink: views and leases, each script call moving the position with its effects."""

import os
from collections.abc import Callable, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, Final

import structlog
from redis.exceptions import NoScriptError

from config.settings import RedisSettings
from ingest.clock import Clock
from ingest.spool.disk import Disk
from storage import metrics
from storage.redis import key
from storage.redis.connection import connect, translated
from storage.redis.entry import LEASES
from storage.redis.gap import first_gap
from storage.redis.script import joined
from storage.redis.sign import Batch, UnknownSchema, batches
from storage.sink import SinkFenced, SinkLost, SinkRefused, SinkUnavailable, Slice

log: Any = structlog.get_logger()

APPLY: Final = joined("command", "session", "sample", "owner", "apply")
APPLY_SHA1: Final = sha1(APPLY, usedforsecurity=False).hexdigest()
KEYS: Final = (key.REGISTRATION, key.POSITIONS, key.TOTALS, key.LIVE)

MEMORY_LEASES: Final = 4
"""A session is remembered this many leases after its last sign, its own or those of the settings, whichever are longer:
so that one which ended or paused, and goes on sending heartbeats, is not taken for a viewer."""

REGISTER: Final = b"""#!lua
if redis.call('EXISTS', KEYS[1]) == 1 then return {redis.call('GET', KEYS[1]), 0} end
if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then return {false, 0} end
redis.call('SET', KEYS[1], ARGV[1])
return {ARGV[1], 1}
"""
"""The registration and whether it is new; false beside counts that nobody registered."""

VERSION_MIN: Final = 7


class RebuildNeeded(SinkLost):
    """rebuild_needed: the spool no longer holds everything that Redis lacks; `counters rebuild` counts it anew."""


class CountersReplaced(SinkUnavailable):
    """The counters were lost or rebuilt; they are to be opened again."""


def check_server(info: dict[str, Any]) -> None:
    """Raises SinkRefused for a server that could lose single counts or lacks our commands."""
    version = str(info.get("redis_version", VERSION_MIN))
    if int(version.split(".", maxsplit=1)[0]) < VERSION_MIN:
        raise SinkRefused(f"Redis {version}: {VERSION_MIN}.0 or newer is needed.")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise SinkRefused(f"maxmemory-policy {policy} drops counts in silence; it has to be noeviction.")


async def apply(client: Any, keys: Sequence[str], arguments: Sequence[Any]) -> list[Any]:
    """Call apply.lua; its answer is {1, views moved, sessions moved}.

    Raises SinkUnavailable, CountersReplaced, SinkFenced, SinkRefused.
    """
    with translated():
        try:
            answer: list[Any] = await client.execute_command("EVALSHA", APPLY_SHA1, len(keys), *keys, *arguments)
        except NoScriptError:  # a restart or a failover forgot it
            answer = await client.execute_command("EVAL", APPLY, len(keys), *keys, *arguments)
    if answer[0] == 1:
        return answer
    error = {0: SinkFenced, -1: SinkRefused, -2: CountersReplaced}[answer[0]]
    raise error(answer[1].decode("utf-8", "replace"))


class Counters:
    """The sink `redis`.

    `data_dir`: where the spool is. `chance(n)` gives n random bytes.
    """

    reader = "redis"

    def __init__(
        self,
        url: str,
        settings: RedisSettings,
        data_dir: Path,
        disk: Disk,
        clock: Clock,
        *,
        chance: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._url = url
        self._spool = data_dir / "spool"
        self._disk = disk
        self._clock = clock
        self._chance = chance
        self._leases = LEASES.pack(*settings.leases_us)
        self._memory_us = MEMORY_LEASES * settings.lease_us
        self._view_memory_s = settings.view_memory_s
        self._viewers_exact_max = settings.viewers_exact_max
        self._limit_streams = int(settings.limit_streams)
        self._client: Any | None = None
        self._registration = b""

    async def open(self) -> dict[str, int]:
        """Connect, register where nothing was ever counted; the position of every incarnation that Redis knows.

        Raises SinkUnavailable, SinkRefused, RebuildNeeded (a SinkLost whose text begins with `rebuild_needed`).
        """
        await self.close()
        self._client = client = connect(self._url)
        with translated():
            check_server(await client.info())
            registration = await client.get(key.REGISTRATION)
            positions = {} if registration is None else await self._positions(client)
            self._check_spool(registration, positions)
            if registration is None:
                registration = await self._register(client)
                positions = await self._positions(client)
                self._check_spool(registration, positions)
            await client.script_load(APPLY)
        self._registration = registration
        return positions

    async def write(self, slices: Sequence[Slice]) -> None:
        """Count what the slices hold and move their positions, by as many script calls as keep each one short; without
        slices, see whether Redis is there and still ours.

        Raises SinkUnavailable (the positions say what was done), SinkFenced, SinkRefused (frames of a newer gateway,
        keys of somebody else's making).
        """
        if self._client is None:
            raise SinkUnavailable("Not open.")
        if not slices:
            await self._probe(self._client)
        now_us = self._clock.now_us()
        try:
            for batch in batches(slices, now_us, self._memory_us):
                await self._apply(self._client, batch, now_us)
        except UnknownSchema as error:
            raise SinkRefused(f"The spool holds frames of a newer gateway: {error}") from error

    async def _probe(self, client: Any) -> None:
        """Without traffic, too, an outage and a loss are seen. Raises SinkUnavailable: open again."""
        with translated():
            registration = await client.get(key.REGISTRATION)
        if registration != self._registration:
            raise CountersReplaced

    async def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            with translated():
                await client.aclose()
        except (SinkUnavailable, SinkRefused) as error:
            log.info("redis_close_failed", error=str(error))

    async def _apply(self, client: Any, batch: Batch, now_us: int) -> None:
        arguments = (
            *(self._registration, now_us, self._leases, self._memory_us // 1_000, self._view_memory_s),
            *(batch.positions, batch.views, batch.sessions, batch.rows, batch.signals, batch.tests),
            *(self._viewers_exact_max, self._limit_streams),
        )
        started_s = self._clock.monotonic_s()
        answer = await apply(client, KEYS, arguments)
        metrics.COUNTERS_SCRIPT_SECONDS.observe(self._clock.monotonic_s() - started_s)
        metrics.COUNTERS_VIEWS.inc(answer[1])
        metrics.COUNTERS_SESSIONS.inc(answer[2])
        metrics.COUNTERS_TESTS.inc(batch.tests)

    async def _register(self, client: Any) -> bytes:
        registration, is_new = await client.execute_command(
            "EVAL", REGISTER, 3, *KEYS[:3], self._chance(16).hex().encode("ascii")
        )
        if not registration:
            raise RebuildNeeded("Redis holds counts and no registration.")
        if is_new:
            log.info("redis_registered", registration=registration.decode())
        return bytes(registration)

    async def _positions(self, client: Any) -> dict[str, int]:
        known: dict[bytes, bytes] = await client.execute_command("HGETALL", key.POSITIONS)
        return {name.decode("ascii"): int(sequence) for name, sequence in known.items()}

    def _check_spool(self, registration: bytes | None, positions: dict[str, int]) -> None:
        gap = first_gap(self._disk, self._spool, positions)
        if gap is not None:
            found = "Redis was lost or never initialised" if registration is None else "Redis is behind the spool"
            raise RebuildNeeded(f"{found}: {gap}")
