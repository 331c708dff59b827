"""A reader gets every frame once, in order, from any position on, beside a writer that appends and rolls."""

import itertools
import os
import subprocess
import sys
import threading
import time

import pytest
from xxhash import xxh3_64_intdigest

from ingest.batch import KIND_SIGNAL
from ingest.spool import segment, window
from ingest.spool.incarnation import Group
from tests.incarnations import (
    IDENTITY,
    MIXED,
    MONTH,
    UnsyncedDisk,
    a_frame_body,
    a_reader,
    begun,
    commit,
    delivered,
    died,
    numbered,
    quarantined,
    rows,
    segments,
)

pytestmark = pytest.mark.usefixtures("each_core")


class CountingDisk(UnsyncedDisk):
    """Counts its calls by name."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if callable(found) and not name.startswith("_"):
            self.calls[name] = self.calls.get(name, 0) + 1
        return found


def test_what_was_written_is_read_in_order_and_the_end_is_told(tmp_path):
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, MIXED)
    got = delivered(incarnation.directory)
    assert got.sequences == list(range(len(MIXED))) and not got.finished
    assert got.tuples == list(itertools.chain.from_iterable(body.tuples for body in MIXED))
    incarnation.end()
    assert delivered(incarnation.directory) == got._replace(finished=True)
    assert got.lost == [] and quarantined(incarnation.directory) == {}


def test_every_frame_says_what_became_of_everything_received(tmp_path):
    incarnation = begun(tmp_path / "spool")
    for number, body in enumerate(MIXED):
        incarnation.note(number + 3, number, {2: 1, 5: 2})
        commit(incarnation, [body])
    incarnation.note(1, 0, {0: 1})  # behind the last frame: in no total
    incarnation.end()
    got = delivered(incarnation.directory)
    rows_, signals = 0, 0
    months: dict[int, int] = {}
    for number, (found, body) in enumerate(zip(got.frames, MIXED, strict=True)):
        if body.kind == KIND_SIGNAL:
            signals += len(body.tuples)
        else:
            rows_ += len(body.tuples)
            months[body.month] = months.get(body.month, 0) + len(body.tuples)
            assert found.month_totals.rows == months[body.month]
        totals = found.totals
        assert totals.received == totals.rows + totals.signals + totals.duplicates + totals.rejected
        assert (totals.rows, totals.signals) == (rows_, signals)
        assert (totals.duplicates, totals.rejected) == (sum(range(number + 1)), 3 * (number + 1))
        assert found.rejected_by_code == (0, 0, number + 1, 0, 0, 2 * (number + 1))
    assert got.state.totals == got.frames[-1].totals


def test_refusals_by_code_are_written_when_they_changed_and_kept_in_the_state(tmp_path):
    incarnation = begun(tmp_path / "spool")
    incarnation.note(1, 0, {3: 1})
    commit(incarnation, numbered(3))
    got = delivered(incarnation.directory)
    assert [found.rejected_by_code for found in got.frames] == [(0, 0, 0, 1), (), ()]
    assert got.state.rejected_by_code == (0, 0, 0, 1)


def test_a_reading_is_not_changed_by_reading_on(tmp_path):
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, numbered(2))
    reader = a_reader(incarnation.directory)
    first = reader.read(1)
    months = dict(first.state.months)
    reader.read(1)
    assert first.state.months == months and first.state.months[MONTH].rows == 1


def test_nothing_beyond_the_watermark_is_delivered_though_its_bytes_are_there(tmp_path):
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, numbered(2))
    reader = a_reader(incarnation.directory)
    chunk = incarnation.encode(a_frame_body([b"not yet"]), 1)
    with open(segments(incarnation.directory)[0], "ab") as file:
        file.write(chunk)
    assert [found.sequence for found in reader.read(10**6).frames] == [0, 1]
    assert reader.read(10**6).frames == [] and quarantined(incarnation.directory) == {}
    incarnation.commit(Group([], incarnation.state()))
    assert [found.tuples() for found in reader.read(10**6).frames] == [[b"not yet"]]


@pytest.mark.parametrize("cut", range(0, 140, 7))
def test_bytes_read_ahead_while_they_were_being_written_are_read_again(tmp_path, cut):
    """The reader's window ends with half a frame, or with the zeros of a file that was grown before it was filled."""
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, numbered(1))
    path, reader = segments(incarnation.directory)[0], a_reader(incarnation.directory)
    size_bytes = path.stat().st_size
    chunk = incarnation.encode(a_frame_body([b"second"]), 1)
    path.write_bytes(path.read_bytes() + chunk[:cut] + bytes(len(chunk) - cut))
    assert reader.read(10**6).state.sequence == 1
    path.write_bytes(path.read_bytes()[:size_bytes] + chunk)
    incarnation.commit(Group([], incarnation.state()))
    assert [found.tuples() for found in reader.read(10**6).frames] == [[b"second"]]
    assert quarantined(incarnation.directory) == {}


