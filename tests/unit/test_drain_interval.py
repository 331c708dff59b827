"""How far apart a drain's transactions are that are not full."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingest.batch import FrameBody
from ingest.clock import SystemClock
from ingest.spool.incarnation import Group
from storage.memory import MemorySink, MemoryStore
from storage.sink import Slice
from tests.ads import ads_frame, an_ad
from tests.spooled import Collector, a_frame_of, rows_of
from tests.unit.test_drain import draining, run, until

INTERVAL_S = 0.15


class Noting(MemorySink):
    """Keeps nothing but how often it was written to."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.store = store
        self.writes = 0

    async def write(self, slices: Sequence[Slice]) -> None:
        self.writes += bool(slices)
        for one in slices:
            self.store.positions[one.incarnation] = one.state.sequence


def put(collector: Collector, body: FrameBody) -> None:
    group = Group()
    group.chunks.append(collector.incarnation.encode(body, SystemClock().now_us()))
    group.after = collector.incarnation.state()
    collector.incarnation.commit(group)


@pytest.mark.parametrize(
    ("body", "intervals_ms"),
    [(a_frame_of(rows_of(3)), (150, 0)), (ads_frame([an_ad()]), (0, 150)), (ads_frame([an_ad()]), (150, 0))],
    ids=["rows", "ads", "ads, which are no sooner than rows"],
)
def test_transactions_that_are_not_full_are_an_interval_apart(
    tmp_path: Path, body: FrameBody, intervals_ms: tuple[int, int]
) -> None:
    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path)
        sink = Noting(store)
        interval_ms, ad_interval_ms = intervals_ms
        began_s = asyncio.get_running_loop().time()
        async with draining(tmp_path, sink, batch_interval_ms=interval_ms, ad_batch_interval_ms=ad_interval_ms):
            for _ in range(60):
                put(collector, body)
                await asyncio.sleep(0.005)
            await until(lambda: store.positions.get(collector.name) == 60)
        took_s = asyncio.get_running_loop().time() - began_s
        assert 1 < sink.writes <= 1 + took_s / INTERVAL_S

    run(scenario())


def test_rows_do_not_wait_as_long_as_ads(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, collector = MemoryStore(), Collector(tmp_path)
        sink = Noting(store)
        async with draining(tmp_path, sink, batch_interval_ms=0, ad_batch_interval_ms=60_000):
            for _ in range(3):
                put(collector, a_frame_of(rows_of(3)))
                await until(lambda: store.positions.get(collector.name) == collector.sequence)

    run(scenario())
