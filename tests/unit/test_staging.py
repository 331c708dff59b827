"""The stage over a real spool: what it reads, when it judges, what it makes, and where it goes on."""

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from ingest.spool.disk import FileDisk
from storage import drain
from storage.stage import staging
from storage.stage.state_file import StateFile, Turn
from storage.stage.store import Store
from storage.stage.verdict import Verdict
from storage.stage.window import WINDOW_US
from tests import staged
from tests.cmcd_lines import NOW_US, a_line
from tests.spooled import Collector
from tests.staged import SetClock, appended, at_work, books, events, lines_judged, rows, signals, status, until

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "RED_RETRY_S", 0.05)
    monkeypatch.setattr(drain, "STATUS_S", 0.02)
    monkeypatch.setattr(staging, "IDLE_S", 0.005)
    monkeypatch.setattr(staging, "TURN_S", 0.0)
    monkeypatch.setattr(staging, "SAVED_S", 0.02)


def a_viewing(session="sid-1", begins_ms=0):
    """Start, play, stall, play, beat, pause, play, end: a line a second."""
    words = ["ps s", "ps p", "ps r", "ps p", "t p", "ps a", "ps p", "ps e"]
    return [
        a_line(number, *word.split(), session_id=session, at_ms=begins_ms + 1_000 * number, behind_ms=50)
        for number, word in enumerate(words)
    ]


def test_lines_of_two_collectors_are_one_viewing(tmp_path: Path) -> None:
    async def scenario() -> None:
        lines = a_viewing()
        one, other = Collector(tmp_path), Collector(tmp_path)
        appended(one, lines[0:1], lines[3:6])
        appended(other, lines[1:3], lines[6:])
        async with at_work(tmp_path):
            await until(lambda: lines_judged(tmp_path) == 8)
            await until(lambda: [status(tmp_path).positions.get(each.name) for each in (one, other)] == [2, 2])
        assert [row.event_type for row in events(tmp_path)] == ["play", "buffering", "pause", "play", "completed"]
        assert [json.loads(row.metadata or "")["sn"] for row in events(tmp_path)] == [1, 2, 5, 6, 7]
        assert events(tmp_path)[1].buffer_duration_ms == 1_000
        assert len(signals(tmp_path)) == 3
        assert books(tmp_path) == (8, 5, 3, 1, 1) and books(tmp_path).balanced

    asyncio.run(scenario())


def test_lines_sent_again_are_folded_also_by_the_next_stage(tmp_path: Path) -> None:
    async def scenario() -> None:
        collector = appended(Collector(tmp_path), a_viewing())
        async with at_work(tmp_path):
            await until(lambda: lines_judged(tmp_path) == 8)
        before = rows(tmp_path), signals(tmp_path)
        appended(collector, a_viewing(), a_viewing()[2:4])
        async with at_work(tmp_path, SetClock(NOW_US + 20 * DAY_US)):
            await until(lambda: lines_judged(tmp_path) == 18)
        assert (rows(tmp_path), signals(tmp_path)) == before
        assert books(tmp_path).folded == 11

    asyncio.run(scenario())


def test_a_line_is_judged_two_seconds_behind_its_receipt_and_no_position_is_ahead_of_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        lines = a_viewing()
        received_us = lines[1].received_at_us
        clock = SetClock(received_us + WINDOW_US - 1)
        collector = appended(Collector(tmp_path), [lines[1]])
        async with at_work(tmp_path, clock):
            await until(lambda: status(tmp_path).state == "running")
            appended(collector, [lines[0]._replace(received_at_us=received_us + SECOND_US)])
            await asyncio.sleep(0.1)
            assert lines_judged(tmp_path) == 0 and not status(tmp_path).positions.get(collector.name)
            clock.at_us += 1
            await until(lambda: lines_judged(tmp_path) == 2)  # with the one it overtook
        assert [row.event_type for row in events(tmp_path)] == ["play"]

    asyncio.run(scenario())


