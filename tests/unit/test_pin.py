"""What a rebuild pins, retention leaves; what a dead one pinned, or a full spool needs, it does not."""

import asyncio
import os
import time
from pathlib import Path

import msgspec
import pytest

from config.settings import Settings, SpoolSettings
from gateway import pin, spool_upkeep
from gateway.layout import DataDir
from gateway.pin import PinHeld, Pinned, pinned
from gateway.spool_upkeep import remove_delivered
from ingest.clock import SystemClock
from ingest.spool.retention import Deliveries
from storage.reader_status import DrainState, ReaderStatus
from tests.spooled import Collector

MINUTE_US = 60_000_000


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path)
    made.make()
    return made


def a_spool(data: DataDir) -> Collector:
    """Four segments of two frames each and an empty one, ended."""
    collector = Collector(data.root, segment_size_bytes=1_000)
    for _ in range(8):
        collector.append(rows=3)
    return collector.end()


def kept(data: DataDir, collector: Collector, quota_bytes: int = 1 << 30) -> list[int]:
    """Sequences at which the segments begin that are left after a turn, with everything delivered long ago."""
    status = ReaderStatus("postgres", "running", "", 1, 0, {collector.name: 8})
    settings = Settings(spool=SpoolSettings(kept_s=0, quota_bytes=quota_bytes))
    lost = msgspec.structs.replace(status, reader="redis", state="rebuild_needed")
    remove_delivered(
        data, settings, {"postgres": status, "stage": status, "redis": lost, "derived": lost}, Deliveries()
    )
    return segments_of(data, collector)


def segments_of(data: DataDir, collector: Collector) -> list[int]:
    return sorted(int(path.stem, 16) for path in (data.spool / collector.name).glob("*.sealed"))


def test_while_the_required_reader_does_not_run_nothing_goes_by_its_age(data: DataDir) -> None:
    collector = a_spool(data)
    states: tuple[tuple[DrainState, list[int]], ...] = (
        ("waiting", [0, 2, 4, 6, 8]),
        ("red", [0, 2, 4, 6, 8]),
        ("running", []),
    )
    for state, left in states:
        status = ReaderStatus("postgres", state, "", 1, 0, {collector.name: 8})
        lost = msgspec.structs.replace(status, reader="redis", state="rebuild_needed")
        settings = Settings(spool=SpoolSettings(kept_s=0))
        remove_delivered(
            data, settings, {"postgres": status, "stage": status, "redis": lost, "derived": lost}, Deliveries()
        )
        assert segments_of(data, collector) == left, state


@pytest.mark.parametrize("quota_bytes", [1 << 30, 1])
def test_where_rows_are_in_cql_its_reader_is_required_too_however_full_the_spool(
    data: DataDir, quota_bytes: int
) -> None:
    collector = a_spool(data)
    through = ReaderStatus("postgres", "running", "", 1, 0, {collector.name: 8})
    behind = msgspec.structs.replace(through, reader="scylla", positions={collector.name: 3})
    settings = Settings(store="scylla", spool=SpoolSettings(kept_s=0, quota_bytes=quota_bytes))
    others = dict.fromkeys(["postgres", "stage", "redis", "derived"], through)
    for status, left in ((None, [0, 2, 4, 6, 8]), (behind, [2, 4, 6, 8])):
        remove_delivered(data, settings, {**others, "scylla": status}, Deliveries())
        assert segments_of(data, collector) == left


class SetClock(SystemClock):
    """Runs when it is told to."""

    passed_s = 0.0

    def monotonic_s(self) -> float:
        """Seconds since the test began."""
        return self.passed_s


