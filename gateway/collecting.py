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
from gateway import door_status, rate_sharing, surplus_file
from gateway.deadline import Deadlines
from gateway.key_watch import KeyWatch
from gateway.layout import DataDir
from gateway.listening import BACKLOG
from gateway.notice import Notice
from ingest.clock import SystemClock
from ingest.entrance import Entrance
from ingest.general import General
from ingest.intake import Intake
from ingest.pressure import Pressure
from ingest.spool.appender import Appender
from ingest.spool.disk import FileDisk
from ingest.spool.retention import used_bytes
from ingest.spool.rust_commit import committer

log: Any = structlog.get_logger()

FLUSH_INTERVAL_S = 0.25
PRESSURE_INTERVAL_S = 1.0
SWITCH_INTERVAL_S = 0.001
"""How long the commit thread may wait for the interpreter while requests are decoded: part of every answer's time."""
OPEN_SHARE = 0.25
"""Of the quota, what all open segments may hold: they stay when all is delivered, and must not fill the spool."""


def segment_size_bytes(settings: Settings) -> int:
    """When a collector seals its segment: SEGMENT_SIZE_BYTES, less where the quota is small."""
    return min(SEGMENT_SIZE_BYTES, max(1, int(settings.spool.quota_bytes * OPEN_SHARE) // settings.workers))


def spool_excess_bytes(spool: Path, disk: FileDisk, settings: SpoolSettings) -> int:
    """How much too much there is: beyond the high mark, or of the disk's reserve; negative is room. Raises OSError."""
    free = os.statvfs(spool)
    lacking_bytes = settings.disk_reserve_bytes - free.f_bavail * free.f_frsize
    return max(used_bytes(disk, spool) - int(settings.quota_bytes * settings.high_mark), lacking_bytes)


async def run(
    settings: Settings,
    data: DataDir,
    index: int,
    listening: Sequence[socket.socket],
    notice: Notice,
    ready: Callable[[], None],
    redis_url: str = "",
) -> None:
    """Until `notice`; then no new connection is taken, what is in flight is answered, the incarnation ended.

    `redis_url` may be empty where the store is embedded and not started yet.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    disk, clock = FileDisk(), SystemClock()
    size_bytes = segment_size_bytes(settings)
    appender = Appender(data.spool, disk, clock, settings.spool, segment_size_bytes=size_bytes, committer=committer())
    try:
        appender.start()
    except OSError as error:  # the door opens all the same, answers 503, and the appender tries again
        log.error("spool_open_failed", error=str(error))
    intake = Intake(settings, appender, clock)
    admission, tally = intake.admission, intake.tally
    keys = KeyWatch(intake.gate, data, clock)
    if intake.gate.closed:
        await keys.look()

    async def flush() -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            tally.flush(admission.inflight_bytes)

    async def watch_pressure() -> None:
        pressure = Pressure()
        while True:
            try:
                excess_bytes = await asyncio.to_thread(spool_excess_bytes, data.spool, disk, settings.spool)
            except OSError as error:  # no descriptors left, say: what was true a second ago is the best there is
                log.error("spool_not_measured", error=str(error))
            else:
                pressure.look(clock.monotonic_s(), excess_bytes)
            full = pressure.full
            if full != admission.spool_full:
                log.warning("spool_full" if full else "spool_has_room")
            admission.spool_full, admission.room_in_s = full, pressure.room_in_s
            if settings.redis.limit_streams:
                intake.refused_sessions = await asyncio.to_thread(surplus_file.read, data.run)
            if not notice.replaced.is_set():  # else it is the successor's to say
                door_status.write(data.run, index, writable=appender.writable, spool_full=full)
            await asyncio.sleep(PRESSURE_INTERVAL_S)

    async def drain(entrance: Entrance) -> None:
        """A collector that was replaced has time; when then the gateway ends, it has no more than any other."""
        within_s, shutdown = Deadlines.of(settings.shutdown).requests_s, settings.shutdown
        if not notice.terminated.is_set():
            patiently = asyncio.ensure_future(
                entrance.drain(shutdown.restart_grace_s, shutdown.restart_grace_s + within_s)
            )
            hurried = asyncio.ensure_future(notice.terminated.wait())
            await asyncio.wait([patiently, hurried], return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            if patiently.done():
                patiently.result()
                return
            patiently.cancel()
        await entrance.drain(shutdown.keepalive_grace_s, within_s)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(entrance, sock=sock, backlog=BACKLOG) for sock in listening]
        ready()
        await notice.given.wait()
        log.info("draining", replaced=notice.replaced.is_set())
        for server in servers:
            server.close()
        await drain(entrance)
        appender.close()

    def redis() -> str:
        return redis_url or (data.endpoints_of_running() or {}).get("redis", "")

    entrance = Entrance(intake, settings.http, General(intake, settings.http).protocol_factory())
    async with asyncio.TaskGroup() as running:
        background = [running.create_task(flush()), running.create_task(watch_pressure())]
        background.append(running.create_task(entrance.run()))
        if intake.gate.closed:
            background.append(running.create_task(keys.run()))
            background.append(running.create_task(rate_sharing.run(intake.gate.rates, redis, clock)))
        committing = running.create_task(appender.run())
        await serve()
        await committing
        for task in background:
            task.cancel()
    tally.flush(0)