def test_lines_that_are_not_ripe_when_it_is_stopped_are_for_the_next_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        appended(Collector(tmp_path), *([line] for line in a_viewing()))
        async with at_work(tmp_path, SetClock(NOW_US + 5 * SECOND_US)):
            await until(lambda: lines_judged(tmp_path) == 3)
        async with at_work(tmp_path):
            await until(lambda: lines_judged(tmp_path) == 8)
        assert len(rows(tmp_path)) == 5

    asyncio.run(scenario())


def test_a_clock_that_is_set_back_holds_no_line_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        appended(Collector(tmp_path), a_viewing())
        async with at_work(tmp_path, SetClock(NOW_US - DAY_US)):
            await until(lambda: lines_judged(tmp_path) == 8)
        assert len(rows(tmp_path)) == 5

    asyncio.run(scenario())


def test_more_lines_than_it_can_hold_are_judged_before_their_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(staging, "HELD_MAX", 20)

    async def scenario() -> None:
        clock = SetClock(NOW_US + 9 * SECOND_US)
        for number in range(10):
            appended(Collector(tmp_path), a_viewing(f"session {number}"))
        async with at_work(tmp_path, clock):
            await until(lambda: lines_judged(tmp_path) >= 60)
            clock.at_us += 60 * SECOND_US
            await until(lambda: lines_judged(tmp_path) == 80)
        assert len(rows(tmp_path)) == 50 and books(tmp_path).balanced

    asyncio.run(scenario())


