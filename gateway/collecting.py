"""Composition of a collector process: sockets, door, spool, and the watch over the spool's high mark."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from config.limits import SEGMENT_SIZE_BYTES
from config.settings import Settings, SpoolSettings
from gateway import door_status
from gateway.layout import DataDir
from ingest.clock import SystemClock
from ingest.collector import Collector
from ingest.spool.appender import Appender
from ingest.spool.disk import FileDisk
from ingest.spool.retention import used_bytes

log: Any = structlog.get_logger()

FLUSH_INTERVAL_S = 0.25
PRESSURE_INTERVAL_S = 1.0
DRAIN_TIMEOUT_S = 10.0
"""How long requests in flight may take after a SIGTERM."""
BACKLOG = 4096
SWITCH_INTERVAL_S = 0.001
"""How long the commit thread may wait for the interpreter while requests are decoded: part of every answer's time."""
OPEN_SHARE = 0.25
"""Of the quota, what all open segments may hold: they stay when all is delivered, and must not fill the spool."""


def segment_size_bytes(settings: Settings) -> int:
    """When a collector seals its segment: SEGMENT_SIZE_BYTES, less where the quota is small."""
    return min(SEGMENT_SIZE_BYTES, max(1, int(settings.spool.quota_bytes * OPEN_SHARE) // settings.workers))


def spool_is_full(spool: Path, disk: FileDisk, settings: SpoolSettings) -> bool:
    """At its high mark, or the disk at its reserve."""
    free = os.statvfs(spool)
    free_bytes = free.f_bavail * free.f_frsize
    mark_bytes = settings.quota_bytes * settings.high_mark
    return used_bytes(disk, spool) >= mark_bytes or free_bytes <= settings.disk_reserve_bytes


async def run(
    settings: Settings,
    data: DataDir,
    index: int,
    listening: Sequence[socket.socket],
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Until `stop`; then no new connection is taken, what is in flight is answered, the incarnation ended."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    disk, clock = FileDisk(), SystemClock()
    appender = Appender(data.spool, disk, clock, settings.spool, segment_size_bytes=segment_size_bytes(settings))
    try:
        appender.start()
    except OSError as error:  # the door opens all the same, answers 503, and the appender tries again
        log.error("spool_open_failed", error=str(error))
    collector = Collector(settings, appender, clock)
    admission, tally = collector.admission, collector.tally

    async def flush() -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            tally.flush(admission.inflight_bytes)

    async def watch_pressure() -> None:
        while True:
            try:
                full = await asyncio.to_thread(spool_is_full, data.spool, disk, settings.spool)
            except OSError as error:  # no descriptors left, say: what was true a second ago is the best there is
                log.error("spool_not_measured", error=str(error))
                full = admission.spool_full
            if full != admission.spool_full:
                log.warning("spool_full" if full else "spool_has_room")
            admission.spool_full = full
            door_status.write(data.run, index, writable=appender.writable, spool_full=full)
            await asyncio.sleep(PRESSURE_INTERVAL_S)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        protocols = collector.protocol_factory()
        servers = [await loop.create_server(protocols, sock=sock, backlog=BACKLOG) for sock in listening]
        ready()
        await stop.wait()
        log.info("draining")
        admission.draining = True
        for server in servers:
            server.close()
        protocols.pre_shutdown()
        await protocols.shutdown(DRAIN_TIMEOUT_S)
        appender.close()

    async with asyncio.TaskGroup() as running:
        background = [running.create_task(flush()), running.create_task(watch_pressure())]
        committing = running.create_task(appender.run())
        await serve()
        await committing
        for task in background:
            task.cancel()
    tally.flush(0)
