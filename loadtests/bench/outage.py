"""What memory the gateway takes, also while its store stands still: the part `outage`."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from loadtests.bench.client import Load
from loadtests.bench.gateway import BenchGateway
from loadtests.bench.open_loop import run_open_loop
from loadtests.bench.rows import LATE, MANY
from loadtests.bench.scene import Figures, Part, Scene, say
from loadtests.faults.stopping import stopped

INTAKE_SHARE: Final = 0.25
CONNECTIONS: Final = 256
LOOK_S: Final = 1.0
CAUGHT_UP_MAX_S: Final = 900.0
MIB: Final = 2**20


async def outage(scene: Scene) -> Figures:
    """A quarter of saturation, first with the store, then without, then with it again until nothing is behind."""
    quota = {"INGEST_SPOOL_QUOTA_BYTES": str(32 * 2**30)}
    await scene.let_go()
    async with scene.started("outage", quota) as gateway:
        say(f"saturation, {scene.seconds:.0f} s")
        saturated = await gateway.measure(gateway.mint(MANY, late=LATE), scene.seconds)
        peak_bytes = gateway.memory_bytes()
        posts_per_s = saturated.stored_per_s / MANY * INTAKE_SHARE
        rows_before = await gateway.rows()
        say(f"{posts_per_s:,.0f} requests a second with the store, {scene.seconds:.0f} s")
        usual, usual_bytes = await _watched(gateway, scene.seconds, posts_per_s)
        say(f"the same while PostgreSQL stands still, {scene.outage_s:.0f} s")
        with stopped(gateway.postmaster):
            without, outage_bytes = await _watched(gateway, scene.outage_s, posts_per_s)
        say("catching up")
        began_s = time.perf_counter()
        promised = usual.acknowledged + without.acknowledged
        caught_up_bytes = 0
        while await gateway.rows() - rows_before < promised and time.perf_counter() - began_s < CAUGHT_UP_MAX_S:
            caught_up_bytes = max(caught_up_bytes, gateway.memory_bytes())
            await asyncio.sleep(LOOK_S)
        stored = await gateway.rows() - rows_before
    figures: dict[str, Any] = {
        "outage_s": scene.outage_s,
        "posts_per_s": round(posts_per_s),
        "acknowledged": promised,
        "stored_count": stored,
        "all_stored": promised <= stored <= promised + usual.unsure + without.unsure,
        "statuses": without.statuses,
        "lost": usual.lost + without.lost,
        "caught_up_s": round(time.perf_counter() - began_s, 1),
        "memory_mib": {
            "after_saturation": round(peak_bytes / MIB),
            "with_the_store": round(usual_bytes / MIB),
            "in_the_outage": round(outage_bytes / MIB),
            "catching_up": round(caught_up_bytes / MIB),
        },
        "latency_ms_p99": {
            "with_the_store": round(usual.latency_ms(0.99), 2),
            "in_the_outage": round(without.latency_ms(0.99), 2),
        },
    }
    figures["memory_mib_max"] = max(figures["memory_mib"].values())
    return figures


async def _watched(gateway: BenchGateway, seconds: float, posts_per_s: float) -> tuple[Load, int]:
    """A load, and the most memory the gateway took meanwhile."""
    load = asyncio.create_task(
        run_open_loop(
            gateway.host,
            gateway.port,
            gateway.mint(MANY, late=LATE).mint,
            events_count=MANY,
            connections=CONNECTIONS,
            seconds=seconds,
            posts_per_s=posts_per_s,
        )
    )
    most_bytes = 0
    while not load.done():
        most_bytes = max(most_bytes, gateway.memory_bytes())
        await asyncio.wait({load}, timeout=LOOK_S)
    return load.result(), most_bytes


PARTS: Final = (Part("outage", "memory, also while the store stands still", 24 * 2**30, outage),)
