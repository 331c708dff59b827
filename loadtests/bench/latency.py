"""How long an answer takes: the part `latency`, at shares of what the gateway can take, in an open loop."""

from __future__ import annotations

from typing import Any, Final

from loadtests.bench.gateway import BenchGateway
from loadtests.bench.rows import LATE, MANY, figures_of, latencies_ms
from loadtests.bench.scene import Figures, Part, Scene, say

SHARES: Final = (0.25, 0.5, 0.75)
CONNECTIONS: Final = 256  # requests that can be under way: beyond them a due one waits, and its wait is counted


async def latency(scene: Scene) -> Figures:
    """Saturation is what came into the store a second in a closed loop just before.

    A gateway of its own: behind the other parts' loads PostgreSQL writes back tens of millions of rows for a minute,
    which is its disk's time and no answer's.
    """
    await scene.let_go()
    async with scene.started("latency", {}) as gateway:
        return await _shares(gateway, scene)


async def _shares(gateway: BenchGateway, scene: Scene) -> Figures:
    say(f"saturation, {scene.seconds:.0f} s")
    saturated = await gateway.measure(gateway.mint(MANY, late=LATE), scene.seconds)
    figures: dict[str, Any] = {"saturation_per_s": round(saturated.stored_per_s), "all_stored": saturated.all_stored}
    for share in SHARES:
        posts_per_s = saturated.stored_per_s / MANY * share
        say(f"open loop at {share:.0%}: {posts_per_s:,.0f} requests a second, {scene.seconds:.0f} s")
        measured = await gateway.measure(
            gateway.mint(MANY, late=LATE), scene.seconds, connections=CONNECTIONS, posts_per_s=posts_per_s
        )
        figures[f"{share:.0%}"] = {"latency_ms": latencies_ms(measured.load), **figures_of(measured)}
        figures["all_stored"] = figures["all_stored"] and measured.all_stored
    return figures


PARTS: Final = (Part("latency", "answers at 25, 50 and 75 % of saturation, open loop", 6 * 2**30, latency),)
