"""Composition of the reader processes: a sink at the end of a drain."""

import asyncio
import os
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from config.settings import Settings
from gateway.layout import DataDir
from gateway.notice import Notice
from ingest.clock import Clock, SystemClock
from ingest.spool.disk import Disk, FileDisk, lock
from storage import drain, reader_status
from storage.sink import EventSink

log: Any = structlog.get_logger()

REBUILD_PAUSE_S = 15.0
"""Before each look, and twice that at most: longer than a reader takes to open rebuilt counters (ten seconds)."""
DERIVED_SHARE_MAX = 0.25
"""Of the time that views and history may keep their store busy: rows go first, and a burst is derived behind it."""
TURN_PATIENCE_S = 30.0
"""How long a drain waits for the one it replaces; past it the two are told apart by their positions, as ever."""
TURN_POLL_S = 0.02
CQL_ANSWER_S = 5.0
"""Of a write to CQL, which holds no locks and loses nothing when it fails: the more of a partition is in it, the less a
row costs. A stop waits for it."""


async def run_postgres(settings: Settings, data: DataDir, url: str, notice: Notice, ready: Callable[[], None]) -> None:
    """The store's drain, until `notice`."""
    from gateway import key_publishing
    from storage.postgres.writer import PostgresSink

    publishing = asyncio.create_task(key_publishing.run(data, url))  # now: keys wait for no other drain, nor for Redis
    disk, clock = FileDisk(), SystemClock()
    pieces = settings.postgres, settings.door, settings.dead_letters
    sink = PostgresSink(url, data.root, *pieces, clock, disk, keeps_playback=settings.store == "postgres")
    ready()
    await turn(data, sink.reader, notice)
    await drain.run(
        sink,
        data.root,
        batch_max_bytes=settings.postgres.batch_max_bytes,
        batch_interval_ms=settings.postgres.batch_interval_ms,
        ad_batch_interval_ms=settings.postgres.ad_batch_interval_ms,
        clock=clock,
        disk=disk,
        stop=notice.given,
        finishing=notice.may_finish,
    )
    publishing.cancel()


async def run_scylla(settings: Settings, data: DataDir, notice: Notice, ready: Callable[[], None]) -> None:
    """The drain of playback events into CQL, until `notice`."""
    from storage.scylla.sink import ScyllaSink

    disk, clock = FileDisk(), SystemClock()
    sink = ScyllaSink(settings.scylla, data.root, settings.door, settings.dead_letters, clock, disk)
    ready()
    await turn(data, sink.reader, notice)
    await drain.run(
        sink,
        data.root,
        batch_max_bytes=settings.scylla.batch_max_bytes,
        batch_interval_ms=settings.scylla.batch_interval_ms,
        answer_s=CQL_ANSWER_S,
        clock=clock,
        disk=disk,
        stop=notice.given,
        finishing=notice.may_finish,
    )


async def run_redis(
    settings: Settings, data: DataDir, postgres_url: str, url: str, notice: Notice, ready: Callable[[], None]
) -> None:
    """The derivable readers, until `notice`."""
    from gateway import alias_filling, jobs
    from storage.postgres.derived import Derived
    from storage.redis.counters import Counters

    disk, clock = FileDisk(), SystemClock()
    sink = Counters(url, settings.redis, data.root, disk, clock)
    memory_s, waiting_s = settings.redis.view_memory_s, settings.postgres.watch_waiting_s
    rows = None
    if settings.store == "scylla":
        from storage.scylla.stored_rows import StoredRows

        rows = StoredRows(settings.scylla, data.root, disk)
    derived = Derived(postgres_url, data.root, memory_s, waiting_s, disk, clock, rows)
    derive = partial(_derive, data=data, notice=notice, clock=clock, disk=disk)
    ready()
    await turn(data, sink.reader, notice)  # one lock for both: they live in the same process
    async with asyncio.TaskGroup() as running:
        if settings.redis.limit_streams:
            from gateway import limiting

            watching = running.create_task(limiting.run(settings.redis, data, postgres_url, url, clock))
            running.create_task(_cancelled_with(watching, notice.given))
        filling = running.create_task(alias_filling.run(data, postgres_url))
        running.create_task(_cancelled_with(filling, notice.given))
        if settings.redis.rebuild_automatically:
            rebuilding = running.create_task(rebuild_when_needed(settings, data, postgres_url, url))
            running.create_task(_cancelled_with(rebuilding, notice.given))
        running.create_task(derive(sink, settings.redis.batch_max_bytes, settings.redis.batch_interval_ms))
        running.create_task(jobs.run(settings, data, postgres_url, url, notice.given))
        running.create_task(
            derive(
                derived,
                settings.postgres.batch_max_bytes,
                settings.postgres.derived_interval_ms,
                share_max=DERIVED_SHARE_MAX,
            )
        )


