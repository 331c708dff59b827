"""One life of the machine: everything is started, players post, fate strikes, and at some moment it is over."""

import asyncio

from tests.simulation.disk import Stop
from tests.simulation.fate import Fate
from tests.simulation.gateway import Reply, SimCollector, Upkeep, counter_sink, deliver, postgres_sink
from tests.simulation.loop import CommitThread
from tests.simulation.player import Player
from tests.simulation.process import Process
from tests.simulation.verdict import check_positions
from tests.simulation.world import World

LIFE_MAX_S = 4.0
RESTART_MAX_S = 0.3


class Life:
    """From start to death. `troubled`: calls to the disk fail, and processes die in the middle of them."""

    def __init__(self, world: World, *, troubled: bool = True) -> None:
        self.world = world
        self.chance = world.chance
        self.troubled = troubled
        self.over = asyncio.Event()
        self.collectors: list[SimCollector] = []
        self.processes: list[Process] = []
        self.drains: dict[str, tuple[Process, asyncio.Event]] = {}
        """The ones that are meant to run; a zombie is none of them."""
        self._power_cut = False
        self._started = 0

    async def live(self) -> None:
        """To the end; what was broken by a programmer is raised."""
        world, chance = self.world, self.chance
        world.tell(f"═══ life {world.lives}")
        try:
            self._start()
            fate = asyncio.ensure_future(Fate(self).strike())
            players = asyncio.ensure_future(self._play(chance.randrange(1, 6)))
            over = asyncio.ensure_future(self.over.wait())
            await asyncio.wait([players, over], timeout=LIFE_MAX_S, return_when=asyncio.FIRST_COMPLETED)
            if not self.over.is_set():
                await self._end_well_or_not()
            for task in (fate, players, over):
                task.cancel()
            for ended in await asyncio.gather(fate, players, over, return_exceptions=True):
                if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
                    raise ended
        except Stop:  # of what a start does before there are tasks
            pass
        await self._die()

    # ── processes ───────────────────────────────────────────────────────────────────────────────────────────────

    def process(self, name: str) -> Process:
        """A new one, with its share of the trouble."""
        self._started += 1
        made = Process(f"{name} {self.world.lives}.{self._started}", self.world.platter)
        self.processes.append(made)
        if self.troubled and not self.over.is_set():
            self._trouble(made)
        return made

    def start_collector(self) -> SimCollector:
        world = self.world
        process = self.process("collector")
        thread = CommitThread(world.loop, self.chance)
        collector = SimCollector(process, world.wall, world.settings, self.chance, thread)
        self.collectors.append(collector)
        process.on_death.append(lambda: self._after_death(process.name, lambda: self._replace(collector)))
        world.tell(f"{process.name} starts")
        process.run(collector.serve())
        return collector

    def start_drain(self, reader: str) -> Process:
        world = self.world
        process, stop = self.process(reader), asyncio.Event()
        world.drains[process.name] = process
        self.drains[reader] = (process, stop)
        process.on_death.append(lambda: self._after_death(process.name, lambda: self._start_again(process, reader)))
        world.tell(f"{process.name} starts")
        if reader == "postgres":
            work = deliver(postgres_sink(process, world.wall), process, world.wall, stop, self.chance, derivable=False)
        else:
            sink = counter_sink(world.counters, process, world.wall)
            work = deliver(sink, process, world.wall, stop, self.chance, derivable=True)
        process.run(work)
        return process

    def power_off(self) -> None:
        """At this very moment; no process does anything any more."""
        self._power_cut = True
        for process in self.processes:
            process.disk.stopped = True
        self.over.set()

    def _start(self) -> None:
        world = self.world
        if self.chance.random() < 0.7:
            world.relational.up = world.counters.up = True
            world.relational.fails = world.counters.fails = 0
        world.upkeep = self.process("supervisor")
        self.upkeep = Upkeep(world.upkeep, world.wall, world.settings, world.statuses_now)
        try:
            self.upkeep.recover()
        except OSError:
            pass  # the next turn comes
        check_positions(world)
        reading = self.process("archive")
        world.archive.open(reading.disk)
        reading.on_death.append(world.archive.close)
        reading.run(self._file())
        for _ in range(self.chance.randrange(1, 4)):
            self.start_collector()
        self.start_drain("postgres")
        self.start_drain("redis")
        world.upkeep.run(self.upkeep.keep(self.collectors))
        world.platter.meanwhile = self._meanwhile

    def _meanwhile(self) -> None:
        """Between two calls of somebody: a commit, a step of the archive, a turn of the upkeep."""
        luck = self.chance.random()
        try:
            if luck < 0.6 and self.collectors:
                self.chance.choice(self.collectors).thread.step()
            elif luck < 0.9:
                self.world.archive.step()
            else:
                self.upkeep.turn(self.collectors)
        except Stop:
            pass  # not the caller's
        except BaseException as mistake:
            self.world.mistakes.append(mistake)  # whose work this interrupts may take it for its own and go on
            raise

    async def _file(self) -> None:
        while True:
            await asyncio.sleep(self.chance.random() * 0.2)
            self.world.archive.step()

    def _after_death(self, name: str, start: object) -> None:
        if not self.over.is_set():
            self.world.tell(f"{name} died")
            self.world.loop.call_later(self.chance.random() * RESTART_MAX_S, start)  # type: ignore[arg-type]

    def _replace(self, collector: SimCollector) -> None:
        if not self.over.is_set():
            self.collectors.remove(collector)
            if not self.collectors or self.chance.random() < 0.7:
                self.start_collector()

    def _start_again(self, process: Process, reader: str) -> None:
        if not self.over.is_set() and self.drains[reader][0] is process:
            self.start_drain(reader)

    def _trouble(self, process: Process) -> None:
        chance, disk = self.chance, process.disk
        if chance.random() < 0.25:
            disk.stop_in = chance.choice([chance.randrange(40), chance.randrange(400), chance.randrange(2_000)])
            if chance.random() < 0.5:
                process.last_call = self.power_off
        if chance.random() < 0.2:
            disk.fails = chance.choice([3, 20, 100])
        if chance.random() < 0.1:
            disk.read_fails = chance.choice([3, 20])

    # ── players ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _play(self, number: int) -> None:
        world = self.world
        await asyncio.gather(*(Player(self.chance, world.wall, world.ledger, self.post).play() for _ in range(number)))
        await asyncio.sleep(self.chance.choice([0, 0.3, 1.5]))

    def post(self, body: bytes) -> "asyncio.Future[Reply]":
        """To any of the collectors."""
        if self.collectors:
            return self.chance.choice(self.collectors).post(body)
        refused: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        refused.set_result(None)
        return refused

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _end_well_or_not(self) -> None:
        luck = self.chance.random()
        if luck < 0.3:
            self.world.happens("stopped")
            await self._stop()
        elif luck < 0.6:
            self.world.happens("killed")
        else:
            self.power_off()

    async def _stop(self) -> None:
        """SIGTERM, in the supervisor's order; a death on the way ends it."""
        for collector in self.collectors:
            collector.close()
        await asyncio.sleep(0.5)
        for _, stop in self.drains.values():
            stop.set()
        await asyncio.sleep(0.2)

    async def _die(self) -> None:
        world = self.world
        if self._power_cut:
            world.happens("power cut")
        self.over.set()
        world.platter.meanwhile = lambda: None
        for process in self.processes:
            process.kill()
        for process in self.processes:
            await process.end()
        world.archive.close()
        world.platter.full = False
        if self._power_cut:
            world.damage.power_cut()
            world.platter.cut_power()
