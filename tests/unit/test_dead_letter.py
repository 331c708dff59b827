"""Dead letters: durable, each read once, whole lines only, within their quota."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from storage.dead_letter import DIRECTORY, DeadLetters, Letter, decoded, encoded, read

ROW = bytes(range(256))


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


def a_letter(index: int = 0, sequence: int = 7) -> Letter:
    return Letter(
        "sqlstate_23514", "23514", "refused", "id", 1, 2, "ab" * 16, sequence, index, 1, 0, encoded(ROW)
    )  # fmt: skip


def letters_in(data_dir: Path, *, quota_bytes: int = 10**6, disk: FileDisk | None = None) -> DeadLetters:
    return DeadLetters(data_dir, "postgres", disk or FileDisk(), StoppedClock(), quota_bytes)


def indices(data_dir: Path) -> list[int]:
    return [letter.index for letter in read(data_dir)]


def test_letters_are_on_disk_when_keep_returns(tmp_path: Path) -> None:
    disk = FailingDisk()
    assert letters_in(tmp_path, disk=disk).keep([a_letter(0), a_letter(1)]) == 0
    assert disk.synced == 1
    (first, _) = read(tmp_path)
    assert decoded(first.tuple) == ROW
    assert first.at_us == StoppedClock.at_us


def test_a_letter_written_twice_is_read_once(tmp_path: Path) -> None:
    for _ in range(3):  # three starts, the position moved in none of them
        letters = letters_in(tmp_path)
        letters.keep([a_letter(0), a_letter(1)])
        letters.close()
    assert indices(tmp_path) == [0, 1]
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
        found = indices(tmp_path)
        assert found == [0, 1, 2][: len(found)]
        assert len(found) >= whole[:cut].count(b"\n")


def test_a_later_start_never_writes_behind_a_torn_line(tmp_path: Path) -> None:
    letters_in(tmp_path).keep([a_letter(0)])
    (file,) = (tmp_path / DIRECTORY).iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    letters_in(tmp_path).keep([a_letter(1)])
    assert indices(tmp_path) == [1]


def test_past_the_quota_letters_are_counted_and_not_kept(tmp_path: Path) -> None:
    letters_in(tmp_path).keep([a_letter(0)])
    size_bytes = next((tmp_path / DIRECTORY).iterdir()).stat().st_size
    for path in (tmp_path / DIRECTORY).iterdir():
        path.unlink()
    letters = letters_in(tmp_path, quota_bytes=size_bytes * 5 // 2)
    assert letters.keep([a_letter(index) for index in range(5)]) == 3
    assert letters.keep([a_letter(9)]) == 1
    assert indices(tmp_path) == [0, 1]


def test_a_letter_that_could_not_be_synced_is_not_promised_and_its_file_never_written_again(tmp_path: Path) -> None:
    disk = FailingDisk()
    letters = letters_in(tmp_path, disk=disk)
    disk.failures = 1
    with pytest.raises(OSError, match="no space"):
        letters.keep([a_letter(0)])
    assert letters.keep([a_letter(0)]) == 0
    assert indices(tmp_path) == [0]
    assert len(list((tmp_path / DIRECTORY).iterdir())) == 2


def test_no_letters_make_no_file(tmp_path: Path) -> None:
    nothing: Sequence[Letter] = []
    assert letters_in(tmp_path).keep(nothing) == 0
    assert list(tmp_path.iterdir()) == []
