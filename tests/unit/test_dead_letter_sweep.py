"""Letters that were taken away leave the disk, and nothing else does: whatever is damaged, in use, or in the spool."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.spool.disk import FileDisk
from storage.dead_letter.box import Damage, dead_identities, read
from storage.dead_letter.census import Census, Count
from storage.dead_letter.handled import handled
from storage.dead_letter.letter import DamagedLetter, Letter, line_of, parsed
from storage.dead_letter.sweep import Swept, sweep
from tests.dead_letters import INCARNATION, a_letter, files_of, kept, left, taken_away
from tests.incarnations import FailingDisk


def swept(data_dir: Path, *, damaged_too: bool = False) -> Swept:
    done = sweep(FileDisk(), data_dir, damaged_too=damaged_too)
    assert done is not None
    return done


def test_a_file_goes_when_all_of_its_letters_were_taken_away(tmp_path: Path) -> None:
    kept(tmp_path, a_letter(0), a_letter(1))
    kept(tmp_path, a_letter(2))
    taken_away(tmp_path, a_letter(0))
    before = sum(path.stat().st_size for path in files_of(tmp_path))
    freed_bytes = swept(tmp_path).freed_bytes
    assert left(tmp_path) == [1, 2] and len(files_of(tmp_path)) == 2
    assert before - freed_bytes == sum(path.stat().st_size for path in files_of(tmp_path))
    taken_away(tmp_path, a_letter(1))
    swept(tmp_path)
    assert left(tmp_path) == [2] and len(files_of(tmp_path)) == 1


def test_a_draft_of_letters_goes_and_the_count_that_a_drain_is_writing_stays(tmp_path: Path) -> None:
    kept(tmp_path, a_letter(0))
    (file,) = files_of(tmp_path)
    counting = file.with_name("postgres.unkept.draft")
    for draft in (file.with_name(file.name + ".draft"), counting):
        draft.write_bytes(b"half")
    swept(tmp_path)
    assert [path.name for path in file.parent.glob("*.draft")] == [counting.name]


def test_names_are_forgotten_with_the_last_letter_unless_the_spool_holds_the_event(tmp_path: Path) -> None:
    kept(tmp_path, a_letter(0), a_letter(1))
    incarnation = tmp_path / "spool" / INCARNATION
    incarnation.mkdir(parents=True)
    segment = incarnation / "0000000000000007.sealed"
    segment.touch()
    taken_away(tmp_path, a_letter(0), a_letter(1))
    swept(tmp_path)
    assert files_of(tmp_path) == []
    assert len(handled(FileDisk(), tmp_path)) == 2
    assert {index for _, _, index in dead_identities(FileDisk(), tmp_path)} == {0, 1}
    segment.rename(incarnation / "0000000000000008.sealed")  # the frame's own segment is gone
    swept(tmp_path)
    assert handled(FileDisk(), tmp_path) == {}
    assert list((tmp_path / "dead" / "handled").iterdir()) == []


@pytest.mark.parametrize("nth", range(9))
def test_a_sweep_that_fails_anywhere_loses_no_letter_and_the_next_one_ends_it(tmp_path: Path, nth: int) -> None:
    kept(tmp_path, a_letter(0), a_letter(1))
    kept(tmp_path, a_letter(2))
    taken_away(tmp_path, a_letter(1), a_letter(2))
    try:
        sweep(FailingDisk(nth), tmp_path)
    except OSError:
        pass
    assert left(tmp_path) == [0]
    swept(tmp_path)
    assert left(tmp_path) == [0]
    assert [path.suffix for path in sorted((tmp_path / "dead").iterdir()) if path.is_file()] == ["", ".jsonl"]


def test_damaged_lines_are_told_and_stay_until_they_are_asked_to_go(tmp_path: Path) -> None:
    kept(tmp_path, a_letter(0), a_letter(1), a_letter(2))
    (file,) = files_of(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"\xff not a letter\n" + lines[1] + lines[2][:-9])
    damaged: list[Damage] = []
    assert [letter.index for letter in read(tmp_path, damaged)] == [0, 1]
    assert damaged == [(file, 2)], "the last line was only not written to its end"
    taken_away(tmp_path, a_letter(0), a_letter(1))
    swept(tmp_path)
    assert file.read_bytes() == b"\xff not a letter\n"
    assert swept(tmp_path, damaged_too=True).damaged == 1
    assert not file.exists()


def test_any_flipped_bit_of_what_is_sent_again_is_damage() -> None:
    line = line_of(a_letter(0), 5)
    told = parsed(line)
    for at in range(len(line) - 1):
        for bit in (1, 4):
            flipped = bytearray(line)
            flipped[at] ^= bit
            try:
                found = parsed(bytes(flipped))
            except DamagedLetter:
                continue
            same = ("tuple", "incarnation", "sequence", "index", "schema", "flags", "event_id")
            assert [getattr(found, name) for name in same] == [getattr(told, name) for name in same], line[at:]


@pytest.mark.parametrize("garbage", [b"", b"\0" * 64, b"\xff\xfe", b"{}\n", b"[]\n\n{", b'{"reason":1}\n'])
def test_garbage_is_no_letter_and_raises_nothing(tmp_path: Path, garbage: bytes) -> None:
    kept(tmp_path, a_letter(0))
    (tmp_path / "dead" / "postgres-0000000000000001.jsonl").write_bytes(garbage)
    (tmp_path / "dead" / "handled").mkdir()
    (tmp_path / "dead" / "handled" / "0000000000000001-1.jsonl").write_bytes(garbage)
    assert left(tmp_path) == [0]
    swept(tmp_path)
    assert left(tmp_path) == [0]
    assert Census(tmp_path).count().by_reason["sqlstate_23514"].letters == 1


# ── the census ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_census_is_what_reading_everything_says_after_every_change(tmp_path: Path) -> None:
    census = Census(tmp_path)
    assert census.count() == ({}, {}, 0, 0)

    def agrees() -> dict[str, Count]:
        counted, found = census.count(), list(read(tmp_path))
        for reason, (letters, size_bytes) in counted.by_reason.items():
            mine = [letter for letter in found if letter.reason == reason]
            assert (letters, size_bytes) == (len(mine), sum(len(line_of(letter, letter.at_us)) for letter in mine))
        assert sum(count.letters for count in counted.by_reason.values()) == len(found)
        assert counted.used_bytes == sum(path.stat().st_size for path in files_of(tmp_path))
        return counted.by_reason

    kept(tmp_path, a_letter(0), a_letter(1, reason="month_dropped"))
    assert agrees().keys() == {"sqlstate_23514", "month_dropped"}
    kept(tmp_path, a_letter(0), a_letter(2))  # one of them again
    agrees()
    taken_away(tmp_path, a_letter(1, reason="month_dropped"), a_letter(0))
    assert agrees().keys() == {"sqlstate_23514"}
    swept(tmp_path)
    agrees()
    file = files_of(tmp_path)[-1]
    file.write_bytes(b"x\n" + file.read_bytes())
    agrees()
    assert census.count().damaged_lines == 1


def test_what_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bytes] = []

    def counting(line: bytes) -> Letter:
        reads.append(line)
        return parsed(line)

    monkeypatch.setattr("storage.dead_letter.census.parsed", counting)
    census = Census(tmp_path)
    kept(tmp_path, *(a_letter(index) for index in range(5)))
    for _ in range(3):
        assert census.count().by_reason["sqlstate_23514"].letters == 5
    assert len(reads) == 5
    kept(tmp_path, a_letter(7))
    assert census.count().by_reason["sqlstate_23514"].letters == 6
    assert len(reads) == 6


def test_names_of_handled_letters_carry_the_process(tmp_path: Path) -> None:
    kept(tmp_path, a_letter(0))
    taken_away(tmp_path, a_letter(0))
    (file,) = (tmp_path / "dead" / "handled").iterdir()
    assert file.name.endswith(f"-{os.getpid()}.jsonl")
