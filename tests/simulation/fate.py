"""What strikes a machine and its stores while they are at work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tests.simulation.process import Process
from tests.simulation.wall import DAY_US, HOUR_US

if TYPE_CHECKING:
    from tests.simulation.life import Life

BLOWS_MAX = 6
JUMPS_US = [HOUR_US, 5 * HOUR_US, DAY_US, 40 * DAY_US, 800 * DAY_US]


class Fate:
    """Of one life. What a seed's world knows of disasters is the same in all of its lives."""

    def __init__(self, life: "Life") -> None:
        self._life = life
        self._world = life.world
        self._chance = life.chance

    async def strike(self) -> None:
        """Some blows, each a while after the one before."""
        chance = self._chance
        blows = self._blows()
        for _ in range(chance.randrange(BLOWS_MAX + 1)):
            await asyncio.sleep(chance.random() * 0.3)
            await chance.choice(blows)()

    def _blows(self) -> list[Callable[[], Awaitable[None]]]:
        climate = self._world.seed
        blows: list[Callable[[], Awaitable[None]]] = [
            self._kill_collector, self._kill_drain, self._zombie, self._zombie, self._postgres_away,
            self._postgres_flaky, self._redis_away, self._redis_flaky, self._disk_full, self._disk_fails,
        ]  # fmt: skip
        if climate % 3 == 0:
            blows += [self._flip, self._flip]
        if climate % 6 == 0:
            blows += [self._flip_end, self._flip_end]
        if climate % 4 == 0:
            blows += [self._postgres_falls_back, self._postgres_falls_back, self._postgres_empty]
        if climate % 4 == 1:
            blows += [self._redis_goes_back, self._redis_empty]
        if climate % 5 < 2:
            blows += [self._clock_jumps, self._clock_jumps]
        return blows

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _kill_collector(self) -> None:
        if self._life.collectors:
            self._kill(self._chance.choice(self._life.collectors).process)

    async def _kill_drain(self) -> None:
        self._kill(self._life.drains[self._chance.choice(["postgres", "redis"])][0])

    def _kill(self, process: Process) -> None:
        self._world.happens("kill", process.name)
        process.kill()

    async def _zombie(self) -> None:
        """A drain stands still in the middle of its work; it goes on after its replacement has begun."""
        chance, reader = self._chance, self._chance.choice(["postgres", "redis"])
        zombie = self._life.drains[reader][0]
        self._world.happens("zombie", zombie.name)
        zombie.pause()
        await asyncio.sleep(chance.random() * 0.2)
        if not self._life.over.is_set():
            self._life.start_drain(reader)
        self._world.loop.call_later(chance.random() * chance.choice([0.2, 1, 4]), zombie.resume)
        self._world.loop.call_later(5.0, zombie.kill)

    # ── stores ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _postgres_away(self) -> None:
        self._world.happens("postgres away")
        self._world.relational.stop()
        await asyncio.sleep(self._chance.random() * self._chance.choice([0.1, 1]))
        self._world.relational.up = True

    async def _postgres_flaky(self) -> None:
        self._world.happens("postgres flaky")
        self._world.relational.fails = self._chance.choice([5, 30, 100])
        await asyncio.sleep(self._chance.random() * 0.7)
        self._world.relational.fails = 0

    async def _postgres_falls_back(self) -> None:
        to_s = self._world.loop.time() - self._chance.random() * self._chance.choice([0.2, 1, 8])
        self._world.happens("postgres falls back", f"to {to_s:.3f}")
        self._world.relational.fall_back(to_s)

    async def _postgres_empty(self) -> None:
        self._world.happens("postgres empty")
        self._world.relational.come_back_empty()
        await asyncio.sleep(self._chance.random() * 2)
        if self._chance.random() < 0.5:
            self._world.tell("an engineer migrates the empty one")
            self._world.relational.registered = True
        else:
            self._world.tell(f"an engineer brings it back: {self._world.relational.bring_back()}")

    async def _redis_away(self) -> None:
        self._world.happens("redis away")
        self._world.counters.up = False
        await asyncio.sleep(self._chance.random() * self._chance.choice([0.1, 1]))
        self._world.counters.up = True

    async def _redis_flaky(self) -> None:
        self._world.happens("redis flaky")
        self._world.counters.fails = self._chance.choice([5, 30, 100])
        await asyncio.sleep(self._chance.random() * 0.7)
        self._world.counters.fails = 0

    async def _redis_goes_back(self) -> None:
        self._world.happens("redis goes back")
        self._world.counters.go_back(self._chance.randrange(1, 6))

    async def _redis_empty(self) -> None:
        self._world.happens("redis empty")
        self._world.counters.come_back_empty()

    # ── the machine ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _disk_full(self) -> None:
        self._world.happens("disk full")
        self._world.platter.full = True
        await asyncio.sleep(self._chance.random())
        self._world.platter.full = False

    async def _disk_fails(self) -> None:
        self._world.happens("disk fails")
        disks = [process.disk for process in self._life.processes]
        for disk in disks:
            disk.fails = self._chance.choice([20, 200])
        await asyncio.sleep(self._chance.random() * 0.5)
        for disk in disks:
            disk.fails = 0

    async def _flip(self) -> None:
        if (where := self._world.damage.flip(self._chance)) is not None:
            self._world.happens("bit flip", where)

    async def _flip_end(self) -> None:
        if (where := self._world.damage.flip_end(self._chance)) is not None:
            self._world.happens("bit flip", where)
            if self._chance.random() < 0.5:
                await self._kill_collector()

    async def _clock_jumps(self) -> None:
        wall, chance = self._world.wall, self._chance
        wall.wrong_us = (
            0 if wall.wrong_us and chance.random() < 0.6 else chance.choice([-1, 1]) * chance.choice(JUMPS_US)
        )
        self._world.happens("clock jumps", f"to {wall.wrong_us / HOUR_US:+.0f} h")
