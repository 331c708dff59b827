"""The last life: nothing fails any more, what was broken is put right, all is delivered or said to be lost."""

import asyncio

from storage.reader_status import ReaderStatus
from tests.simulation.life import Life
from tests.simulation.player import Player
from tests.simulation.verdict import check_positions, endings, judge
from tests.simulation.world import World

PATIENCE_S = 120.0
LOOK_INTERVAL_S = 0.1


class Ending(Life):
    """`live` also judges."""

    def __init__(self, world: World) -> None:
        super().__init__(world, troubled=False)

    async def live(self) -> None:
        """Raises AssertionError with what did not hold."""
        world = self.world
        world.tell("═══ the last life")
        world.relational.up = world.counters.up = world.relational.registered = True
        world.relational.fails = world.counters.fails = 0
        world.wall.wrong_us = 0
        world.lives += 1
        self._start()
        await self._delivered()
        await self._takes_events()
        for collector in self.collectors:
            collector.close()
        await asyncio.sleep(1.0)
        assert self.upkeep.recover() == []
        check_positions(world)
        await self._delivered()
        for _, stop in self.drains.values():
            stop.set()
        await asyncio.sleep(0.5)
        assert world.upkeep is not None
        world.upkeep.kill()
        for process in self.processes:
            if process.name.startswith(("collector", "postgres", "redis")):
                await process.end()
                assert process.disk.descriptors() == 0, f"{process.name} holds {process.disk.descriptors()}"
        judge(world)
        await self._die()

    async def _takes_events(self) -> None:
        """The gateway always starts, and then takes events; only a store that is lost may leave it no room for them."""
        world, accepted = self.world, self.world.ledger.accepted
        for _ in range(20):
            await Player(self.chance, world.wall, world.ledger, self.post).play()
            if world.ledger.accepted > accepted:
                return
        full = all(collector.intake.admission.spool_full for collector in self.collectors)
        assert full and "postgres" in world.given_up, "the gateway does not take anything any more"

    async def _delivered(self) -> None:
        """Everything is where it belongs, or a store says that it cannot be."""
        world, until_s = self.world, self.world.loop.time() + PATIENCE_S
        while not (self._postgres_done() and self._redis_done() and self._archive_done()):
            assert world.loop.time() < until_s, f"not delivered after {PATIENCE_S} s: {world.statuses}"
            self._check_alive()
            await asyncio.sleep(LOOK_INTERVAL_S)
            world.archive.step(10_000)
            if _is("red", world.statuses["postgres"]) and world.relational.fell_back and not world.relational.diverged:
                world.tell("an engineer brings back what the store had")
                world.relational.bring_back()
                await asyncio.sleep(1.0)
        for reader, reached in (("postgres", self._in_postgres()), ("redis", world.counters.counts.positions)):
            if not self._reached(reached):
                world.given_up.add(reader)
                world.happens(f"{reader} says it is lost")

    def _postgres_done(self) -> bool:
        red = _is("red", self.world.statuses["postgres"])
        return (red and self.world.relational.diverged) or self._reached(self._in_postgres())

    def _in_postgres(self) -> dict[str, int]:
        return {name: position.sequence for name, position in self.world.relational.state.positions.items()}

    def _redis_done(self) -> bool:
        return self._reached(self.world.counters.counts.positions) or _is(
            "rebuild_needed", self.world.statuses["redis"]
        )

    def _archive_done(self) -> bool:
        return self._reached(self.world.archive.positions)

    def _reached(self, positions: dict[str, int]) -> bool:
        return all(positions.get(name, 0) >= sequence for name, sequence in endings(self.world).items())

    def _check_alive(self) -> None:
        for reader, (process, _) in self.drains.items():
            assert process.alive and not process.ended(), f"the drain of {reader} is gone"


def _is(state: str, status: ReaderStatus | None) -> bool:
    return status is not None and status.state == state
