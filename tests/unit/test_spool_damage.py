"""Damage takes what it touches and nothing else: the rest is delivered, its bytes are kept, what was lost is told."""

import random
import shutil

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.spool import frame, quarantine, segment, window
from ingest.spool.frame import MonthTotals
from ingest.spool.reader import Reader
from ingest.spool.recovery import recover
from ingest.spool.shortfall import Shortfall, note
from tests.damaged_log import SEED, Log, overwrite, quarantined_ranges
from tests.incarnations import (
    MIXED,
    MONTH,
    FailingDisk,
    StillClock,
    UnsyncedDisk,
    a_frame_body,
    begun,
    commit,
    delivered,
    died,
    quarantine_of,
    quarantined,
    segments,
)

pytestmark = pytest.mark.usefixtures("each_core")


@pytest.fixture(autouse=True)
def quiet():
    """Damage is logged, here thousands of times."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="module", params=[10**9, 700, 1], ids=["one segment", "some segments", "a frame a segment"])
def log(request, tmp_path_factory):
    return Log(tmp_path_factory.mktemp("log"), request.param)


def test_one_flipped_bit_takes_one_frame_and_no_other(log, tmp_path):
    """Every byte, a bit of it by chance."""
    chance = random.Random(7)
    directory = log.damaged(tmp_path, {})
    for name, data in log.segments.items():
        for at in range(0, len(data), 1 if len(log.segments) == 1 else 3):
            flipped = bytearray(data)
            flipped[at] ^= 1 << chance.randrange(8)
            overwrite(directory / name, flipped)
            log.check(delivered(directory), {name: {at}})
            kept = quarantined_ranges(directory)
            begin, end, stop = next(
                ((begin, end, stop) for begin, end, stop, _ in log.frames[name] if begin <= at < stop),
                (0, log.heads[name], log.heads[name]),
            )
            expected = {} if at >= end else {name[:16]: [(begin, bytes(flipped[begin:stop]))]}
            assert kept == expected
            shutil.rmtree(tmp_path / "quarantine", ignore_errors=True)
        overwrite(directory / name, data)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_damage_anywhere_takes_what_it_touches_and_no_more(log, tmp_path_factory, data):
    bytes_of, hit = {}, {}
    for name, whole in log.segments.items():
        damaged = bytearray(whole)
        for _ in range(data.draw(st.integers(0, 2))):
            begin = data.draw(st.integers(0, len(whole) - 1))
            noise = data.draw(
                st.binary(min_size=1, max_size=200) | st.just(bytes(150)) | st.just(frame.MAGIC_BYTES * 9)
            )
            damaged[begin : begin + len(noise)] = noise[: len(whole) - begin]
        bytes_of[name] = bytes(damaged)
        hit[name] = {at for at in range(len(whole)) if whole[at] != damaged[at]}
    directory = log.damaged(tmp_path_factory.mktemp("data"), bytes_of)

    log.check(delivered(directory, size_bytes=data.draw(st.sampled_from([1, 300, 10**9]))), hit)

    for stem, ranges in quarantined_ranges(directory).items():
        name = next(name for name in bytes_of if name.startswith(stem))
        for offset, kept in ranges:
            assert bytes_of[name][offset : offset + len(kept)] == kept
    for name, places in hit.items():
        covered = {
            at
            for offset, kept in quarantined_ranges(directory).get(name[:16], [])
            for at in range(offset, offset + len(kept))
        }
        fatal = {at for at in places if at < log.heads[name] or any(b <= at < e for b, e, _, _ in log.frames[name])}
        assert fatal <= covered


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_reader_that_is_opened_anew_after_every_read_tells_the_same(log, tmp_path_factory, data):
    name = data.draw(st.sampled_from(sorted(log.segments)))
    whole = log.segments[name]
    begin = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:begin] + bytes(len(whole[begin : begin + 200])) + whole[begin + 200 :]
    directory = log.damaged(tmp_path_factory.mktemp("data"), {name: damaged})
    at_once = delivered(directory)
    frames, position, lost_rows, lost_signals = [], 0, 0, 0
    for _ in range(100):
        reader = Reader(directory, UnsyncedDisk(), quarantine_of(directory), position)
        reading = reader.read(1)
        reader.close()
        frames += reading.frames
        lost_rows += sum(lost.rows for lost in reading.lost)
        lost_signals += sum(lost.signals for lost in reading.lost)
        position = reading.state.sequence
    assert frames == at_once.frames and position == at_once.state.sequence
    assert (lost_rows, lost_signals) == (at_once.lost_rows, at_once.lost_signals)


@pytest.mark.parametrize("window_bytes", [256, 512])
def test_damage_is_passed_whatever_the_window_sees_of_it_at_once(tmp_path, monkeypatch, window_bytes):
    monkeypatch.setattr(window, "WINDOW_BYTES", window_bytes)
    incarnation = begun(tmp_path / "spool")
    for number in range(40):
        commit(incarnation, [a_frame_body([b"%d" % number * number * 7])])
    incarnation.end()
    (path,) = segments(incarnation.directory)
    data = path.read_bytes()
    _, begin = segment.decode(data)
    for size_bytes in range(104, 4_000, 8):
        overwrite(path, data[:begin] + bytes(size_bytes) + data[begin + size_bytes :])
        behind = frame.find_next(data, begin + size_bytes, SEED)
        assert behind is not None
        first = frame.decode(data, behind, SEED)[0].sequence
        got = delivered(incarnation.directory)
        assert got.sequences == list(range(first, 40)) and got.lost_rows == first
        ((_, kept),) = quarantined(incarnation.directory).items()
        assert kept == path.read_bytes()[begin:behind]
        shutil.rmtree(tmp_path / "quarantine")


@pytest.mark.parametrize("kept_bytes", [0, 1, 60, 130, 700])
def test_a_segment_that_lost_its_end_is_told_by_the_next_ones_header(tmp_path, kept_bytes):
    log = Log(tmp_path / "log", 700)
    name = sorted(log.segments)[0]
    directory = log.damaged(tmp_path / "data", {name: log.segments[name][:kept_bytes]})
    log.check(delivered(directory), {name: set(range(kept_bytes, len(log.segments[name])))})


def test_a_header_and_the_frames_before_and_behind_it_may_all_be_lost(tmp_path):
    log = Log(tmp_path / "log", 1)
    first, second, third = sorted(log.segments)[1:4]
    zeros = {name: bytes(len(log.segments[name])) for name in (first, second)}
    data = bytearray(log.segments[third])
    data[10] ^= 1
    directory = log.damaged(tmp_path / "data", {**zeros, third: bytes(data)})
    hit = {name: set(range(len(whole))) for name, whole in zeros.items()} | {third: {10}}
    log.check(delivered(directory), hit)
    for sequence in (0, 1, 3, 4, 7):  # a reader that starts at a damaged header knows what was before it
        got = delivered(directory, sequence)
        assert [found.sequence for found in got.frames] == [
            number for number in range(sequence, len(MIXED)) if number not in (1, 2)
        ]
        lost = [found for found in log.whole.frames[1:3] if found.sequence >= sequence]
        assert got.lost_rows + got.lost_signals == sum(found.count for found in lost)


def test_a_loss_behind_a_position_inside_an_earlier_loss_is_told(tmp_path):
    """Where damage reached frames that had been delivered, the first one behind it says where the totals stand."""
    log = Log(tmp_path / "log", 10**9)
    (name,) = log.segments
    data = bytearray(log.segments[name])
    begins = [begin for begin, _, _, _ in log.frames[name]]
    for number in (0, 1, 3):
        data[begins[number]] ^= 1
    got = delivered(log.damaged(tmp_path / "data", {name: bytes(data)}), 2)
    assert got.sequences == [2, 4, 5, 6] and got.lost_rows == 3 and got.lost_signals == 0


def test_the_same_damage_is_quarantined_once(tmp_path):
    log = Log(tmp_path / "log", 10**9)
    (name,) = log.segments
    data = bytearray(log.segments[name])
    data[log.frames[name][2][0] + 3] ^= 1
    directory = log.damaged(tmp_path / "data", {name: bytes(data)})
    before = delivered(directory), quarantined(directory)
    assert (delivered(directory), quarantined(directory)) == before and len(before[1]) == 1


@pytest.mark.parametrize("put", [
    lambda disk, kept: quarantine.put(disk, kept, "0" * 32 + "-0000000000000000-0000000000", [b"bytes"]),
    lambda disk, kept: note(disk, kept, Shortfall("0" * 32, 1, 2)),
], ids=["bytes", "a note"])  # fmt: skip
def test_what_lies_in_the_quarantine_already_is_on_disk_before_anybody_relies_on_it(tmp_path, put):
    """Its writer may have died between the rename and the fsync of the directory; what it copies is cut off next."""
    kept = tmp_path / "quarantine"
    put(FailingDisk(), kept)
    names = [path.name for path in kept.iterdir()]
    disk = FailingDisk()
    put(disk, kept)
    assert [call for call in disk.made if call != "make_directory"] == ["fsync_directory"] * 2
    assert [path.name for path in kept.iterdir()] == names


class NoRoom(UnsyncedDisk):
    """Nothing can be created."""

    def create(self, path):
        raise OSError(28, "no space left")


def test_a_quarantine_that_cannot_be_written_stops_no_delivery(tmp_path):
    log = Log(tmp_path / "log", 10**9)
    (name,) = log.segments
    begin = log.frames[name][2][0]
    data = bytearray(log.segments[name])
    data[begin] ^= 1
    directory = log.damaged(tmp_path / "data", {name: bytes(data)})
    log.check(delivered(directory, disk=NoRoom()), {name: {begin}})
    assert quarantined(directory) == {}


def test_the_last_frame_of_a_living_incarnation_damaged_is_passed_at_once_when_its_head_is_whole(tmp_path):
    incarnation = begun(tmp_path / "spool")
    for body in MIXED:
        commit(incarnation, [body])
    (path,) = segments(incarnation.directory)
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    got = delivered(incarnation.directory)
    assert len(got.frames) == len(MIXED) - 1 and got.lost_rows == 1
    assert got.state.sequence == len(MIXED)


def test_the_last_frame_of_a_living_incarnation_damaged_in_its_head_waits_for_the_next(tmp_path):
    incarnation = begun(tmp_path / "spool")
    for body in MIXED:
        commit(incarnation, [body])
    (path,) = segments(incarnation.directory)
    data = path.read_bytes()
    *_, begin = (at for at in range(0, len(data), 8) if data[at : at + 8] == frame.MAGIC_BYTES)
    with open(path, "r+b") as file:
        file.seek(begin)
        file.write(b"\0")
    reader = Reader(incarnation.directory, UnsyncedDisk(), quarantine_of(incarnation.directory), 0)
    assert len(reader.read(10**9).frames) == len(MIXED) - 1
    for _ in range(3):
        reading = reader.read(10**9)
        assert reading.frames == [] and reading.lost == [] and quarantined(incarnation.directory) == {}
    commit(incarnation, [a_frame_body([b"next"])])
    reading = reader.read(10**9)
    assert [found.tuples() for found in reading.frames] == [[b"next"]]
    assert [lost.rows for lost in reading.lost] == [1] and len(quarantined(incarnation.directory)) == 1


def test_an_event_that_holds_a_whole_forged_frame_is_not_delivered_as_one_behind_damage(tmp_path):
    """Even one with the right sequence and kind: it does not know the incarnation."""
    incarnation = begun(tmp_path / "spool")
    forged = frame.encode(a_frame_body([b"forged"]), 2, 1, MonthTotals(9, 9), frame.Totals(9, 9, 0, 0, 0))
    hostile = [bytes(pad) + forged for pad in range(8)]
    commit(incarnation, [a_frame_body([b"first"]), a_frame_body(hostile), a_frame_body([b"last"])])
    incarnation.end()
    (path,) = segments(incarnation.directory)
    data = bytearray(path.read_bytes())
    at = data.find(frame.MAGIC_BYTES, data.find(frame.MAGIC_BYTES) + 1)
    data[at] ^= 1
    path.write_bytes(data)
    got = delivered(incarnation.directory)
    assert got.tuples == [b"first", b"last"] and got.lost_rows == len(hostile)


def test_a_damaged_or_missing_ending_is_no_end_and_no_error(tmp_path):
    log = Log(tmp_path / "log", 700)
    ended = (log.directory / "ended").read_bytes()
    chance = random.Random(3)
    for number in range(60):
        data = bytearray(ended)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        damaged = [bytes(data), ended[: chance.randrange(len(ended))], b""][number % 3]
        directory = log.damaged(tmp_path / str(number), {"ended": damaged})
        got = delivered(directory)
        assert got.frames == log.whole.frames and not got.finished
        assert recover(UnsyncedDisk(), directory.parent, StillClock()) == []
        got = delivered(directory)
        assert got == log.whole and (directory / "ended").read_bytes() == ended
        shutil.rmtree(tmp_path / str(number))


def test_a_reader_of_an_incarnation_that_died_stops_at_the_watermark(tmp_path):
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, MIXED)
    incarnation.encode(a_frame_body(month=MONTH), 1)
    got = delivered(died(incarnation))
    assert got.state.sequence == len(MIXED) and not got.finished
