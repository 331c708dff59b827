"""Composition of the reader processes: a sink at the end of a drain."""

import asyncio
from collections.abc import Callable

from config.settings import Settings
from gateway.layout import DataDir
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from storage import drain


async def run_postgres(
    settings: Settings, data: DataDir, url: str, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """The store's drain, until `stop`."""
    from storage.postgres.writer import PostgresSink

    disk, clock = FileDisk(), SystemClock()
    sink = PostgresSink(url, data.root, settings.postgres, settings.door, settings.dead_letters, clock, disk)
    ready()
    await drain.run(
        sink,
        data.root,
        batch_max_bytes=settings.postgres.batch_max_bytes,
        batch_interval_ms=settings.postgres.batch_interval_ms,
        clock=clock,
        disk=disk,
        stop=stop,
    )


async def run_redis(
    settings: Settings, data: DataDir, url: str, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """The derivable readers, until `stop`."""
    from storage.redis.counters import Counters

    disk, clock = FileDisk(), SystemClock()
    sink = Counters(url, settings.redis, data.root, disk, clock)
    ready()
    await drain.run(
        sink,
        data.root,
        batch_max_bytes=settings.redis.batch_max_bytes,
        batch_interval_ms=settings.redis.batch_interval_ms,
        clock=clock,
        disk=disk,
        stop=stop,
        derivable=True,
    )
