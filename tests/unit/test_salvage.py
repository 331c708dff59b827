"""Whatever happens to a segment's bytes, no event is called certain that was not acknowledged, and few are lost."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.salvage import Stretch, stretches
from ingest.spool import frame, segment
from ingest.spool.frame import HEAD_BYTES
from tests.spooled import Collector

FRAMES, ROWS = 6, 4


class Log(NamedTuple):
    """A segment, where its frames lie, and what is in them."""

    data: bytes
    begin: int
    seed: int
    places: list[tuple[int, int]]
    rows: list[list[bytes]]

    def of(self, data: bytes) -> list[Stretch]:
        """All that is told of other bytes in its place."""
        found = list(stretches(data, self.begin, self.seed))
        assert [one.at for one in found] == [self.begin, *(one.end for one in found[:-1])], "no byte is left out"
        assert not found or found[-1].end >= len(data)
        true = [row for rows in self.rows for row in rows]
        for one in found:
            assert not one.certain or all(row in true for row in one.rows), one
        return found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    directory = tmp_path_factory.mktemp("salvage")
    collector = Collector(directory).append(FRAMES, ROWS).end()
    data = (directory / "spool" / collector.name / segment.name(0, segment.SEALED)).read_bytes()
    seed = frame.seed_of(collector.name)
    _, begin = segment.decode(data)
    places, rows, at = [], [], begin
    while at < len(data):
        found, after = frame.decode(data, at, seed)
        places.append((at, after))
        rows.append(found.tuples())
        at = after
    return Log(data, begin, seed, places, rows)


def certain(found: list[Stretch]) -> list[bytes]:
    return [row for one in found if one.certain for row in one.rows]


def uncertain(found: list[Stretch]) -> list[bytes]:
    return [row for one in found if not one.certain for row in one.rows]


def everything(log: Log) -> list[bytes]:
    return [row for rows in log.rows for row in rows]


def overwritten(log: Log, at: int, data: bytes) -> bytes:
    return log.data[:at] + data + log.data[at + len(data) :]


def test_a_whole_segment_is_certain(log: Log) -> None:
    found = log.of(log.data)
    assert certain(found) == everything(log) and {one.what for one in found} == {"frame"}


def test_one_flipped_bit_anywhere_costs_no_event_unless_it_hides_where_a_frame_begins(log: Log) -> None:
    begin, end = log.places[2]
    for at in range(begin, end):
        found = log.of(overwritten(log, at, bytes([log.data[at] ^ 1 << at % 8])))
        if at < begin + 8:  # the magic number is gone
            assert certain(found) == [row for rows in (*log.rows[:2], *log.rows[3:]) for row in rows]
            assert uncertain(found) == log.rows[2]
        else:
            assert certain(found) == everything(log), at


@pytest.mark.parametrize("seed", range(60))
def test_overwritten_bytes_cost_no_frame_that_they_do_not_touch(log: Log, seed: int) -> None:
    chance = random.Random(seed)
    at = chance.randrange(log.begin, len(log.data) - 300)
    noise = chance.randbytes(chance.choice((2, 7, 40, 300)))
    touched = [begin < at + len(noise) and at < end for begin, end in log.places]
    found = log.of(overwritten(log, at, noise))
    whole = [row for hit, rows in zip(touched, log.rows, strict=True) if not hit for row in rows]
    assert [row for row in everything(log) if row in certain(found) and row in whole] == whole
    whole_tuples = sum(row in overwritten(log, at, noise) for rows in log.rows for row in rows)
    kept = sum(row in [*certain(found), *uncertain(found)] for row in everything(log))
    assert kept >= whole_tuples - 1, "an event whose bytes are all there is found; the first of a frame may be hidden"


def test_a_damaged_table_of_ends_is_no_loss_for_the_head_has_the_sum_of_hashes(log: Log) -> None:
    found = log.of(overwritten(log, log.places[1][0] + HEAD_BYTES, b"\xff" * 4 * ROWS))
    assert certain(found) == everything(log)
    assert [one.what for one in found] == ["frame", "hashed_frame", *["frame"] * (FRAMES - 2)]


def test_a_head_of_which_only_the_checksum_of_its_payload_is_left_is_no_loss(log: Log) -> None:
    at = log.places[3][0]
    found = log.of(overwritten(log, at + 8, b"\xff" * 104))
    assert certain(found) == everything(log)
    assert "headless_frame" in {one.what for one in found}


def test_tuples_with_a_changed_byte_or_two_are_never_certain(log: Log) -> None:
    begin = log.places[2][0] + HEAD_BYTES + 4 * ROWS
    damaged = overwritten(log, begin + 30, bytes([log.data[begin + 30] ^ 3]))
    found = log.of(damaged)
    (damage,) = [one for one in found if one.what == "damaged_frame"]
    assert not damage.certain and damage.head is not None and damage.head.count == ROWS
    assert damage.rows[1:] == log.rows[2][1:] and damage.rows[0] != log.rows[2][0], "it reads well, and is wrong"
    assert certain(found) == [row for rows in (*log.rows[:2], *log.rows[3:]) for row in rows]


@pytest.mark.parametrize("size_bytes", [1, 5, 8, 64, 333])
@pytest.mark.parametrize("where", ["missing", "more"])
def test_missing_or_added_bytes_cost_only_the_frame_they_are_in(log: Log, size_bytes: int, where: str) -> None:
    at = log.places[2][0] + HEAD_BYTES + 40
    data = log.data[:at] + (log.data[at + size_bytes :] if where == "missing" else b"\7" * size_bytes + log.data[at:])
    found = log.of(data)
    assert certain(found) == [row for rows in (*log.rows[:2], *log.rows[3:]) for row in rows]


def test_a_segment_cut_anywhere_yields_its_whole_frames_and_of_the_last_one_its_whole_tuples(log: Log) -> None:
    for cut in range(log.begin + 1, len(log.data), 7):
        found = log.of(log.data[:cut])
        whole = sum(end <= cut for _, end in log.places)
        assert certain(found)[: whole * ROWS] == everything(log)[: whole * ROWS]
        rest = certain(found)[whole * ROWS :] + uncertain(found)
        assert rest == everything(log)[whole * ROWS :][: len(rest)]
        tuples = sum(row in log.data[:cut] for row in everything(log)[whole * ROWS :])
        assert len(rest) == tuples, cut


def test_with_the_seed_of_another_incarnation_nothing_is_certain(log: Log) -> None:
    other = log._replace(seed=log.seed ^ 1)
    found = other.of(log.data)
    assert certain(found) == [] and uncertain(found) == everything(log)


@pytest.mark.parametrize("data", [b"", b"\0" * 4096, b"SVFRAME1" * 99, b"SVSEGMT1", b"\x00\x18\x00\x00\x00\x10" * 99])
def test_what_is_of_no_spool_yields_nothing(data: bytes) -> None:
    assert [row for one in stretches(data, 0, 7) for row in one.rows] == []


def test_the_files_are_only_read(log: Log, tmp_path: Path) -> None:
    from gateway.salvage_commands import salvage

    piece = tmp_path / "piece"
    piece.write_bytes(log.data)
    piece.chmod(0o400)
    before = piece.stat()
    assert salvage([piece], str(tmp_path / "events"), True, None) == []
    assert piece.read_bytes() == log.data and piece.stat().st_mtime_ns == before.st_mtime_ns
    assert (tmp_path / "events").read_bytes().count(b"\n") == FRAMES * ROWS
