"""Dead letters: durable, each read once, whole lines only, within their quota."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog

from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from storage.dead_letter import unkept
from storage.dead_letter.box import DIRECTORY, extent, read
from storage.dead_letter.letter import Letter, line_of
from storage.dead_letter.sweep import LOCK, sweep
from storage.dead_letter.writer import DeadLetters
from tests.dead_letters import ROW, a_letter, files_of, kept, left, taken_away
from tests.incarnations import open_descriptors


@dataclasses.dataclass
class StoppedClock(SystemClock):
    at_us: int = 1_790_000_000_000_000

    def now_us(self) -> int:
        return self.at_us


class FailingDisk(FileDisk):
    """Its fdatasync fails as often as it is told to."""

    failures = 0
    synced = 0

    def fdatasync(self, descriptor: int) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("no space left")
        super().fdatasync(descriptor)
        self.synced += 1


def letters_in(data_dir: Path, *, quota_bytes: int = 10**6, disk: FileDisk | None = None) -> DeadLetters:
    return DeadLetters(data_dir, "postgres", disk or FileDisk(), StoppedClock(), quota_bytes)


def test_letters_are_on_disk_when_keep_returns(tmp_path: Path) -> None:
    disk = FailingDisk()
    assert letters_in(tmp_path, disk=disk).keep([a_letter(0), a_letter(1)]) == 0
    assert disk.synced == 1
    (first, _) = read(tmp_path)
    assert first.row() == ROW
    assert first.at_us == StoppedClock.at_us


def test_letters_are_said_by_reason(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as said:
        letters_in(tmp_path).keep([a_letter(0), a_letter(1)])
    (line,) = said
    reason = a_letter(0).reason
    assert line == {"event": "dead_letters", "log_level": "warning", "reader": "postgres", "kept": 2, reason: 2}


def test_a_letter_written_twice_is_read_once(tmp_path: Path) -> None:
    for _ in range(3):  # three starts, the position moved in none of them
        letters = letters_in(tmp_path)
        letters.keep([a_letter(0), a_letter(1)])
        letters.close()
    assert left(tmp_path) == [0, 1]
    assert len(list((tmp_path / DIRECTORY).iterdir())) == 3


def test_a_write_tried_again_by_the_same_process_writes_no_copies(tmp_path: Path) -> None:
    letters = letters_in(tmp_path)
    letters.keep([a_letter(0)])
    letters.keep([a_letter(0), a_letter(1)])
    (file,) = (tmp_path / DIRECTORY).iterdir()
    assert file.read_bytes().count(b"\n") == 2


def test_a_file_cut_anywhere_yields_a_prefix(tmp_path: Path) -> None:
    letters_in(tmp_path).keep([a_letter(0), a_letter(1), a_letter(2)])
    (file,) = (tmp_path / DIRECTORY).iterdir()
    whole = file.read_bytes()
    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        found = left(tmp_path)
        assert found == [0, 1, 2][: len(found)]
        assert len(found) >= whole[:cut].count(b"\n")


def test_a_later_start_never_writes_behind_a_torn_line(tmp_path: Path) -> None:
    letters_in(tmp_path).keep([a_letter(0)])
    (file,) = (tmp_path / DIRECTORY).iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    letters_in(tmp_path).keep([a_letter(1)])
    assert left(tmp_path) == [1]


def test_past_the_quota_letters_are_counted_and_not_kept(tmp_path: Path) -> None:
    letters_in(tmp_path).keep([a_letter(0)])
    size_bytes = next((tmp_path / DIRECTORY).iterdir()).stat().st_size
    for path in (tmp_path / DIRECTORY).iterdir():
        path.unlink()
    letters = letters_in(tmp_path, quota_bytes=size_bytes * 5 // 2)
    assert letters.keep([a_letter(index) for index in range(5)]) == 3
    assert letters.keep([a_letter(9)]) == 1
    assert left(tmp_path) == [0, 1]


def test_a_letter_that_could_not_be_synced_is_not_promised_and_its_file_never_written_again(tmp_path: Path) -> None:
    disk = FailingDisk()
    letters = letters_in(tmp_path, disk=disk)
    disk.failures = 1
    with pytest.raises(OSError, match="no space"):
        letters.keep([a_letter(0)])
    assert letters.keep([a_letter(0)]) == 0
    assert left(tmp_path) == [0]
    assert len(list((tmp_path / DIRECTORY).iterdir())) == 2


def test_no_letters_make_no_file(tmp_path: Path) -> None:
    nothing: Sequence[Letter] = []
    assert letters_in(tmp_path).keep(nothing) == 0
    assert list(tmp_path.iterdir()) == []


# ── somebody takes letters away ───────────────────────────────────────────────────────────────────────────────────


def test_a_letter_written_again_after_it_was_taken_away_stays_away(tmp_path: Path) -> None:
    kept(tmp_path, a_letter(0), a_letter(1))
    taken_away(tmp_path, a_letter(0))
    kept(tmp_path, a_letter(0), a_letter(1))  # a drain that came back to an older position
    assert left(tmp_path) == [1]


def test_letters_taken_away_from_the_file_in_use_make_room_in_the_quota(tmp_path: Path) -> None:
    size_bytes = len(line_of(a_letter(0), StoppedClock.at_us))
    writer = letters_in(tmp_path, quota_bytes=3 * size_bytes)
    assert writer.keep([a_letter(index) for index in range(4)]) == 1
    swept = sweep(FileDisk(), tmp_path)
    assert swept is not None and swept.in_use == 1
    taken_away(tmp_path, a_letter(0), a_letter(2))
    sweep(FileDisk(), tmp_path)
    assert len(files_of(tmp_path)[0].read_bytes()) == 3 * size_bytes, "in use: left as it is"
    assert writer.keep([a_letter(index) for index in (5, 6, 7)]) == 1
    assert left(tmp_path) == [1, 5, 6]
    assert sum(path.stat().st_size for path in files_of(tmp_path)) == 3 * size_bytes
    writer.close()
    assert unkept.total(FileDisk(), tmp_path / DIRECTORY) == {"sqlstate_23514": 2}


def test_past_the_quota_while_another_process_sweeps_the_letters_wait(tmp_path: Path) -> None:
    writer = letters_in(tmp_path, quota_bytes=len(line_of(a_letter(0), StoppedClock.at_us)))
    writer.keep([a_letter(0)])
    taken_away(tmp_path, a_letter(0))
    lock = FileDisk().lock(tmp_path / DIRECTORY / LOCK)
    assert lock is not None
    with pytest.raises(OSError, match="swept"):
        writer.keep([a_letter(1)])
    FileDisk().close(lock)
    assert writer.keep([a_letter(1)]) == 0
    assert left(tmp_path) == [1]


def test_what_was_not_kept_is_counted_over_starts_and_a_damaged_count_stops_nothing(tmp_path: Path) -> None:
    for number in range(2):
        letters_in(tmp_path, quota_bytes=1).keep([a_letter(number), a_letter(number + 5, reason="month_dropped")])
    (file,) = (tmp_path / DIRECTORY).iterdir()
    assert unkept.total(FileDisk(), file.parent) == {"sqlstate_23514": 2, "month_dropped": 2}
    file.write_bytes(b"\xff{")
    assert letters_in(tmp_path, quota_bytes=1).keep([a_letter(9)]) == 1
    assert unkept.total(FileDisk(), file.parent) == {"sqlstate_23514": 1}


def test_what_is_written_behind_an_extent_is_not_read_within_it(tmp_path: Path) -> None:
    writer = letters_in(tmp_path)
    writer.keep([a_letter(0), a_letter(1)])
    within = extent(tmp_path)
    reading = read(tmp_path, within=within)
    assert next(reading).index == 0
    writer.keep([a_letter(2)])
    kept(tmp_path, a_letter(3))
    assert [letter.index for letter in reading] == [1]
    assert left(tmp_path) == [0, 1, 2, 3]
    writer.close()


def test_no_descriptor_outlives_a_writer(tmp_path: Path) -> None:
    before = open_descriptors()
    disk = FailingDisk()
    writer = letters_in(tmp_path, disk=disk)
    for index in range(5):
        disk.failures = index % 2
        try:
            writer.keep([a_letter(index)])
        except OSError:
            pass
        taken_away(tmp_path, a_letter(index))
    writer.close()
    assert open_descriptors() == before
