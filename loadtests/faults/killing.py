"""SIGKILL at a random moment: of one process of the gateway, of a store, of everything; of both makes of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final

from loadtests.faults.fault import TWIN, Fault, Unexpected
from loadtests.faults.stage import RECOVERY_S, Stage
from loadtests.procfs import Process, alive, all_stats, stat

WITHIN_S: Final = 1.5  # of the crowd's playing lies the moment
END_S: Final = 15.0


async def kill_role(role: str, stage: Stage, rng: Random) -> float:
    """One process, which its supervisor starts again."""
    await asyncio.sleep(rng.uniform(0, WITHIN_S))
    victim = await asyncio.to_thread(stage.pid_of, role)
    blow_us, since_s = killed(victim)
    await stage.until(lambda: stage.pid_of(role) != victim, RECOVERY_S, f"{role} started again")
    await stage.recovered(blow_us)
    return time.monotonic() - since_s


async def kill_backend(stage: Stage, rng: Random) -> float:
    """One process of PostgreSQL, a connection's or one of its own; it then starts all others anew."""
    await asyncio.sleep(rng.uniform(0, WITHIN_S))
    postmaster = await asyncio.to_thread(stage.pid_of, "postgres")
    children = sorted(pid for pid, seen in all_stats().items() if seen.parent_pid == postmaster)
    blow_us, since_s = killed(rng.choice(children))
    await stage.recovered(blow_us)
    return time.monotonic() - since_s


async def kill_supervisor(stage: Stage, rng: Random) -> float:
    """The parent of all, which takes all with it; started again as an init system would."""
    await asyncio.sleep(rng.uniform(0, WITHIN_S))
    product = stage.product
    await asyncio.to_thread(product.pids)
    blow_us, since_s = killed(product.pid)
    await stage.until(product.ended, END_S, "the supervisor's end")
    product.start()
    await asyncio.to_thread(product.wait_ready)
    await stage.recovered(blow_us)
    return time.monotonic() - since_s


async def kill_everything(stage: Stage, rng: Random) -> float:
    """Every process, stores included, at one moment."""
    await asyncio.sleep(rng.uniform(0, WITHIN_S))
    blow_us, since_s = time.time_ns() // 1_000, time.monotonic()
    dead = await asyncio.to_thread(stage.product.kill_everything)
    if len(dead) < 7:
        raise Unexpected(f"supervisor, collector, two readers and two stores are more than {dead}")
    stage.product.start()
    await asyncio.to_thread(stage.product.wait_ready)
    await stage.recovered(blow_us)
    return time.monotonic() - since_s


def killed(pid: int) -> tuple[int, float]:
    """SIGKILL, and nothing of it left; when that was, as epoch µs and by time.monotonic()."""
    seen = stat(pid)
    if seen is None:
        raise Unexpected(f"{pid} had ended before it was killed")
    blow_us, since_s = time.time_ns() // 1_000, time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while alive(Process(pid, seen.process.started_ticks)):
        if time.monotonic() > since_s + END_S:
            raise Unexpected(f"{pid} survived SIGKILL")
        time.sleep(0.001)
    return blow_us, since_s


def _role(name: str, role: str, means: str) -> Fault:
    return Fault(name, means, partial(kill_role, role), is_kill=True, on_staging=True)


_AS_INSTALLED: Final = (
    _role("kill-collector", "collector", "SIGKILL of a collector"),
    _role("kill-drain", "postgres_drain", "SIGKILL of the PostgreSQL drain"),
    _role("kill-readers", "readers", "SIGKILL of the readers' process (Redis)"),
    _role("kill-postgres", "postgres", "SIGKILL of PostgreSQL's postmaster"),
    Fault("kill-backend", "SIGKILL of one process of PostgreSQL", kill_backend, is_kill=True, on_staging=True),
    _role("kill-valkey", "redis", "SIGKILL of Valkey"),
    Fault("kill-supervisor", "SIGKILL of the supervisor", kill_supervisor, is_kill=True),
    Fault("kill-all", "SIGKILL of everything at once", kill_everything, is_kill=True),
)
_TWINS: Final = tuple(
    replace(kill, name=f"{kill.name}-twin", means=f"{kill.means}; of the other make", scenery=TWIN, on_staging=False)
    for kill in _AS_INSTALLED
)
_PAIRS: Final = tuple(enumerate(zip(_AS_INSTALLED, _TWINS, strict=True)))
KILLS: Final = (*(pair[n % 2] for n, pair in _PAIRS), *(pair[1 - n % 2] for n, pair in _PAIRS))
"""In turns: however few the rounds are, both makes are struck."""
