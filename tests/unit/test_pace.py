"""How large writes are, by what the store answers."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from storage import drain, feed, pace
from storage.memory import MemorySink, MemoryStore
from storage.pace import ANSWER_S, BEGIN_MAX_BYTES, SIZE_MIN_BYTES, Pace
from storage.sink import SinkUnavailable, Slice
from tests.spooled import Collector

MAX_BYTES = 8 * 1024 * 1024
PATIENCE_S = 10.0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, MAX_BYTES), st.floats(0, 1_000)), max_size=50))
def test_it_stays_within_its_bounds(answers: list[tuple[bool, int, float]]) -> None:
    one = Pace(MAX_BYTES)
    for done, size_bytes, took_s in answers:
        before_bytes = one.size_bytes
        one.answered(size_bytes, took_s) if done else one.failed(took_s)
        assert SIZE_MIN_BYTES <= one.size_bytes <= MAX_BYTES
        assert one.size_bytes <= before_bytes or (done and took_s < ANSWER_S)


@given(st.floats(min_value=100_000, max_value=1e9), st.sampled_from([ANSWER_S, 5.0]))
def test_a_store_of_any_speed_is_asked_for_as_much_as_it_does_in_about_its_time(
    bytes_per_s: float, answer_s: float
) -> None:
    one = Pace(MAX_BYTES, answer_s)
    for _ in range(20):
        one.answered(one.size_bytes, one.size_bytes / bytes_per_s)
    took_s = one.size_bytes / bytes_per_s
    assert took_s <= answer_s or one.size_bytes == SIZE_MIN_BYTES
    assert took_s >= answer_s / 5 or one.size_bytes == MAX_BYTES


def test_a_store_that_is_well_again_gets_full_writes_again() -> None:
    one = Pace(MAX_BYTES)
    for _ in range(5):
        one.failed(25.0)
    assert one.size_bytes == SIZE_MIN_BYTES
    one.answered(1_000, 0.01)
    assert one.size_bytes == SIZE_MIN_BYTES, "a small write says nothing about large ones"
    for _ in range(7):
        one.answered(one.size_bytes, 0.1)
    assert one.size_bytes == MAX_BYTES


def test_a_failure_at_once_says_nothing_about_the_size() -> None:
    one = Pace(MAX_BYTES)
    one.failed(0.01)
    assert one.size_bytes == BEGIN_MAX_BYTES


def test_the_first_write_is_small_and_the_next_are_larger_where_it_was_quick() -> None:
    one = Pace(MAX_BYTES)
    assert one.size_bytes == BEGIN_MAX_BYTES < MAX_BYTES
    one.answered(one.size_bytes, 0.1)
    assert one.size_bytes == MAX_BYTES
    assert Pace(1_000).size_bytes == 1_000


class SlowStore(MemorySink):
    """Takes a second for `size_bytes`; what takes longer than the driver waits is never done."""

    def __init__(self, store: MemoryStore, clock: "Hurried", size_bytes: int, wait_s: float) -> None:
        super().__init__(store)
        self.clock, self.size_bytes, self.wait_s = clock, size_bytes, wait_s
        self.given_up = 0

    async def write(self, slices: Sequence[Slice]) -> None:
        takes_s = sum(one.size_bytes for one in slices) / self.size_bytes
        self.clock.ahead_s += min(takes_s, self.wait_s)
        if takes_s > self.wait_s:
            self.given_up += 1
            raise SinkUnavailable("no answer")
        await super().write(slices)


class Hurried(SystemClock):
    """A clock that a store's slowness moves, instead of anybody waiting."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


def test_what_a_slow_store_could_never_write_at_once_arrives_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "SHARE_MIN_BYTES", 500)
    monkeypatch.setattr(pace, "SIZE_MIN_BYTES", 500)

    async def scenario() -> None:
        store, collector, stop = MemoryStore(), Collector(tmp_path).append(200), asyncio.Event()
        clock = Hurried()
        sink = SlowStore(store, clock, size_bytes=2_000, wait_s=25.0)
        running = asyncio.create_task(
            drain.run(
                sink, tmp_path, batch_max_bytes=1 << 20, batch_interval_ms=0, clock=clock, disk=FileDisk(),
                stop=stop, chance=lambda: 0.1,
            )
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE_S):
            while store.positions.get(collector.name) != 200:
                await asyncio.sleep(0.005)
        stop.set()
        await running
        assert sink.given_up > 0, "at first it was too much"
        assert store.rows.keys() == collector.keys
        assert store.duplicates == 0

    asyncio.run(scenario())
