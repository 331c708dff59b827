"""One seed's world: requests come, the process is killed, the power is cut, the disk is full; a store reads along."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

from config.settings import SpoolSettings
from ingest.spool.appender import Appender, SpoolUnavailable
from ingest.spool.disk import Disk
from ingest.spool.ending import TOMBSTONES, read_ending
from ingest.spool.reader import Reader
from ingest.spool.recovery import incarnations, recover
from ingest.spool.retention import removable, remove, sealed_segments
from tests.incarnations import a_frame_body
from tests.simulation.disk import SimDisk, Stop
from tests.simulation.loop import Inline, SimLoop

DATA = Path("/data")
SPOOL = DATA / "spool"
QUARANTINE = DATA / "quarantine"
SEGMENT_SIZE_BYTES = 700
"""Small enough to be passed often."""


class Store:
    """A reader's end: rows and positions move together, as in one transaction. It outlives every crash."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.of_incarnation: dict[str, list[str]] = {}
        self.positions: dict[str, int] = {}

    def drain(self, disk: Disk, chance: Random | None) -> None:
        """What is new of every incarnation, in bites; without `chance` to the end.

        A gap is told as lost. What was acknowledged is in none (`World.verdict`); but of frames that were on their way
        together when the power failed, a later one may be whole and an earlier one not.
        """
        for name in incarnations(disk, SPOOL):
            reader = Reader(SPOOL / name, disk, QUARANTINE, self.positions.get(name, 0))
            while True:
                reading = reader.read(chance.choice([1, 400, 10_000]) if chance else 10_000)
                at = self.positions.get(name, 0)
                for frame in reading.frames:
                    assert frame.sequence == at or (frame.sequence > at and reading.lost), (
                        f"{frame.sequence} after {at}"
                    )
                    at = frame.sequence + 1
                behind = reading.state.sequence
                assert behind == at or (behind > at and reading.lost), f"{behind} is not behind {at - 1}"
                if behind == self.positions.get(name, 0):
                    break
                rows = [row.decode() for frame in reading.frames for row in frame.tuples()]
                self.rows += rows
                self.of_incarnation.setdefault(name, []).extend(rows)
                self.positions[name] = behind
                if chance and chance.random() < 0.3:
                    break
            reader.close()
        for name in disk.list(SPOOL / TOMBSTONES):
            if len(name) == 32:
                ending = read_ending(disk, SPOOL / TOMBSTONES / name)
                assert ending is not None
                assert self.positions.get(name, 0) >= ending.sequence, f"{name} was removed before it was delivered"


class World:
    """Lives of one process on one disk."""

    def __init__(self, seed: int, forgets: frozenset[str] = frozenset()) -> None:
        self.chance = Random(seed)
        self._lived_s = 0.0
        self._loop = SimLoop()
        self.disk = SimDisk(self.chance, self.monotonic_s, forgets)
        self.store = Store()
        self.slow = Store()
        """Another process's, between any two calls, in some lives only: what one has got, the other will get."""
        self.acknowledged: list[str] = []
        self.sent = 0
        self.crashes = 0

    def now_us(self) -> int:
        return int(self.monotonic_s() * 1e6)

    def monotonic_s(self) -> float:
        return self._lived_s + self._loop.time()

    def run(self, lives: int) -> None:
        """All lives, each with its death; then a last one without trouble, at the end of which everything is told."""
        for _ in range(lives):
            self._trouble()
            if self.chance.random() < 0.5:
                self.disk.beside = lambda: self.slow.drain(self.disk, self.chance)
            try:
                recover(self.disk, SPOOL, self)
                self._live()
            except Stop:
                self.crashes += 1
            self.disk.restart(power_cut=self.chance.random() < 0.6)
        recover(self.disk, SPOOL, self)
        self.store.drain(self.disk, None)
        self.slow.drain(self.disk, None)
        assert self.disk.descriptors() == 0
        self._loop.close()

    def verdict(self) -> None:
        """Acknowledged is delivered, nothing is delivered twice, nothing was made up."""
        rows = self.store.rows
        assert len(set(rows)) == len(rows), "delivered twice"
        missing = set(self.acknowledged) - set(rows)
        assert not missing, f"acknowledged and lost: {sorted(missing)}"
        assert self.slow.of_incarnation == self.store.of_incarnation, "two readers were told different things"
        for name, rows in self.store.of_incarnation.items():
            last: dict[str, int] = {}  # each client sends one at a time
            for client, number in (row.split() for row in rows):
                assert int(number) > last.get(client, -1), f"{client} out of order in {name}"
                last[client] = int(number)

    def _trouble(self) -> None:
        chance = self.chance
        if chance.random() < 0.9:
            self.disk.stop_in = chance.choice([chance.randrange(40), chance.randrange(400), chance.randrange(2_000)])
        if chance.random() < 0.4:
            self.disk.fail = chance.choice([3, 20, 100])

    def _live(self) -> None:
        self._lived_s += self._loop.time()
        self._loop.close()
        self._loop = SimLoop()
        self._loop.run_until_complete(self._alive(self._loop))

    async def _alive(self, loop: SimLoop) -> None:
        settings = SpoolSettings(commit_interval_ms=self.chance.choice([0, 2]))
        appender = Appender(
            SPOOL, self.disk, self, settings, self.chance.randbytes,
            segment_size_bytes=SEGMENT_SIZE_BYTES, thread=Inline(),
        )  # fmt: skip
        try:
            appender.start()
        except OSError:
            pass
        clients = [loop.create_task(self._client(appender, number)) for number in range(self.chance.randint(1, 4))]
        committing, reading = loop.create_task(appender.run()), loop.create_task(self._read_along())
        served = loop.create_task(asyncio.wait(clients))
        tasks: list[asyncio.Task[Any]] = [committing, reading, served, *clients]
        await asyncio.wait([committing, reading, served], return_when=asyncio.FIRST_COMPLETED)
        if not self.disk.stopped:
            appender.close()
            await asyncio.wait([committing])
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):  # a mistake, whatever else happened
            if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError | Stop):
                raise ended
        if self.disk.stopped:
            raise Stop

    async def _client(self, appender: Appender, number: int) -> None:
        chance, client = self.chance, f"client-{self.crashes}-{number}-{self.sent}"
        for _ in range(chance.randrange(40)):
            row = f"{client} {self.sent}"
            self.sent += 1
            bodies = [a_frame_body([row.encode()])]
            try:
                await appender.append(bodies, self.now_us(), 0, {})
            except SpoolUnavailable:
                await asyncio.sleep(0.3)
            else:
                self.acknowledged.append(row)
            if chance.random() < 0.4:
                await asyncio.sleep(chance.random() * 0.01)

    async def _read_along(self) -> None:
        while True:
            await asyncio.sleep(self.chance.random() * 0.05)
            try:
                self.store.drain(self.disk, self.chance)
                if self.chance.random() < 0.4:
                    listed = sealed_segments(self.disk, SPOOL, self.monotonic_s())
                    positions = {"store": self.store.positions, "slow": self.slow.positions}
                    gone = removable(listed, positions, 0.02, 0)
                    remove(self.disk, SPOOL, gone)
                if self.chance.random() < 0.1:
                    recover(self.disk, SPOOL, self)
            except OSError:
                continue
