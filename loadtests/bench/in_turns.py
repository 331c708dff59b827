"""Loads upon the gateway and upon a bare aiohttp server in turns, as the machine's speed drifts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from statistics import median
from typing import Final, NamedTuple

from loadtests.bench.bare_http import bare_servers
from loadtests.bench.client import Load
from loadtests.bench.gateway import CONNECTIONS, BenchGateway
from loadtests.bench.scene import say

ROUNDS: Final = 3


class Turns(NamedTuple):
    """What became of them."""

    ours: list[Load]
    """One a round."""
    bare: list[Load]
    every: list[Load]
    """Upon the gateway, with those that warmed it up."""

    @property
    def share(self) -> float:
        """The gateway's requests a second of the bare server's: the median of pairs."""
        return median(one.per_s / other.per_s for one, other in zip(self.ours, self.bare, strict=True))


async def in_turns(
    gateway: BenchGateway, what: str, seconds: float, load: Callable[[str, int], Awaitable[list[Load]]]
) -> Turns:
    """`load(host, port)`: loads upon what is there, the last of which counts."""
    turns = Turns([], [], [])
    async with bare_servers(gateway.collectors_count) as bare_port:
        for number in range(ROUNDS):
            say(f"{what}, {CONNECTIONS} connections, {seconds:.0f} s, and bare aiohttp, round {number + 1} of {ROUNDS}")
            turns.bare.append((await load("127.0.0.1", bare_port))[-1])
            turns.every.extend(await load(gateway.host, gateway.port))
            turns.ours.append(turns.every[-1])
    return turns
