"""Whether an event costs the same when there are many rows, or many connections: the parts `connections` and `growth`.

The machine's speed drifts by more than what is looked for, so every cost stands beside the time that a fixed piece of
work took just before and after it, and what is compared is the quotient.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Final

from loadtests.bench.gateway import BenchGateway, Measured
from loadtests.bench.rows import LATE, MANY, figures_of
from loadtests.bench.scene import Figures, Part, Scene, say

CONNECTIONS: Final = ((1, 100.0), (1_000, 100.0), (64, 1_000.0), (1_000, 1_000.0))
"""And requests a second: few enough for one connection alone, which never shares an fsync; and a busy gateway's."""
TURNS: Final = 3
MARKS: Final = (1, 2, 5, 10, 20, 50)  # million rows
FILL_S: Final = 60.0
FIRST_RATE_PER_S: Final = 50_000.0
BYTES_A_ROW: Final = 900  # heap, key, log and write-ahead log, while they are kept
YARDSTICK_ROUNDS: Final = 9


def yardstick_us() -> float:
    """CPU microseconds of a fixed piece of work in this interpreter, now."""
    took = []
    for _ in range(YARDSTICK_ROUNDS):
        began_s = time.process_time()
        table = {number: str(number) for number in range(20_000)}
        sum(len(text) for text in table.values())
        took.append(time.process_time() - began_s)
    return statistics.median(took) * 1e6


async def _costs(gateway: BenchGateway, seconds: float, **load: Any) -> tuple[Measured, Figures]:
    """A measurement, with the costs of an event in yardsticks."""
    before_us = yardstick_us()
    measured = await gateway.measure(gateway.mint(MANY, late=LATE), seconds, **load)
    yard_us = (before_us + yardstick_us()) / 2
    used = {"gateway": measured.cpu.collectors_s + measured.cpu.readers_s, "postgres": measured.cpu.postgres_s}
    return measured, {
        **figures_of(measured),
        "yardstick_us": round(yard_us),
        "yardsticks_per_million_events": {
            name: round(measured.us(used_s) / yard_us * 1e6) for name, used_s in used.items()
        },
    }


async def connections(scene: Scene) -> Figures:
    """At the same rates over few and over many, in an open loop; in turns, for PostgreSQL writes its checkpoints and
    cleans its tables when it likes. Of each cost the median.
    """
    gateway = await scene.gateway()
    rounds: dict[str, list[Figures]] = {}
    all_stored = True
    for turn in range(TURNS):
        for count, posts_per_s in CONNECTIONS if turn % 2 == 0 else reversed(CONNECTIONS):
            say(f"{count:,} connections, {posts_per_s:,.0f} requests a second, turn {turn + 1} of {TURNS}")
            load = {"connections": count, "posts_per_s": posts_per_s}
            measured, costs = await _costs(gateway, scene.seconds, **load)
            rounds.setdefault(f"{count:,} at {posts_per_s:,.0f}", []).append(costs)
            all_stored = all_stored and measured.all_stored
    return {"all_stored": all_stored, **{key: _median(costs) for key, costs in rounds.items()}}


def _median(rounds: list[Figures]) -> Figures:
    """The last round's figures, with the median of each cost."""
    costs = {
        kind: {name: statistics.median(one[kind][name] for one in rounds) for name in rounds[0][kind]}
        for kind in ("cpu_us_per_event", "yardsticks_per_million_events")
    }
    return {**rounds[-1], **costs}


async def growth(scene: Scene) -> Figures:
    """A table that the gateway itself fills, measured as it passes each of MARKS million rows up to `scene.rows`."""
    quota = {"INGEST_SPOOL_QUOTA_BYTES": str(64 * 2**30)}
    figures: dict[str, Any] = {"all_stored": True}
    await scene.let_go()
    async with scene.started("growth", quota) as gateway:
        rows, rate_per_s = 0, FIRST_RATE_PER_S
        for mark in (million * 1_000_000 for million in MARKS if million * 1_000_000 <= scene.rows):
            while rows < mark:
                say(f"{rows:,} of {mark:,} rows")
                fill_s = min(FILL_S, (mark - rows) / rate_per_s + 0.1)
                filled = await gateway.measure(gateway.mint(MANY, late=LATE), fill_s)
                rows, rate_per_s = rows + filled.stored, filled.stored_per_s
                figures["all_stored"] = figures["all_stored"] and filled.all_stored
            say(f"measuring at {rows:,} rows, {scene.seconds:.0f} s")
            measured, figures[f"{mark:,}"] = await _costs(gateway, scene.seconds)
            rows += measured.stored
            figures["all_stored"] = figures["all_stored"] and measured.all_stored
    return figures


PARTS: Final = (Part("connections", "the same rates over few and over 1,000 connections", 2**30, connections),)
LONG_PARTS: Final = (
    Part("growth", "as the table grows to 50 million rows", MARKS[-1] * 1_000_000 * BYTES_A_ROW, growth),
)
