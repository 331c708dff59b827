"""How a drain ends: at once, or with everything that is on disk, as there is time and a store; and whose turn it is."""

import asyncio
import fcntl
from pathlib import Path

from gateway.draining import turn
from gateway.layout import DataDir
from gateway.notice import Notice
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from storage import drain
from storage.memory import MemorySink, MemoryStore
from storage.sink import SinkUnavailable
from tests.spooled import Collector

PATIENCE_S = 10.0


class SlowSink(MemorySink):
    """Asks for the end during its first write; a batch at a time. Fails in write number `fails`."""

    def __init__(self, store: MemoryStore, stop: asyncio.Event, fails: int = 0) -> None:
        super().__init__(store)
        self.writes = 0
        self._stop, self._fails = stop, fails

    async def write(self, slices):
        self.writes += 1
        self._stop.set()
        await asyncio.sleep(0)
        if self.writes == self._fails:
            raise SinkUnavailable
        await super().write(slices)


def ended(data_dir: Path, finishing, fails: int = 0) -> SlowSink:
    """The sink of a drain that was asked to stop in its first write of many."""

    async def main() -> SlowSink:
        stop = asyncio.Event()
        sink = SlowSink(MemoryStore(), stop, fails)
        delivering = drain.run(
            sink, data_dir, batch_max_bytes=1, batch_interval_ms=0, clock=SystemClock(), disk=FileDisk(), stop=stop,
            finishing=finishing,
        )  # fmt: skip
        await asyncio.wait_for(delivering, PATIENCE_S)
        return sink

    return asyncio.run(main())


def a_backlog(data_dir: Path) -> int:
    """Of several incarnations, in bites of 64 KiB; rows."""
    return sum(len(Collector(data_dir).append(frames=40, rows=30).end().keys) for _ in range(3))


def test_told_to_stop_it_ends_behind_the_write_under_way(tmp_path):
    rows = a_backlog(tmp_path)
    sink = ended(tmp_path, lambda: False)
    assert sink.writes == 1
    assert 0 < len(sink.store.rows) < rows


def test_with_time_to_finish_it_delivers_what_is_on_disk_and_ends_by_itself(tmp_path):
    rows = a_backlog(tmp_path)
    sink = ended(tmp_path, lambda: True)
    assert sink.writes > 3
    assert len(sink.store.rows) == rows


class CountingAnew(MemorySink):
    """Asks for the end while it is opened, and then takes its time."""

    def __init__(self, store: MemoryStore, stop: asyncio.Event, takes_s: float) -> None:
        super().__init__(store)
        self._stop, self._takes_s = stop, takes_s
        self.opened = self.broken_off = False

    async def open(self):
        self._stop.set()
        try:
            await asyncio.sleep(self._takes_s)
        except asyncio.CancelledError:
            self.broken_off = True
            raise
        self.opened = True
        return await super().open()


def opened(data_dir: Path, takes_s: float, derivable: bool) -> CountingAnew:
    """The sink of a drain that was asked to stop while it opened its store."""

    async def main() -> CountingAnew:
        stop = asyncio.Event()
        sink = CountingAnew(MemoryStore(), stop, takes_s)
        delivering = drain.run(
            sink, data_dir, batch_max_bytes=1, batch_interval_ms=0, clock=SystemClock(), disk=FileDisk(), stop=stop,
            finishing=lambda: True, derivable=derivable,
        )  # fmt: skip
        await asyncio.wait_for(delivering, PATIENCE_S)
        return sink

    return asyncio.run(main())


def test_a_derivable_store_that_is_counted_anew_is_broken_off_when_told_to_stop(tmp_path):
    a_backlog(tmp_path)
    sink = opened(tmp_path, 10 * PATIENCE_S, derivable=True)
    assert sink.broken_off and not sink.store.rows


def test_a_required_store_that_opens_late_is_still_given_what_is_on_disk(tmp_path):
    rows = a_backlog(tmp_path)
    assert len(opened(tmp_path, 0.1, derivable=False).store.rows) == rows


def test_what_came_to_the_spool_after_its_last_look_is_delivered_too(tmp_path):
    class LateSink(SlowSink):
        async def write(self, slices):
            if not self.writes:
                late.append(Collector(tmp_path).append(2).end())
            await super().write(slices)

    late: list[Collector] = []
    Collector(tmp_path).append().end()

    async def main():
        stop = asyncio.Event()
        sink = LateSink(MemoryStore(), stop)
        await asyncio.wait_for(
            drain.run(sink, tmp_path, batch_max_bytes=1 << 20, batch_interval_ms=0, clock=SystemClock(),
                      disk=FileDisk(), stop=stop, finishing=lambda: True), PATIENCE_S)  # fmt: skip
        assert late[0].keys <= sink.store.rows.keys()

    asyncio.run(main())


def test_finishing_ends_when_the_time_is_up_and_when_the_store_fails(tmp_path):
    a_backlog(tmp_path)
    asked = iter([True, True, False])
    assert ended(tmp_path, lambda: next(asked, False)).writes < 5
    assert ended(tmp_path, lambda: True, fails=2).writes == 2


def test_a_drain_waits_for_the_one_it_replaces_but_not_for_ever(tmp_path):
    data = DataDir(tmp_path)
    data.make()

    async def main():
        notice = Notice()
        await asyncio.wait_for(turn(data, "postgres", notice), PATIENCE_S)  # nobody is there; it holds it from now on
        await asyncio.wait_for(turn(data, "redis", notice), PATIENCE_S)
        second = asyncio.create_task(turn(data, "postgres", notice))
        await asyncio.sleep(0.2)
        assert not second.done()
        await asyncio.wait_for(turn(data, "postgres", notice, patience_s=0.1), PATIENCE_S)
        notice.given.set()  # it is told to go before its turn came
        await asyncio.wait_for(second, PATIENCE_S)

    asyncio.run(main())
    with open(data.run / "postgres.lock", "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        raise AssertionError("the lock was let go before its process ended")


def test_only_a_first_word_of_the_end_leaves_time_to_finish():
    notice = Notice()
    assert notice.may_finish()
    notice.terminated.set()
    assert notice.may_finish()
    notice.insisted.set()
    assert not notice.may_finish()
    replaced = Notice()
    replaced.replaced.set()
    assert not replaced.may_finish(), "its successor waits"
