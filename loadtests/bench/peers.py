"""Others on the same bodies and the same PostgreSQL: the part `peers`, of loadtests.peers."""

from __future__ import annotations

from typing import Final

from loadtests.bench.scene import Figures, Part, Scene
from loadtests.peers.comparison import GATEWAY, compare

TELEGRAF: Final = "telegraf"


async def peers(scene: Scene) -> Figures:
    gateway = await scene.gateway()
    compared = await compare(gateway.product, scene.seconds, scene.directory)
    systems = compared["systems"]
    figures: Figures = {"all_stored": not any(systems[GATEWAY][size]["missing"] for size in ("20", "1")), **compared}
    for size, name in (("20", "rows_of_telegraf"), ("1", "single_of_telegraf")):
        if TELEGRAF in systems:
            ratio = systems[GATEWAY][size]["stored_per_s"] / max(1, systems[TELEGRAF][size]["stored_per_s"])
            figures[name] = round(ratio, 2)
    return figures


PARTS: Final = (Part("peers", "Telegraf and a FastAPI service in turns with the gateway", 6 * 2**30, peers),)