def test_a_stall_that_nothing_ended_is_a_row_without_a_duration(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(staging, "SWEEP_S", 0.02)

    async def scenario() -> None:
        clock = SetClock()
        collector = appended(Collector(tmp_path), a_viewing()[:3])
        async with at_work(tmp_path, clock):
            await until(lambda: lines_judged(tmp_path) == 3)
            await until(lambda: [row.event_type for row in events(tmp_path)] == ["play"])  # kept, then written
            clock.at_us += staging.SILENT_US
            await until(lambda: len(rows(tmp_path)) == 2)
            appended(collector, a_viewing()[:3])
            await until(lambda: lines_judged(tmp_path) == 6)
            clock.at_us += staged.PAST_S * SECOND_US
            await until(lambda: not streams(tmp_path))
        assert [(row.event_type, row.buffer_duration_ms) for row in events(tmp_path)] == [
            ("play", None),
            ("buffering", None),
        ]
        assert books(tmp_path).balanced

    asyncio.run(scenario())


def lines_passed(data_dir: Path, name: str) -> int:
    """Below the position of an incarnation."""
    file = StateFile(data_dir / "stage" / "state.db", reads_only=True)
    try:
        return file.positions()[name].lines
    finally:
        file.close()


def streams(data_dir: Path) -> int:
    database = sqlite3.connect(data_dir / "stage" / "state.db")
    try:
        return int(database.execute("SELECT count(*) FROM streams").fetchone()[0])
    finally:
        database.close()


def test_without_a_line_of_cmcd_it_writes_nothing_but_its_positions(tmp_path: Path) -> None:
    async def scenario() -> None:
        collector = Collector(tmp_path).append(50)
        async with at_work(tmp_path):
            await until(lambda: status(tmp_path).positions.get(collector.name) == 50)
        assert [path.name for path in (tmp_path / "spool").iterdir()] == [collector.name]
        assert status(tmp_path).delivered_events == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("loss", ["file", "directory", "damage"])
def test_a_state_that_was_lost_is_said_and_begun_anew_when_an_engineer_says_so(tmp_path: Path, loss: str) -> None:
    async def scenario() -> None:
        collector = appended(Collector(tmp_path, segment_size_bytes=1), a_viewing()[:4])
        collector.incarnation.roll()
        appended(collector, a_viewing()[4:])
        async with at_work(tmp_path):
            await until(lambda: lines_judged(tmp_path) == 8)
        before = rows(tmp_path)
        directory = tmp_path / "stage"
        if loss == "damage":
            (directory / "state.db").write_bytes(b"no database at all, but for its length" * 200)
        else:
            for path in directory.iterdir():
                if loss == "directory" or path.name.startswith("state.db"):
                    path.unlink()
            if loss == "directory":  # that lines were read is told by a segment that is gone
                (tmp_path / "spool" / collector.name / f"{0:016x}.sealed").unlink()
        async with at_work(tmp_path):
            await until(lambda: status(tmp_path).state == "red")
            assert "stage anew" in status(tmp_path).reason
            FileDisk().make_directory(directory)
            (directory / "anew").touch()
            await until(lambda: status(tmp_path).state == "running")
            await until(lambda: lines_judged(tmp_path) == (4 if loss == "directory" else 8))
            await until(lambda: lines_passed(tmp_path, collector.name) == 8)  # those that are gone, too
        if loss != "directory":
            assert set(rows(tmp_path)) == set(before)

    asyncio.run(scenario())


@pytest.mark.parametrize("asked", ["stream", "silent"])
def test_a_state_whose_damage_is_met_at_work_is_said(tmp_path: Path, monkeypatch, asked: str) -> None:
    def damaged(*arguments: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(StateFile, asked, damaged)
    monkeypatch.setattr(staging, "SWEEP_S", 0.0)

    async def scenario() -> None:
        appended(Collector(tmp_path), a_viewing())
        async with at_work(tmp_path):
            await until(lambda: status(tmp_path).state == "red")
            assert "malformed" in status(tmp_path).reason and "stage anew" in status(tmp_path).reason

    asyncio.run(scenario())


def test_two_stages_are_one_at_a_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        appended(Collector(tmp_path), a_viewing())
        async with at_work(tmp_path) as first:
            await until(lambda: lines_judged(tmp_path) == 8)
            async with at_work(tmp_path):
                await until(lambda: "Another stage" in status(tmp_path).reason)
                first.set()
                await until(lambda: status(tmp_path).state == "running")
        assert len(rows(tmp_path)) == 5

    asyncio.run(scenario())


def test_an_incarnation_that_promises_more_than_it_brings_holds_nobody_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "STALLED_S", 0.1)

    async def scenario() -> None:
        broken, whole = appended(Collector(tmp_path), a_viewing("one")), appended(Collector(tmp_path), a_viewing("two"))
        broken.incarnation._watermark.sequence += 3
        async with at_work(tmp_path):
            await until(lambda: lines_judged(tmp_path) == 16)
            await until(lambda: status(tmp_path).state == "red")
            assert f"{broken.name} promises" in status(tmp_path).reason
            appended(whole, a_viewing("three"))
            await until(lambda: lines_judged(tmp_path) == 24)

    asyncio.run(scenario())


def test_more_streams_than_may_be_remembered_are_forgotten_once_they_ended_the_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "SWEEP_S", 0.02)
    monkeypatch.setattr(staging, "SWEPT_MAX", 10)

    async def scenario() -> None:
        clock = SetClock()
        collector = Collector(tmp_path)
        appended(collector, *(a_viewing(f"session {number}") for number in range(300)))
        async with at_work(tmp_path, clock, state_max_bytes=60_000):
            await until(lambda: lines_judged(tmp_path) == 2_400)
            assert streams(tmp_path) == 300  # who watches is remembered, however many they are
            clock.at_us += staging.SILENT_US + SECOND_US
            await until(lambda: streams(tmp_path) < 300)

    asyncio.run(scenario())


def test_steady_traffic_is_no_lag_though_none_of_it_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, collector, kept, seen_s = SetClock(), Collector(tmp_path), Store.turn, [0.0]

    async def busy(store: Store, turn: Turn, verdicts: list[Verdict]) -> None:
        collector.append(1)  # the next one is there before this one is passed
        clock.at_us += SECOND_US
        await asyncio.sleep(0.03)  # a look falls into it
        await kept(store, turn, verdicts)

    monkeypatch.setattr(Store, "turn", busy)

    async def scenario() -> None:
        collector.append(1)
        began_us = clock.at_us
        async with at_work(tmp_path, clock):
            while clock.at_us < began_us + 30 * SECOND_US:
                at_us = status(tmp_path).at_us
                await until(lambda: status(tmp_path).at_us > at_us)  # noqa: B023
                seen_s.append(status(tmp_path).lag_s)
        assert 0 < max(seen_s) < 4, "a second between looks, by this clock"

    asyncio.run(scenario())
