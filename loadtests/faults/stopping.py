"""SIGSTOP: there, and without an answer. Of a store for a while; of a drain until long after its replacement."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from loadtests.faults.fault import Fault, Unexpected
from loadtests.faults.stage import Stage
from loadtests.procfs import tree
from loadtests.product import ROOT

ANSWERS_MEANWHILE: Final = frozenset({"200", "204", "400", "TimeoutError", "hung up"})
MOMENTS_MAX: Final = 20
REPLACED_S: Final = 4.0
FENCED_S: Final = 60.0
BOTH_S: Final = 2.0
END_S: Final = 30.0


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """These processes and all below them stand still."""
    held = [seen.process.pid for pid in pids for seen in tree(pid)]
    try:
        for pid in held:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in reversed(held):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def stop_store(role: str, seconds: float, stage: Stage, rng: Random) -> float:
    """The door stays open all the while; then the readers catch up."""
    await asyncio.sleep(rng.uniform(0, 1))
    before = dict(stage.playing.figures["statuses"])
    with stopped(await asyncio.to_thread(stage.pid_of, role)):
        await stage.acknowledged_more(seconds)
        answers = {status for status, times in stage.playing.figures["statuses"].items() if times != before.get(status)}
        if odd := answers - ANSWERS_MEANWHILE:
            raise Unexpected(f"a store that stands still is nobody's business at the door, which said {odd}")
    blow_us, since_s = time.time_ns() // 1_000, time.monotonic()
    await stage.recovered(blow_us)
    return time.monotonic() - since_s


async def stop_drain(stage: Stage, rng: Random) -> float:
    """The drain stands still while another one takes its place, and then goes on where it stood: both deliver the same
    frames, and the position lets only one of them through."""
    first = await asyncio.to_thread(stage.pid_of, "postgres_drain")
    log = stage.directory / "second-drain.log"
    told_before = fenced(log, stage.product.log)
    with contextlib.ExitStack() as still:
        second = None
        try:
            still.enter_context(stopped(first))
            second = second_drain(stage, log)
            await _replaced(stage, first, second.pid, still, rng)
            still.close()
            await stage.until(lambda: fenced(log, stage.product.log) > told_before, FENCED_S, "one of them is fenced")
            await asyncio.sleep(BOTH_S)
        finally:
            if second is not None:
                second.terminate()
                try:
                    await asyncio.to_thread(second.wait, END_S)
                finally:
                    second.kill()
    blow_us, since_s = time.time_ns() // 1_000, time.monotonic()
    await stage.until(lambda: stage.reader("postgres")["pid"] == first, END_S, "the first one is alone again")
    await stage.recovered(blow_us)
    return time.monotonic() - since_s


async def _replaced(stage: Stage, first: int, second: int, still: contextlib.ExitStack, rng: Random) -> None:
    """Wait until the second one has moved the position. One that was stopped in the middle of a transaction holds the
    lock on it: then it goes on and is stopped at another moment."""
    for _ in range(MOMENTS_MAX):
        now_us = time.time_ns() // 1_000

        def moved(since_us: int = now_us) -> bool:
            told = stage.reader("postgres")
            return bool(told["pid"] == second and (told["last_success_us"] or 0) > since_us)

        try:
            await stage.until(moved, REPLACED_S, "the second drain delivers")
        except Unexpected:
            still.close()
            await asyncio.sleep(rng.uniform(0, 0.3))
            still.enter_context(stopped(first))
        else:
            return
    raise Unexpected(f"the second drain never delivered in the first one's place\n{stage.product.log_tail()}")


def second_drain(stage: Stage, log: Path) -> subprocess.Popen[bytes]:
    """Another drain for the same spool, started by hand as the supervisor starts its own."""
    orders = {
        "role": "postgres_drain",
        "index": 0,
        "data_dir": str(stage.data_dir),
        "parent_pid": os.getpid(),
        "settings": {},
        "postgres_url": stage.gateway.endpoints["postgres"],
    }
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.role", "postgres_drain"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
        )
    assert process.stdin is not None
    process.stdin.write(json.dumps(orders).encode())
    process.stdin.close()
    return process


def fenced(*logs: Path) -> int:
    """How often a drain has said that another one is at work."""
    return sum(log.read_bytes().count(b'"SinkFenced"') for log in logs if log.exists())


def stops(seconds: float) -> tuple[Fault, ...]:
    """The faults of this kind; a store stands still for `seconds`."""
    postgres, valkey = partial(stop_store, "postgres", seconds), partial(stop_store, "redis", seconds)
    return (
        Fault("stop-postgres", f"SIGSTOP of PostgreSQL for {seconds:.0f} s", postgres, on_staging=True),
        Fault("stop-valkey", f"SIGSTOP of Valkey for {seconds:.0f} s", valkey, on_staging=True),
        Fault("stop-drain", "SIGSTOP of a drain past its replacement, then both", stop_drain),
    )
