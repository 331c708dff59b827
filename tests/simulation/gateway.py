"""The gateway's processes on the simulated machine, made of the real parts, as the package `gateway` makes them."""

import asyncio
from collections.abc import Callable
from random import Random

from config.settings import DeadLetterSettings, DoorSettings, PostgresSettings, Settings
from gateway import spool_upkeep
from gateway.layout import DataDir
from ingest.answer import Answer
from ingest.head import Head
from ingest.intake import Intake
from ingest.refusal import Refusal
from ingest.spool.appender import Appender
from ingest.spool.recovery import recover
from ingest.spool.retention import Deliveries, used_bytes
from storage import drain
from storage.postgres.writer import PostgresSink
from storage.reader_status import ReaderStatus
from storage.sink import EventSink
from tests.simulation.counting import CounterSink, CounterStore
from tests.simulation.loop import CommitThread
from tests.simulation.places import DATA, SPOOL
from tests.simulation.process import Process
from tests.simulation.wall import Wall

SEGMENT_SIZE_BYTES = 2_500
"""Small enough to be passed often."""
UPKEEP_INTERVAL_S = 0.5
BATCH_MAX_BYTES = 6_000

Reply = tuple[int, bytes] | None


class SimCollector:
    """One collector. Who is not answered when it dies sees a broken connection."""

    def __init__(self, process: Process, wall: Wall, settings: Settings, chance: Random, thread: CommitThread) -> None:
        self.process = process
        self.thread = thread
        self._appender = Appender(
            SPOOL, process.disk, wall, settings.spool, chance.randbytes,
            segment_size_bytes=SEGMENT_SIZE_BYTES, thread=thread,
        )  # fmt: skip
        self.intake = Intake(settings, self._appender, wall, chance.random)
        self._asked: list[asyncio.Future[Reply]] = []
        process.on_death.append(self._died)

    async def serve(self) -> None:
        """Until `close`."""
        try:
            self._appender.start()
        except OSError:
            pass  # `run` tries again
        await self._appender.run()

    def close(self) -> None:
        """SIGTERM."""
        self.intake.admission.draining = True
        self._appender.close()

    def post(self, body: bytes) -> "asyncio.Future[Reply]":
        """A request's status and answer, None when the connection broke."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def told(answer: Answer) -> None:
            if not reply.done():
                reply.set_result((answer.status, answer.body))

        if not self.process.alive:
            reply.set_result(None)
            return reply
        head = Head.of("application/json", None, "", None, "", minimal=False)
        try:
            self.intake.admit(head, len(body))
        except Refusal as refused:
            told(refused.answer)
            return reply
        answer = self.intake.take(head, body, 0, told)
        if answer is not None:
            told(answer)
        else:
            self._asked = [one for one in self._asked if not one.done()] + [reply]
        return reply

    def _died(self) -> None:
        for reply in self._asked:
            if not reply.done():
                reply.set_result(None)


def postgres_sink(process: Process, wall: Wall) -> PostgresSink:
    """The real one; `process.name` is how the driver is told whose session it is."""
    settings, dead = PostgresSettings(fingerprints_max=60), DeadLetterSettings()
    return PostgresSink(process.name, DATA, settings, DoorSettings(), dead, wall, process.disk)


def counter_sink(store: CounterStore, process: Process, wall: Wall) -> CounterSink:
    return CounterSink(store, process, SPOOL, wall.now_us)


async def deliver(
    sink: EventSink, process: Process, wall: Wall, stop: asyncio.Event, chance: Random, *, derivable: bool
) -> None:
    """A drain's whole life."""
    await drain.run(
        sink, DATA, batch_max_bytes=chance.choice([1_000, BATCH_MAX_BYTES]), batch_interval_ms=chance.choice([0, 30]),
        clock=wall, disk=process.disk, stop=stop, derivable=derivable, chance=chance.random,
    )  # fmt: skip


class Upkeep:
    """What the supervisor does beside the flow: recovery of what died, retention, the high mark."""

    def __init__(
        self, process: Process, wall: Wall, settings: Settings, statuses: Callable[[], dict[str, ReaderStatus | None]]
    ) -> None:
        self._process = process
        self._wall = wall
        self._settings = settings
        self._statuses = statuses
        self._at_work = False
        self._deliveries = Deliveries()

    def recover(self) -> list[str]:
        """Incarnations that somebody holds. Raises OSError."""
        return recover(self._process.disk, SPOOL, self._wall)

    def turn(self, collectors: list[SimCollector]) -> None:
        """Once, unless it is in the middle of one. What the disk refuses is left for the next."""
        if self._at_work or not self._process.alive:
            return
        self._at_work = True
        try:
            self.recover()
            spool_upkeep.remove_delivered(DataDir(DATA), self._settings, self._statuses(), self._deliveries)
            spool = self._settings.spool
            full = used_bytes(self._process.disk, SPOOL) >= spool.quota_bytes * spool.high_mark
        except OSError:
            return
        finally:
            self._at_work = False
        for collector in collectors:
            collector.intake.admission.spool_full = full

    async def keep(self, collectors: list[SimCollector]) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(UPKEEP_INTERVAL_S)
            self.turn(collectors)
