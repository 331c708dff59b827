"""What a drain says of its lag while it keeps up, and while it does not."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from ingest.clock import SystemClock
from storage.memory import MemorySink, MemoryStore
from storage.sink import Slice
from tests.spooled import Collector
from tests.unit.test_drain import draining, impatient, run, status_of, until

__all__ = ["impatient"]


class Set(SystemClock):
    """Is set on by hand."""

    ahead_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us


def test_steady_traffic_is_no_lag_though_there_is_always_something_to_deliver(tmp_path: Path) -> None:
    clock = Set()

    async def scenario() -> None:
        store, collector, writes = MemoryStore(), Collector(tmp_path), 0
        collector.append(1)

        class Busy(MemorySink):
            async def write(self, slices: Sequence[Slice]) -> None:
                nonlocal writes
                await super().write(slices)
                writes += 1
                clock.ahead_us += 1_000_000
                collector.append(1)  # the next one is there before this one is delivered

        seen_s: list[float] = []
        async with draining(tmp_path, Busy(store), clock=clock, batch_interval_ms=60):
            while writes < 15:
                at_us = status_of(tmp_path).at_us
                await until(lambda at_us=at_us: status_of(tmp_path).at_us > at_us)  # type: ignore[misc]
                seen_s.append(status_of(tmp_path).lag_s)
        assert 0 < max(seen_s) < 4, "a second a batch, by this clock"

    run(scenario())


def test_what_is_left_of_a_backlog_is_as_old_as_it_is_also_while_the_drain_rests(tmp_path: Path) -> None:
    clock = Set()

    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path)
        collector.append(60)
        clock.ahead_us = 3_600_000_000

        class Slow(MemorySink):
            async def write(self, slices: Sequence[Slice]) -> None:
                await super().write(slices)
                await asyncio.sleep(0.05)

        seen_s: list[float] = []
        async with draining(tmp_path, Slow(store), clock=clock, batch_max_bytes=600, share_max=0.1):
            while len(seen_s) < 5:
                at_us = status_of(tmp_path).at_us
                await until(lambda at_us=at_us: status_of(tmp_path).at_us > at_us)  # type: ignore[misc]
                if status_of(tmp_path).lag_frames and status_of(tmp_path).last_success_us:
                    seen_s.append(status_of(tmp_path).lag_s)
        assert min(seen_s) > 3_590

    run(scenario())


def test_a_drain_with_a_share_rests_for_as_long_as_that_asks_for(tmp_path: Path) -> None:
    """A rest may be longer than it has to be, on a busy machine, and never shorter."""

    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path)
        collector.append(60)
        spans_s: list[tuple[float, float]] = []

        class Timed(MemorySink):
            async def write(self, slices: Sequence[Slice]) -> None:
                begun_s = time.monotonic()
                await super().write(slices)
                await asyncio.sleep(0.02)
                spans_s.append((begun_s, time.monotonic()))

        async with draining(tmp_path, Timed(store), batch_max_bytes=600, share_max=0.25):
            await until(lambda: len(spans_s) >= 4)
        rests_s = [later[0] - earlier[1] for earlier, later in itertools.pairwise(spans_s[:4])]
        assert all(rest_s > 2.9 * (span_s[1] - span_s[0]) for rest_s, span_s in zip(rests_s, spans_s, strict=False)), (
            spans_s,
            rests_s,
        )

    run(scenario())


def test_a_drain_that_begins_while_the_store_is_away_lacks_what_the_last_one_lacked(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path).append(3)
        async with draining(tmp_path, MemorySink(store)):
            await until(lambda: status_of(tmp_path).positions.get(collector.name) == 3)
            store.available = False
            collector.append(5)
            await until(lambda: status_of(tmp_path).lag_frames == 5)
        collector.append(2)
        async with draining(tmp_path, MemorySink(store)):
            at_us = status_of(tmp_path).at_us
            await until(lambda: status_of(tmp_path).at_us > at_us and status_of(tmp_path).reason != "stopped")
            assert status_of(tmp_path).lag_frames == 7
            assert status_of(tmp_path).positions == {}, "the store has not said them"
            later = Collector(tmp_path).append(1)
            store.available = True
            await until(lambda: status_of(tmp_path).positions.get(later.name) == 1)
            assert status_of(tmp_path).lag_frames == 0

    run(scenario())
