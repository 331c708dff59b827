"""What it costs to make events of lines of CMCD: the part `stage`, of the session stage's own process.

Ten lines a request, as a player brings them that reports in batches. Everything is in it: reading the spool, holding,
judging, the state file and the log that the stage writes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from loadtests.bench.client import run_load
from loadtests.bench.cmcd import COUNT_SQL, CmcdMint
from loadtests.bench.gateway import CONNECTIONS, BenchGateway
from loadtests.bench.scene import WARM_UP_S, Figures, Part, Scene, say
from loadtests.procfs import cpu_s

LINES: Final = 10
JUDGED_MAX_S: Final = 120.0
GIB: Final = 2**30


async def stage(scene: Scene) -> Figures:
    """A load through the door, and until all of it is judged."""
    gateway = await scene.gateway()
    kept_before: int = await gateway.postgres.fetchval(COUNT_SQL)
    mint = CmcdMint(gateway.host, gateway.port, LINES).mint
    say(f"CMCD for the stage, {LINES} lines a request, {CONNECTIONS} connections, {scene.seconds:.0f} s")
    warm = await run_load(
        gateway.host, gateway.port, mint, events_count=LINES, connections=CONNECTIONS, seconds=WARM_UP_S
    )
    await _judged(gateway)
    (pid,) = (one["pid"] for one in gateway.product.statusz()["processes"] if one["role"] == "stage")
    before_s, began_s = cpu_s([pid]), time.monotonic()
    load = await run_load(
        gateway.host, gateway.port, mint, events_count=LINES, connections=CONNECTIONS, seconds=scene.seconds
    )
    await _judged(gateway)
    stage_s, took_s = cpu_s([pid]) - before_s, time.monotonic() - began_s
    await gateway.all_counted()
    acknowledged, unsure = warm.acknowledged + load.acknowledged, warm.unsure + load.unsure
    kept = await gateway.postgres.fetchval(COUNT_SQL) - kept_before
    return {
        "us_per_line": round(stage_s / load.acknowledged * 1e6, 2),
        "lines_per_s": round(load.per_s),
        "judged_per_s": round(load.acknowledged / took_s),
        "acknowledged": acknowledged,
        "stored_count": kept,
        "all_stored": acknowledged <= kept <= acknowledged + unsure,
    }


async def _judged(gateway: BenchGateway) -> None:
    """Until the stage has said, since now, that nothing is left. Raises TimeoutError."""
    asked_us = time.time_ns() // 1_000
    async with asyncio.timeout(JUDGED_MAX_S):
        while True:
            status: dict[str, Any] = await asyncio.to_thread(gateway.product.statusz)
            (told,) = (reader for reader in status["readers"] if reader["reader"] == "stage")
            if told.get("at_us", 0) > asked_us and not told["lag_frames"]:
                return
            await asyncio.sleep(0.2)


PARTS: Final = (Part("stage", "what it costs to make events of lines of CMCD", GIB, stage),)
