"""The stores of a demonstration as a stranger sees them, and the Cassandra that it starts for rows in CQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
import redis.asyncio as redis

from gateway.cql import Plan, Ring, jars
from gateway.cql.ring import free_ports
from loadtests.catalogue import catalogue
from loadtests.reconcile import COUNT_SQL, counted_views

VIEWERS_KEYS: Final = "{ingest}:viewers:*"
TITLES_SQL: Final = """
INSERT INTO content (id, type, title, duration)
SELECT id, CASE WHEN duration IS NULL THEN 'live_channel' ELSE 'movie' END, 'Title ' || number, duration
  FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY AS title (id, duration, number)
    ON CONFLICT DO NOTHING
"""


class OneNode:
    """A Cassandra in `directory`, which ends with this process. Raises RingError, CassandraMissing."""

    def __init__(self, directory: Path) -> None:
        port, storage_port = free_ports(Plan().addresses, Plan().port)
        self._ring = Ring(directory, Plan(port=port, storage_port=storage_port))

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a gateway that stores there."""
        return {
            "INGEST_STORE": "scylla",
            "INGEST_SCYLLA_CONTACT_POINTS": self._ring.contact_points,
            "INGEST_SCYLLA_PORT": str(self._ring.plan.port),
            "INGEST_SCYLLA_REPLICATION": "1",
        }

    async def start(self, stop: asyncio.Event) -> bool:
        """Until it answers, or False: until `stop`. At the first time its jars are fetched."""
        starting, stopped = asyncio.ensure_future(self._start()), asyncio.ensure_future(stop.wait())
        await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not starting.done():
            self.end()
            await asyncio.wait([starting])
            return False
        await starting
        return True

    async def _start(self) -> None:
        if not jars.is_installed():
            await asyncio.to_thread(jars.install)
        self._ring.spawn(is_tied=True)  # in this thread: it ends with whichever thread starts it
        await asyncio.to_thread(self._ring.wait_ready)

    def end(self) -> None:
        """What it has acknowledged is on disk."""
        self._ring.kill()


class Seen(NamedTuple):
    """What the stores hold at one moment."""

    rows: int
    views: int
    live: int
    """Viewers."""


class Stores:
    """Of a running gateway's endpoints.json. Raises OSError, PostgresError, RedisError."""

    def __init__(self, endpoints: Mapping[str, str]) -> None:
        self._endpoints = endpoints
        self._counting: asyncio.Task[int] | None = None
        self._rows = 0

    async def know_titles(self, seed: int) -> None:
        """Put the crowd's contents into the catalogue: what nobody knows has no tier."""
        titles = catalogue(seed)
        postgres = await asyncpg.connect(self._endpoints["postgres"])
        try:
            await postgres.execute(TITLES_SQL, [one.content_id for one in titles], [one.duration_s for one in titles])
        finally:
            await postgres.close()

    async def look(self, *, is_exact: bool = False) -> Seen:
        """Rows of a CQL store are those of a moment ago: they are counted one by one, unless it has to be exact."""
        if "cql" in self._endpoints:
            rows = await self._counted(is_exact=is_exact)
        else:
            postgres = await asyncpg.connect(self._endpoints["postgres"])
            try:
                rows = await postgres.fetchval(COUNT_SQL)
            finally:
                await postgres.close()
        store = redis.Redis.from_url(self._endpoints["redis"])
        try:
            views = sum((await counted_views(store, None)).values())
            keys = [key async for key in store.scan_iter(match=VIEWERS_KEYS, count=1000)]
            async with store.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.zcount(key, time.time(), "+inf")
                live = sum(await pipeline.execute())
        finally:
            await store.aclose()
        return Seen(rows, views, live)

    async def _counted(self, *, is_exact: bool) -> int:
        if self._counting is None:
            self._counting = asyncio.create_task(asyncio.to_thread(_count, self._endpoints["cql"]))
        if is_exact or self._counting.done():
            counting, self._counting = self._counting, None
            self._rows = await counting
        return self._rows


def _count(url: str) -> int:
    from cassandra import DriverException
    from cassandra.cluster import NoHostAvailable

    from loadtests.cql_tables import Tables

    try:
        with Tables(url) as tables:
            return tables.count()
    except (DriverException, NoHostAvailable) as error:
        raise OSError(f"CQL: {error}") from error