async def run_qoe(settings: Settings, data: DataDir, notice: Notice) -> None:
    """The reader of quality of experience, and the door at which its figures are asked for, until `notice`."""
    from live import quality
    from storage.qoe.reader import Quality

    disk, clock = FileDisk(), SystemClock()
    sink = Quality(settings.qoe, settings.redis.leases_us, data.root, disk, clock)
    derive = partial(_derive, data=data, notice=notice, clock=clock, disk=disk)
    await turn(data, sink.reader, notice)
    async with asyncio.TaskGroup() as running:
        serving = running.create_task(quality.serve(data.qoe_door, quality.Figures(sink.figures, clock)))
        running.create_task(_cancelled_with(serving, notice.given))
        running.create_task(derive(sink, settings.qoe.batch_max_bytes, settings.qoe.batch_interval_ms))


async def _derive(
    sink: EventSink,
    batch_max_bytes: int,
    batch_interval_ms: int,
    *,
    data: DataDir,
    notice: Notice,
    clock: Clock,
    disk: Disk,
    share_max: float = 1.0,
) -> None:
    """One derivable reader, until `notice`."""
    await drain.run(
        sink,
        data.root,
        batch_max_bytes=batch_max_bytes,
        batch_interval_ms=batch_interval_ms,
        clock=clock,
        disk=disk,
        stop=notice.given,
        finishing=notice.may_finish,
        derivable=True,
        share_max=share_max,
    )


async def rebuild_when_needed(settings: Settings, data: DataDir, postgres_url: str, url: str) -> None:
    """`counters rebuild` whenever the reader of this process says so. For ever."""
    from gateway import counters_commands

    def told(line: str) -> None:
        log.info("counters_rebuilding", progress=line)

    while True:
        # several nodes may find the same loss at once, and whoever begins last wins
        await asyncio.sleep(REBUILD_PAUSE_S * (1 + random.random()))
        status = reader_status.read(data.root, "redis")
        if status is None or status.pid != os.getpid() or status.state != "rebuild_needed":
            continue
        try:
            done = await counters_commands.rebuild(data, settings, postgres_url, url, told)
        except counters_commands.CannotRebuild as error:
            log.error("counters_not_rebuilt", error=str(error))
        else:
            log.info("counters_rebuilt", views=done.views, plays=done.plays)


async def _cancelled_with(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    await stop.wait()
    task.cancel()


async def turn(data: DataDir, reader: str, notice: Notice, patience_s: float = TURN_PATIENCE_S) -> None:
    """Wait until this process is the only drain of `reader` here, so that one that is replaced writes to its end.

    Not for ever: one that hangs is left to the fence around its positions. The lock is let go by the process's end.
    """
    until_s = asyncio.get_running_loop().time() + patience_s
    while lock(data.run / f"{reader}.lock") is None and not notice.given.is_set():
        if asyncio.get_running_loop().time() >= until_s:
            log.warning("drain_not_alone", reader=reader)
            return
        await asyncio.sleep(TURN_POLL_S)
