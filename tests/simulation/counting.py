"""A counter store and its sink: position and counts move in one step, or neither; it may lose its last moments."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from storage.redis.entry import POSITION, VIEW
from storage.redis.gap import first_gap
from storage.redis.sign import Batch, batches
from storage.sink import SinkFenced, SinkLost, SinkUnavailable, Slice
from tests.simulation.process import Process

MEMORY_US = 100 * 1_000_000
REMEMBERED = 50
"""Moments it can go back by."""


@dataclass(frozen=True)
class Counts:
    """Everything it holds."""

    registration: int | None = None
    positions: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    signals: int = 0
    views: dict[bytes, int] = field(default_factory=dict)
    """Session and content → hour of the earliest play."""


class CounterStore:
    """The server. `breaks`: `compare`: positions move wherever they are; the worlds must notice."""

    def __init__(self, chance: Random, breaks: frozenset[str]) -> None:
        self.chance = chance
        self.breaks = breaks
        self.up = True
        self.fails = 0
        """Of 1,000 calls: how many are without an answer, whether they were done or not."""
        self.counts = Counts()
        self._before: list[Counts] = []
        self._registrations = 0

    def register(self) -> int:
        """Its registration, made if there is none."""
        if self.counts.registration is None:
            self._registrations += 1
            self._become(Counts(self._registrations))
        assert self.counts.registration is not None
        return self.counts.registration

    def go_back(self, moments: int) -> None:
        """It was killed, and its last writes were not on disk."""
        for _ in range(min(moments, len(self._before))):
            self.counts = self._before.pop()

    def come_back_empty(self) -> None:
        self._become(Counts())

    def apply(self, registration: int, batch: Batch) -> None:
        """One script call. Raises SinkFenced; then nothing was done."""
        counts = self.counts
        if counts.registration != registration:
            raise SinkFenced("another registration")
        positions = dict(counts.positions)
        for name, before, behind in POSITION.iter_unpack(batch.positions):
            if positions.get(name.decode(), 0) != before and "compare" not in self.breaks:
                raise SinkFenced(name.decode())
            positions[name.decode()] = int(behind)
        views = dict(counts.views)
        for key, hour in VIEW.iter_unpack(batch.views):
            views[key] = min(hour, views.get(key, hour))
        self._become(Counts(registration, positions, counts.rows + batch.rows, counts.signals + batch.signals, views))

    def _become(self, counts: Counts) -> None:
        self._before = [*self._before[-REMEMBERED:], self.counts]
        self.counts = counts


class CounterSink:
    """An EventSink on it, as storage.redis.counters is one on Redis."""

    reader = "redis"

    def __init__(self, store: CounterStore, process: Process, spool: Path, now_us: Callable[[], int]) -> None:
        self._store = store
        self._process = process
        self._spool = spool
        self._now_us = now_us
        self._registration: int | None = None

    async def open(self) -> dict[str, int]:
        """Raises SinkUnavailable, SinkLost."""
        await self._travel()
        counts = self._store.counts
        gap = first_gap(self._process.disk, self._spool, counts.positions if counts.registration is not None else {})
        if gap is not None:
            raise SinkLost(f"rebuild_needed: {gap}")
        self._registration = self._store.register()
        return dict(self._store.counts.positions)

    async def write(self, slices: Sequence[Slice]) -> None:
        """Raises SinkUnavailable, SinkFenced."""
        if self._registration is None:
            raise SinkUnavailable("not open")
        for batch in batches(slices, self._now_us(), MEMORY_US):
            await self._travel()
            self._store.apply(self._registration, batch)
            await self._travel()
        if not slices and self._store.counts.registration != self._registration:
            raise SinkUnavailable("the registration is gone")

    async def close(self) -> None:
        self._registration = None

    async def _travel(self) -> None:
        store, luck = self._store, self._store.chance.random()
        if luck < 0.2:
            await asyncio.sleep(luck / 50)
        await self._process.not_paused()
        if not store.up or (store.fails and store.chance.randrange(1_000) < store.fails):
            raise SinkUnavailable("no answer")
