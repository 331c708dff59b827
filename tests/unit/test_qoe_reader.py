"""The reader of quality of experience over a real spool: restarts, kills, damage, and what the spool has let go."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from ingest.spool.retention import removable, remove, sealed_segments
from storage import drain, reader_status
from storage.qoe.beginning import beginnings
from storage.qoe.reader import Quality
from storage.qoe.state import StateFile
from storage.reader_status import ReaderStatus
from tests.qoe import BEGIN, a_fold, a_sign
from tests.qoe import group_of as group_of_fold
from tests.qoe_spool import CLOCK, DISK, SECOND, a_sink, play, read_on
from tests.spooled import Collector

PATIENCE_S = 20.0


async def read_all(sink: Quality, data_dir: Path) -> ReaderStatus:
    """Until there is nothing left to read; what its drain said last."""
    stop = asyncio.Event()
    running = asyncio.create_task(
        drain.run(
            sink, data_dir, batch_max_bytes=1 << 16, batch_interval_ms=0, clock=CLOCK, disk=DISK, stop=stop,
            finishing=lambda: True, derivable=True,
        )
    )  # fmt: skip
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, PATIENCE_S)
    status = reader_status.read(data_dir, "qoe")
    assert status is not None
    return status


def group_of(sink: Quality):
    found = sink.figures(None, 60, 1)
    assert found is not None
    return found[0].groups[0]


def test_a_restart_goes_on_where_it_was_and_reads_nothing_twice(tmp_path):
    chance, begun_us = random.Random(1), CLOCK.now_us() - 60 * SECOND
    collector = Collector(tmp_path)
    play(collector, 30, begun_us, chance)
    first = a_sink(tmp_path)
    assert asyncio.run(read_all(first, tmp_path)).delivered_events == 90
    play(collector, 12, begun_us, chance)
    second = a_sink(tmp_path)
    assert asyncio.run(read_all(second, tmp_path)).delivered_events == 36
    group = group_of(second)
    assert (group.sessions, group.starts, group.stalls, group.watched_s) == (42, 42, 42, 42 * 20)
    assert (group.stalled_share, group.delivery_loss_share) == (0.1, 0)
    found = second.figures("cdn_edge", 60, 100)
    assert found is not None
    assert {one.cdn_edge for one in found[0].groups} == {"edge-0", "edge-1", "edge-2"}


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_time_it_comes_to_the_same_figures(tmp_path, seed):
    chance, begun_us = random.Random(seed), CLOCK.now_us() - 60 * SECOND
    collector = Collector(tmp_path)

    async def lives() -> Quality:
        sink = a_sink(tmp_path)
        for _ in range(12):
            play(collector, chance.randrange(1, 20), begun_us, chance)
            await read_on(sink, tmp_path)
            if chance.random() < 0.4:
                sink = a_sink(tmp_path)  # killed, whatever was written last
            elif chance.random() < 0.3:
                await sink.close()
        await read_on(sink, tmp_path)
        return sink

    killed = asyncio.run(lives())
    undisturbed = a_sink(tmp_path / "another")
    (tmp_path / "another").mkdir()
    os.symlink(tmp_path / "spool", tmp_path / "another" / "spool")
    asyncio.run(read_on(undisturbed, tmp_path / "another"))
    assert group_of(killed) == group_of(undisturbed)
    assert group_of(killed).sessions == collector.sequence


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_without_its_file_it_goes_on_with_what_is_there(tmp_path, damage):
    collector = Collector(tmp_path)
    play(collector, 5, CLOCK.now_us() - 60 * SECOND, random.Random(3))
    asyncio.run(read_all(a_sink(tmp_path), tmp_path))
    path = tmp_path / "qoe" / "state"
    if damage is None:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(damage)
    again = a_sink(tmp_path)
    assert asyncio.run(read_all(again, tmp_path)).delivered_events == 15
    assert group_of(again).sessions == 5


def test_what_the_spool_has_let_go_makes_windows_shorter_and_stops_nobody(tmp_path):
    collector, chance = Collector(tmp_path, segment_size_bytes=4_096), random.Random(4)
    begun_us = CLOCK.now_us() - 60 * SECOND
    play(collector, 5, begun_us, chance)
    asyncio.run(read_all(a_sink(tmp_path), tmp_path))
    for _ in range(20):
        play(collector, 5, begun_us, chance)
    segments = sealed_segments(DISK, tmp_path / "spool", CLOCK.now_us() / 1e6)
    delivered = {"postgres": {collector.name: collector.sequence}}
    remove(DISK, tmp_path / "spool", removable(segments, delivered, 0, 0)[:-1])
    before_us = CLOCK.now_us()
    sink = a_sink(tmp_path)
    assert asyncio.run(read_all(sink, tmp_path)).state == "waiting"  # stopped, and neither red nor lost
    found = sink.figures(None, 60, 1)
    assert found is not None
    assert found[0].since_us >= before_us
    assert 5 < found[0].groups[0].sessions < 105


def test_an_incarnation_that_was_buried_unread_is_no_loss(tmp_path):
    collector = Collector(tmp_path)
    play(collector, 5, CLOCK.now_us() - 60 * SECOND, random.Random(5))
    collector.end()
    segments = sealed_segments(DISK, tmp_path / "spool", CLOCK.now_us() / 1e6)
    remove(DISK, tmp_path / "spool", segments)
    assert asyncio.run(read_all(a_sink(tmp_path), tmp_path)).state == "waiting"
    assert beginnings(DISK, tmp_path / "spool", {}, 0) == ({collector.name: collector.sequence}, False)
    assert beginnings(DISK, tmp_path / "spool", {collector.name: 2}, 0) == ({collector.name: collector.sequence}, True)


def test_of_what_was_never_read_the_last_quarter_of_an_hour_is(tmp_path):
    collector, chance = Collector(tmp_path, segment_size_bytes=4_096), random.Random(6)
    for _ in range(20):
        play(collector, 5, CLOCK.now_us() - 60 * SECOND, chance)
    files = sorted((tmp_path / "spool" / collector.name).glob("*.sealed"))
    for file in files[:-2]:
        os.utime(file, (1, 1))
    positions, lacks = beginnings(DISK, tmp_path / "spool", {}, 1_000)
    assert (positions, lacks) == ({collector.name: int(files[-2].name[:16], 16)}, True)


def test_the_file_holds_all_of_a_fold_whatever_of_it_is_settled(tmp_path):
    chance = random.Random(7)
    sink, collector = a_sink(tmp_path), Collector(tmp_path)
    play(collector, 50, CLOCK.now_us() - 60 * SECOND, chance)
    asyncio.run(read_on(sink, tmp_path))
    fold = sink._fold
    assert fold is not None
    fold.clock_us += 30 * 60 * SECOND
    file = StateFile(tmp_path, DISK)
    once, again = file.encoded(fold, {"a": 1}), file.encoded(fold, {"a": 1})
    assert once == again
    file.write(again)
    other = sink._empty()
    assert file.read_into(other) == {"a": 1}
    assert file.encoded(other, {"a": 1}) == once


def test_what_waits_for_its_place_waits_on_behind_a_restart(tmp_path):
    fold, file = a_fold(), StateFile(tmp_path, DISK)
    beat, other = a_sign("heartbeat", 10, sequence=1, received_s=19), a_sign("play", 0, session=2, received_s=19)
    early = [a_sign("stop", 20, sequence=2), beat, other]
    fold.take(early)
    fold.tick(BEGIN + 20 * SECOND)
    file.write(file.encoded(fold, {}))
    again = a_fold()
    file.read_into(again)
    rest = [a_sign("play", 0, sequence=0, received_s=21, startup_ms=0)]
    for one in (fold, again):
        one.take(rest)
        one.tick(BEGIN + 60 * SECOND)
    group = group_of_fold(again)
    assert (group.sessions, group.starts, group.watched_s) == (2, 2, 20)
    assert group == group_of_fold(fold)
