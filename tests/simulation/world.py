"""One seed's world: a machine that lives, dies and starts again, players before it, stores behind it."""

import asyncio
from collections.abc import Callable
from random import Random

from config.settings import Settings, SpoolSettings
from ingest.core import chosen
from ingest.spool.disk import Disk
from storage.reader_status import ReaderStatus
from tests.simulation.archive import Archive
from tests.simulation.counting import CounterStore
from tests.simulation.damage import Damage
from tests.simulation.instead import instead
from tests.simulation.loop import SimLoop
from tests.simulation.platter import Platter
from tests.simulation.player import Ledger
from tests.simulation.process import Process
from tests.simulation.relational import Relational
from tests.simulation.session import Session
from tests.simulation.wall import Wall

LIVES = 4
MONTHS_BACK = 3
ROOMY_BYTES = 10**7
"""A quota that no world fills."""

NOTHING: frozenset[str] = frozenset()


class World:
    """`forgets`: what the disk does not sync (tests.simulation.platter); `breaks`: what the stores do not keep
    (relational, counting). `story` gets a line for everything that happens."""

    def __init__(
        self,
        seed: int,
        forgets: frozenset[str] = NOTHING,
        breaks: frozenset[str] = NOTHING,
        story: Callable[[str], None] | None = None,
    ) -> None:
        self.seed = seed
        self.chance = chance = Random(seed)
        self.loop = SimLoop()
        self.wall = Wall(self.loop.time)
        self.platter = Platter(chance, self.wall.now_s, forgets)
        self.relational = Relational(chance, self.loop.time, self.wall.true_us, breaks)
        self.relational.state.months = {2026 * 12 + 10 - back for back in range(-1, MONTHS_BACK)}
        self.counters = CounterStore(chance, breaks)
        self.damage = Damage(self.platter)
        self.archive = Archive(chance, self.damage)
        self.ledger = Ledger()
        self.statuses: dict[str, ReaderStatus | None] = {"postgres": None, "redis": None, "archive": None}
        self.drains: dict[str, Process] = {}
        """By name: whose session a connection is."""
        self.upkeep: Process | None = None
        self.happened: dict[str, int] = {}
        """What was done to it → how often."""
        self.lives = 0
        self.mistakes: list[BaseException] = []
        """Of those who came in between."""
        self.given_up: set[str] = set()
        """Stores that say they lack what the spool no longer has."""
        quota_bytes = chance.choice([25_000, ROOMY_BYTES])
        kept_s = chance.choice([0, 1, 10])
        spool = SpoolSettings(quota_bytes=quota_bytes, kept_s=kept_s, commit_interval_ms=chance.choice([0, 2]))
        self.settings = Settings(spool=spool)
        self._story = story

    def run(self) -> None:
        """All of its lives and the last one, in which everything is told. Raises what went wrong.

        Of an odd seed by the Python core, of an even one by the core as it was chosen: Rust's where it is built.
        """
        # here, because lives know their world
        from tests.simulation.ending import Ending
        from tests.simulation.life import Life

        async def live() -> None:
            for _ in range(LIVES):
                self.lives += 1
                await Life(self).live()
            await Ending(self).live()
            for mistake in self.mistakes:
                raise mistake

        before = chosen.rust
        if self.seed % 2:
            chosen.choose("python")
        self.happens(f"lived on the {chosen.name} core")
        try:
            with instead(
                connect=self._connect, told=self._told, upkeep_disk=self._upkeep_disk, wall=self.wall,
                logged=self.tell if self._story else None,
            ):  # fmt: skip
                self.loop.run_until_complete(live())
        finally:
            chosen.rust = before
            self._stop_everything()
            self.loop.close()

    def tell(self, what: str) -> None:
        """A line of the story."""
        if self._story is not None:
            self._story(f"{self.loop.time():9.4f}  {what}")

    def happens(self, what: str, detail: str = "") -> None:
        """It is counted and told."""
        self.happened[what] = self.happened.get(what, 0) + 1
        if self._story is not None:
            self.tell(f"── {what} {detail}".rstrip())

    def statuses_now(self) -> dict[str, ReaderStatus | None]:
        """As the supervisor reads them; the archive's reader is always there."""
        positions = dict(self.archive.positions)
        archive = ReaderStatus("archive", "running", "", 0, self.wall.now_us(), positions)
        return {**self.statuses, "archive": archive}

    def _stop_everything(self) -> None:
        """After a failure: what is still at work ends without a word, and nothing it says matters."""
        self.loop.set_exception_handler(lambda _, __: None)
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))
            for task in tasks:
                _ = task.cancelled() or task.exception()

    def _told(self, status: ReaderStatus) -> None:
        before = self.statuses[status.reader]
        if before is None or before.state != status.state:
            self.tell(f"{status.reader} is {status.state} {status.reason}")
        self.statuses[status.reader] = status

    def _connect(self, url: str) -> Session:
        if not self.relational.up:
            raise ConnectionRefusedError("nobody listens")
        return Session(self.relational, self.drains[url])

    def _upkeep_disk(self) -> Disk:
        assert self.upkeep is not None
        return self.upkeep.disk
