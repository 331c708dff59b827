"""Valkey lost: emptied while it runs, wiped while it is down, and emptied when the spool no longer has everything."""

from __future__ import annotations

import asyncio
import shutil
import time
from random import Random
from typing import Final

import redis

from loadtests.faults.fault import FORGETFUL, Fault, Unexpected
from loadtests.faults.killing import killed
from loadtests.faults.stage import RECOVERY_S, Stage

REBUILD: Final = ("counters", "rebuild")
REGISTRATION: Final = "{ingest}:registration"


async def flush_valkey(stage: Stage, rng: Random) -> float:
    """Everything is counted again from the spool."""
    await asyncio.sleep(rng.uniform(0, 1))
    flushed_us, since_s = time.time_ns() // 1_000, time.monotonic()
    await asyncio.to_thread(flush, stage)
    await stage.recovered(flushed_us)
    return time.monotonic() - since_s


async def wipe_valkey(stage: Stage, rng: Random) -> float:
    """As if it had never been there."""
    await asyncio.sleep(rng.uniform(0, 1))
    await asyncio.to_thread(stage.product.stop)
    shutil.rmtree(stage.data_dir / "valkey")
    wiped_us, since_s = time.time_ns() // 1_000, time.monotonic()
    stage.product.start()
    await asyncio.to_thread(stage.product.wait_ready)
    await stage.recovered(wiped_us)
    return time.monotonic() - since_s


async def lose_valkey(stage: Stage, rng: Random) -> float:
    """The spool cannot count all of it again: rather none than wrong counts, and it says so; `counters rebuild` counts
    from the store. Where this gateway has no such command, the rows alone are judged from here on."""
    graves = stage.data_dir / "spool" / "tombstones"
    await asyncio.sleep(rng.uniform(0, 1))
    victim = await asyncio.to_thread(stage.pid_of, "collector")
    killed(victim)
    await stage.until(lambda: graves.is_dir() and any(graves.iterdir()), RECOVERY_S, "a part of the spool is gone")
    await asyncio.to_thread(flush, stage)
    await stage.until(lambda: stage.reader("redis")["state"] == "rebuild_needed", RECOVERY_S, "rebuild_needed")
    if not stage.reader("redis")["reason"]:
        raise Unexpected("rebuild_needed, and no reason")
    stage.counters_lost = (await stage.command(*REBUILD, "--help"))[0] != 0
    lost_us, since_s = time.time_ns() // 1_000, time.monotonic()
    if not stage.counters_lost:
        code, said = await stage.command(*REBUILD)
        if code:
            raise Unexpected(f"counters rebuild: exit code {code}: {said}")
    await stage.recovered(lost_us)
    return time.monotonic() - since_s


def flush(stage: Stage) -> None:
    """FLUSHALL of a Valkey that holds something."""
    with redis.Redis.from_url(stage.gateway.endpoints["redis"]) as store:
        if not store.exists(REGISTRATION):
            raise Unexpected("there was nothing to lose")
        store.flushall()


LOSSES: Final = (
    Fault("flush-valkey", "FLUSHALL while it runs; the spool still has everything", flush_valkey),
    Fault("wipe-valkey", "Valkey's files wiped while it is down; the spool still has everything", wipe_valkey),
    Fault(
        "lose-valkey",
        "FLUSHALL after a part of the spool is gone: rebuild_needed, then rebuilt",
        lose_valkey,
        FORGETFUL,
    ),
)