def test_what_was_sealed_long_ago_is_kept_from_when_it_was_seen_delivered(
    data: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector, clock, deliveries = a_spool(data), SetClock(), Deliveries()
    for path in (data.spool / collector.name).glob("*.sealed"):  # the store was away for an hour, or the clock jumped
        os.utime(path, (time.time() - 3_600,) * 2)
    monkeypatch.setattr(spool_upkeep, "SystemClock", lambda: clock)
    status = ReaderStatus("postgres", "running", "", 1, 0, {collector.name: 8})
    lost = msgspec.structs.replace(status, reader="redis", state="rebuild_needed")
    for clock.passed_s, left in ((5.0, [0, 2, 4, 6, 8]), (904.0, [0, 2, 4, 6, 8]), (905.0, [])):
        settings = Settings(spool=SpoolSettings(kept_s=900))
        remove_delivered(
            data, settings, {"postgres": status, "stage": status, "redis": lost, "derived": lost}, deliveries
        )
        assert segments_of(data, collector) == left, clock.passed_s


def pin_at(data: DataDir, positions: dict[str, int], good_us: int = MINUTE_US) -> None:
    content = Pinned(positions, SystemClock().now_us() + good_us)
    (data.run / "rebuild.pin").write_bytes(msgspec.json.encode(content))


def test_without_a_pin_what_is_delivered_goes(data: DataDir) -> None:
    assert kept(data, a_spool(data)) == []


def test_a_pin_without_positions_holds_everything(data: DataDir) -> None:
    collector = a_spool(data)
    pin_at(data, {})
    assert kept(data, collector) == [0, 2, 4, 6, 8]


def test_a_pin_holds_what_is_behind_its_positions(data: DataDir) -> None:
    collector = a_spool(data)
    pin_at(data, {collector.name: 5})
    assert kept(data, collector) == [4, 6, 8]


def test_the_pin_of_a_dead_rebuild_holds_nothing(data: DataDir) -> None:
    collector = a_spool(data)
    pin_at(data, {}, good_us=-1)
    assert kept(data, collector) == []


def test_a_damaged_pin_holds_nothing(data: DataDir) -> None:
    collector = a_spool(data)
    (data.run / "rebuild.pin").write_bytes(b"")
    assert kept(data, collector) == []


def test_a_full_spool_minds_no_pin(data: DataDir) -> None:
    collector = a_spool(data)
    pin_at(data, {})
    assert len(kept(data, collector, quota_bytes=3_000)) < 5


def test_a_pin_lives_with_its_rebuild_and_a_while_after_its_success(data: DataDir) -> None:
    clock = SystemClock()

    async def rebuild(*, succeeds: bool) -> None:
        async with pinned(data, clock) as held:
            assert pin.read(data, clock.now_us()) == {}
            held.move({"a": 3})
            assert pin.read(data, clock.now_us()) == {"a": 3}
            with pytest.raises(PinHeld):
                async with pinned(data, clock):
                    pass
            assert pin.read(data, clock.now_us()) == {"a": 3}, "of the first, untouched"
            held.done = succeeds

    asyncio.run(rebuild(succeeds=False))
    assert pin.read(data, clock.now_us()) is None
    asyncio.run(rebuild(succeeds=True))
    assert pin.read(data, clock.now_us()) == {"a": 3}
    assert pin.read(data, clock.now_us() + 3 * MINUTE_US) is None


def test_the_pin_of_a_rebuild_that_can_be_gone_on_with_outlives_it_until_it_cannot(data: DataDir) -> None:
    clock = SystemClock()
    until_us = clock.now_us() + 10 * MINUTE_US

    async def rebuild(*, succeeds: bool, until_us: int) -> None:
        async with pinned(data, clock) as held:
            held.move({"a": 3})
            held.outlive(until_us)
            held.done = succeeds

    asyncio.run(rebuild(succeeds=False, until_us=until_us))
    assert pin.read(data, until_us - 1) == {"a": 3}
    assert pin.read(data, until_us) is None
    asyncio.run(rebuild(succeeds=False, until_us=0))
    assert pin.read(data, clock.now_us()) is None
    asyncio.run(rebuild(succeeds=True, until_us=until_us))
    assert pin.read(data, clock.now_us() + 3 * MINUTE_US) is None


def test_a_pin_is_renewed_while_its_rebuild_lives(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pin, "RENEWED_S", 0.01)
    monkeypatch.setattr(pin, "GOOD_S", 0.5)
    clock = SystemClock()

    async def rebuild() -> None:
        async with pinned(data, clock):
            until_s = time.monotonic() + 1.5
            while time.monotonic() < until_s:
                await asyncio.sleep(0.02)
            assert pin.read(data, clock.now_us()) == {}

    asyncio.run(rebuild())