def test_a_reader_opened_while_a_segment_is_being_made_sees_no_damage(tmp_path):
    incarnation = begun(tmp_path / "spool", segment_size_bytes=1)
    commit(incarnation, numbered(1))
    path = segments(incarnation.directory)[-1]
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    reader = a_reader(incarnation.directory, 1)
    assert reader.read(10**6).frames == []
    path.write_bytes(whole)
    commit(incarnation, numbered(1, first=1))
    reading = reader.read(10**6)
    assert [found.tuples() for found in reading.frames] == [[b"row 1"]] and reading.lost == []
    assert quarantined(incarnation.directory) == {}


def test_a_segment_sealed_while_it_is_read_is_read_on(tmp_path):
    incarnation = begun(tmp_path / "spool", segment_size_bytes=2_000)
    commit(incarnation, numbered(5))
    reader = a_reader(incarnation.directory)
    assert len(reader.read(1).frames) == 1
    while len(segments(incarnation.directory)) < 3:
        commit(incarnation, numbered(5, first=incarnation.state().sequence))
    incarnation.end()
    reading = reader.read(10**6)
    assert [found.sequence for found in reading.frames] == list(range(1, incarnation.state().sequence))
    assert reader.read(10**6).frames == [] and reader.finished


def test_frames_larger_than_the_window_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(window, "WINDOW_BYTES", 256)
    incarnation = begun(tmp_path / "spool")
    large = [bytes([number]) * 1_000 for number in range(5)]
    commit(incarnation, [a_frame_body([row]) for row in large])
    assert delivered(incarnation.directory).tuples == large


def test_a_thread_that_reads_beside_one_that_appends_and_rolls_gets_everything_once(tmp_path):
    incarnation = begun(tmp_path / "spool", disk=UnsyncedDisk(), segment_size_bytes=5_000)
    count = 3_000

    def write() -> None:
        for first in range(0, count, 10):
            commit(incarnation, numbered(10, first=first))
        incarnation.end()

    writer = threading.Thread(target=write)
    writer.start()
    reader, got = a_reader(incarnation.directory), []
    until_s = time.monotonic() + 60
    while not reader.finished and time.monotonic() < until_s:
        reading = reader.read(3_000)
        assert reading.lost == []
        got += [row for found in reading.frames for row in found.tuples()]
        assert len(got) <= count
    writer.join()
    assert got == rows(0, count) and quarantined(incarnation.directory) == {}
    assert len(segments(incarnation.directory)) > 50


def test_a_process_that_reads_beside_one_that_appends_and_rolls_gets_everything_once(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.incarnations import begun, commit, a_frame_body\n"
        "inc = begun(Path(sys.argv[1]), segment_size_bytes=4000)\n"
        "print('ready', flush=True)\n"
        "for n in range(2000): commit(inc, [a_frame_body([b'row %d' % n])])\n"
        "inc.end()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "spool")], stdout=subprocess.PIPE, cwd=os.getcwd()
    ) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        reader, got = a_reader(tmp_path / "spool" / IDENTITY.hex()), []
        until_s = time.monotonic() + 60
        while not reader.finished and time.monotonic() < until_s:
            if writer.poll() not in (None, 0):
                pytest.fail("the writer died")
            reading = reader.read(3_000)
            assert reading.lost == []
            got += [row for found in reading.frames for row in found.tuples()]
    assert got == rows(0, 2_000)


def test_an_idle_poll_costs_one_look_and_a_frame_no_directory(tmp_path):
    disk = CountingDisk()
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, numbered(500))
    reader = a_reader(incarnation.directory, disk=disk)
    reader.read(1)
    disk.calls.clear()
    assert len(reader.read(10**9).frames) == 499
    assert disk.calls.get("list", 0) == 0 and disk.calls.get("read", 0) <= 2
    disk.calls.clear()
    for _ in range(10):
        assert reader.read(10**9).frames == []
    assert disk.calls == {"size": 10}


def test_an_unknown_version_stops_the_reader_and_drops_nothing(tmp_path):
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, numbered(1))
    path = segments(died(incarnation))[0]
    data = bytearray(path.read_bytes())
    _, head_bytes = segment.decode(bytes(data))
    data[8] = 9
    data[head_bytes - 8 : head_bytes] = xxh3_64_intdigest(bytes(data[: head_bytes - 8])).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(segment.UnknownVersion):
        a_reader(incarnation.directory).read(1)
    assert path.read_bytes() == data
