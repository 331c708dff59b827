"""The drain over a real spool and a store in memory: everything once, whatever happens to the store."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingest.clock import SystemClock
from ingest.spool import ending
from ingest.spool.disk import FileDisk
from ingest.spool.ending import Ending
from ingest.spool.frame import Totals
from ingest.tuple import event_key
from storage import drain, feed, reader_status
from storage.feed import Feed, SpoolRefused
from storage.memory import MemorySink, MemoryStore
from storage.reader_status import ReaderStatus
from storage.sink import SinkUnavailable, Slice
from tests.spooled import Collector

DISK = FileDisk()
CLOCK = SystemClock()
PATIENCE_S = 10.0


@asynccontextmanager
async def draining(
    data_dir: Path, sink: MemorySink, disk: FileDisk = DISK, **changes: Any
) -> AsyncIterator[asyncio.Event]:
    """A drain for the length of a block; it is stopped at the end, and has to end well."""
    stop = asyncio.Event()
    defaults = {"batch_max_bytes": 1 << 20, "batch_interval_ms": 0, "chance": lambda: 0.1, "clock": CLOCK}
    settings: dict[str, Any] = defaults | changes
    running = asyncio.create_task(drain.run(sink, data_dir, disk=disk, stop=stop, **settings))
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(running, PATIENCE_S)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


def run(scenario: Awaitable[None]) -> None:
    async def main() -> None:
        await scenario

    asyncio.run(main())


def status_of(data_dir: Path) -> ReaderStatus:
    unwritten = ReaderStatus("memory", "waiting", "", 0, 0, {})
    return reader_status.read(data_dir, "memory") or unwritten


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "RED_RETRY_S", 0.05)
    monkeypatch.setattr(drain, "STATUS_S", 0.02)
    monkeypatch.setattr(feed, "SHARE_MIN_BYTES", 500)


def test_every_incarnation_is_delivered_also_one_that_begins_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        ended, living = Collector(tmp_path).append(3).end(), Collector(tmp_path).append(2)
        async with draining(tmp_path, MemorySink(store)):
            await until(lambda: len(store.rows) == 15)
            later = Collector(tmp_path).append(4)
            living.append(1)
            await until(lambda: len(store.rows) == 30)
        assert store.rows.keys() == ended.keys | living.keys | later.keys
        assert store.positions == {one.name: one.sequence for one in (ended, living, later)}
        assert store.duplicates == 0

    run(scenario())


def test_a_drain_that_starts_again_goes_on_where_the_store_says(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path, segment_size_bytes=2_000)
        for size in (5, 7, 1, 20):
            for _ in range(size):
                collector.append()
            async with draining(tmp_path, MemorySink(store), batch_max_bytes=1_500):
                await until(lambda: store.positions.get(collector.name) == collector.sequence)
        assert store.rows.keys() == collector.keys
        assert store.duplicates == 0

    run(scenario())


class Moody(MemorySink):
    """Fails where it is told to: before a write, or after it, when the drain cannot know what became of it."""

    def __init__(self, store: MemoryStore, moods: Sequence[str]) -> None:
        super().__init__(store)
        self.moods = list(moods)
        self.writes = 0

    async def write(self, slices: Sequence[Slice]) -> None:
        self.writes += 1
        mood = self.moods.pop(0) if self.moods else ""
        if mood == "before":
            raise SinkUnavailable
        await super().write(slices)
        if mood == "after":
            raise SinkUnavailable


@pytest.mark.parametrize("mood", ["before", "after"])
def test_whatever_became_of_a_write_each_event_is_stored_once(tmp_path: Path, mood: str) -> None:
    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path).append(20)
        sink = Moody(store, [mood, "", mood, mood])
        async with draining(tmp_path, sink, batch_max_bytes=2_000):
            await until(lambda: store.positions.get(collector.name) == 20)
        assert store.rows.keys() == collector.keys
        assert store.duplicates == 0
        assert sink.writes > 4

    run(scenario())


def test_a_store_that_is_away_is_only_lag(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path).append(2)
        async with draining(tmp_path, MemorySink(store)):
            await until(lambda: store.positions.get(collector.name) == 2)
            store.available = False
            collector.append(5)
            await until(lambda: status_of(tmp_path).state == "waiting" and status_of(tmp_path).lag_frames == 5)
            assert "memory is away" in status_of(tmp_path).reason
            first_s = status_of(tmp_path).lag_s
            await until(lambda: status_of(tmp_path).lag_s > first_s + 0.05)
            store.available = True
            await until(lambda: store.positions.get(collector.name) == 7)
            await until(lambda: status_of(tmp_path).state == "running" and status_of(tmp_path).lag_frames == 0)
            assert status_of(tmp_path).last_error
            assert status_of(tmp_path).lag_s == 0

    run(scenario())


def test_two_drains_on_one_store_do_each_others_work_at_most_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path)
        async with draining(tmp_path, MemorySink(store)), draining(tmp_path, MemorySink(store)):
            for _ in range(30):
                collector.append()
                await asyncio.sleep(0.005)
            await until(lambda: store.positions.get(collector.name) == 30)
        assert store.rows.keys() == collector.keys
        assert store.duplicates == 0

    run(scenario())


def test_a_store_that_was_put_back_empty_is_red_and_gets_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        store.registered = False
        collector = Collector(tmp_path).append()
        async with draining(tmp_path, MemorySink(store)):
            await until(lambda: status_of(tmp_path).state == "red")
            assert "registration" in status_of(tmp_path).reason
            assert store.rows == {}
            store.registered = True  # an engineer has decided
            await until(lambda: store.rows.keys() == collector.keys)
            await until(lambda: status_of(tmp_path).state == "running")

    run(scenario())


@pytest.mark.parametrize("derivable, state", [(False, "red"), (True, "rebuild_needed")])
def test_a_store_behind_what_the_spool_holds_is_never_started_at_the_head(
    tmp_path: Path, derivable: bool, state: str
) -> None:
    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path, segment_size_bytes=1_000)
        for _ in range(8):
            collector.append()
        (tmp_path / "spool" / collector.name / "0000000000000000.sealed").unlink()
        async with draining(tmp_path, MemorySink(store), derivable=derivable):
            await until(lambda: status_of(tmp_path).state == state)
            await asyncio.sleep(0.1)
        assert store.rows == {}
        assert store.positions == {}

    run(scenario())


def bury(data_dir: Path, sequence: int) -> str:
    name, graves = os.urandom(16).hex(), data_dir / "spool" / ending.TOMBSTONES
    graves.mkdir(parents=True, exist_ok=True)
    ending.write_ending(DISK, graves / name, Ending(sequence, Totals(sequence, sequence), {}, (), 0))
    return name


def test_a_tombstone_above_the_position_is_red(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        name = bury(tmp_path, 5)
        store.positions[name] = 4
        Collector(tmp_path).append()
        async with draining(tmp_path, MemorySink(store)):
            await until(lambda: status_of(tmp_path).state == "red")
            assert name in status_of(tmp_path).reason
            assert store.rows == {}
            store.positions[name] = 5
            await until(lambda: store.rows)

    run(scenario())


def bury_damaged(data_dir: Path) -> str:
    grave = data_dir / "spool" / ending.TOMBSTONES / bury(data_dir, 5)
    grave.write_bytes(b"\0" * grave.stat().st_size)
    return grave.name


def test_a_damaged_tombstone_without_a_position_is_red_and_not_believed(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, name = MemoryStore(), bury_damaged(tmp_path)
        async with draining(tmp_path, MemorySink(store)):
            await until(lambda: status_of(tmp_path).state == "red")
            assert name in status_of(tmp_path).reason

    run(scenario())


def test_a_damaged_tombstone_of_an_incarnation_that_the_store_knows_is_logged_once_and_passed_over(
    tmp_path: Path,
) -> None:
    name, spool = bury_damaged(tmp_path), Feed(tmp_path, DISK)
    with capture_logs() as logged:
        for _ in range(2):
            spool.seat({name: 3})
            spool.refresh()
            spool.refresh()
    assert [(entry["event"], entry["incarnation"]) for entry in logged] == [("tombstone_damaged", name)]
    for nothing_read in ({}, {name: 0}):
        spool.seat(nothing_read)
        with pytest.raises(SpoolRefused, match=name):
            spool.refresh()


def test_a_tombstone_without_a_position_is_red_unless_nothing_was_in_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        bury(tmp_path, 0)
        Collector(tmp_path).append()
        async with draining(tmp_path, MemorySink(store)):
            await until(lambda: store.rows)
            bury(tmp_path, 1)  # while it runs
            await until(lambda: status_of(tmp_path).state == "red")

    run(scenario())


class Slow(MemorySink):
    """A write takes its time."""

    begun = False

    async def write(self, slices: Sequence[Slice]) -> None:
        self.begun = True
        await asyncio.sleep(0.2)
        await super().write(slices)


def test_the_write_under_way_is_finished_before_a_stop(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path).append()
        sink = Slow(store)
        async with draining(tmp_path, sink) as stop:
            await until(lambda: sink.begun)
            stop.set()
            collector.append()
        assert store.positions == {collector.name: 1}
        assert status_of(tmp_path).positions == {collector.name: 1}

    run(scenario())


def test_a_backlog_of_one_incarnation_does_not_keep_another_waiting(tmp_path: Path) -> None:
    large, small = [Collector(tmp_path).append(200) for _ in range(3)], Collector(tmp_path).append(1)
    spool = Feed(tmp_path, DISK)
    spool.seat({})
    spool.refresh()
    for _ in range(4):
        slices = {one.incarnation: one for one in spool.read(40_000)}
        assert all(0 < len(slices[one.name].frames) < 60 for one in large)
        spool.delivered(list(slices.values()))
        assert spool.positions[small.name] == 1
    assert spool.lag().frames == 600 - sum(spool.positions[one.name] for one in large)
    assert spool.lag().size_bytes > 0
    spool.close()


def test_a_last_segment_damaged_from_its_first_byte_on_holds_nothing_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path, segment_size_bytes=1_000)
        collector.append().append().append().end()
        first, last = sorted((tmp_path / "spool" / collector.name).glob("*.sealed"))[-2:]
        first.unlink()  # delivered, and removed
        last.write_bytes(bytes(last.stat().st_size))
        store.positions[collector.name] = begin = int(last.stem, 16)
        assert 0 < begin < collector.sequence
        async with draining(tmp_path, MemorySink(store)):
            await until(lambda: store.positions[collector.name] == collector.sequence)
        assert [path.read_bytes() for path in (tmp_path / "quarantine").iterdir()] == [last.read_bytes()]

    run(scenario())


def test_the_lag_of_an_incarnation_whose_segments_were_removed_under_its_reader_is_no_error(tmp_path: Path) -> None:
    collector, spool = Collector(tmp_path).append(3), Feed(tmp_path, DISK)
    spool.seat({})
    spool.refresh()
    for path in (tmp_path / "spool" / collector.name).glob("*.open"):
        path.unlink()
    assert spool.lag() == (3, 0)
    spool.close()


def test_an_idle_drain_notices_that_its_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "PROBE_S", 0.05)

    async def scenario() -> None:
        store = MemoryStore()
        async with draining(tmp_path, MemorySink(store)):
            await until(lambda: status_of(tmp_path).state == "running")
            store.available = False
            await until(lambda: status_of(tmp_path).state == "waiting")
            store.available = True
            await until(lambda: status_of(tmp_path).state == "running")

    run(scenario())


def test_a_batch_is_bounded_and_readers_of_finished_incarnations_are_let_go(tmp_path: Path) -> None:
    collectors = [Collector(tmp_path).append(50).end() for _ in range(3)]
    spool = Feed(tmp_path, DISK)
    spool.seat({})
    spool.refresh()
    keys: list[bytes] = []
    while slices := spool.read(200_000):
        assert sum(len(frame.rows) for one in slices for frame in one.frames) < 250_000
        for one in slices:
            assert one.begin == spool.positions.get(one.incarnation, 0)
            keys += [event_key(row) for frame in one.frames for row in frame.tuples()]
        spool.delivered(slices)
    assert len(keys) == len(set(keys))
    assert set(keys) == set().union(*(one.keys for one in collectors))
    spool.refresh()
    assert spool._readers == {}
    assert spool.lag() == (0, 0)
