"""A start after any crash ends what was left: nothing acknowledged is lost, nothing made up, and may crash too."""

import shutil
from pathlib import Path

import pytest
import structlog
from xxhash import xxh3_64_intdigest

from ingest.spool import frame, segment
from ingest.spool.disk import FileDisk
from ingest.spool.ending import ENDED, read_ending
from ingest.spool.incarnation import WATERMARK, Incarnation
from ingest.spool.quarantine import PIECE
from ingest.spool.recovery import MISSING_MAX, incarnations, recover
from ingest.spool.shortfall import noted
from tests.incarnations import (
    IDENTITY,
    MIXED,
    FailingDisk,
    StillClock,
    UnsyncedDisk,
    a_frame_body,
    begun,
    commit,
    delivered,
    died,
    open_descriptors,
    quarantine_of,
    quarantined,
    segments,
)

CLOCK = StillClock()


@pytest.fixture(autouse=True)
def quiet():
    with structlog.testing.capture_logs() as logs:
        yield logs


def said(logs, event: str) -> int:
    return sum(entry["event"] == event for entry in logs)


def copied(directory: Path, root: Path) -> Path:
    """Into the spool of another data directory."""
    target = root / "spool" / directory.name
    shutil.copytree(directory, target)
    return target


def with_watermark(directory: Path, sequence: int) -> Path:
    (directory / WATERMARK).write_bytes(sequence.to_bytes(8, "little"))
    return directory


def frame_ends(path: Path) -> list[int]:
    """Where the header and each frame end."""
    data = path.read_bytes()
    _, at = segment.decode(data)
    ends = [at]
    while at < len(data):
        _, at = frame.decode(data, at, frame.seed_of(IDENTITY.hex()))
        ends.append(at)
    return ends


@pytest.fixture(params=[10**9, 700], ids=["one segment", "two segments"])
def crashed(request, tmp_path) -> Path:
    incarnation = begun(tmp_path / "crashed" / "spool", segment_size_bytes=request.param)
    for body in MIXED[:5]:
        commit(incarnation, [body])
    commit(incarnation, MIXED[5:])
    return died(incarnation)


def test_a_spool_cut_at_every_byte_yields_a_prefix_with_every_acknowledged_frame(crashed, tmp_path):
    path = segments(crashed)[-1]
    ends, base, data = frame_ends(path), int(path.stem, 16), path.read_bytes()
    whole = delivered(crashed).frames
    for cut in range(len(data) + 1):
        directory = copied(crashed, tmp_path / str(cut))
        (directory / path.name).write_bytes(data[:cut])
        there = base + max(sum(end <= cut for end in ends) - 1, 0)
        with_watermark(directory, max(there - cut % 2, 0))  # after a power cut it may lag
        assert recover(UnsyncedDisk(), directory.parent, CLOCK) == []
        got = delivered(directory)
        assert got.frames == whole[:there] and got.lost == [] and got.finished, cut
        assert got.state.sequence == there and quarantined(directory) == {}
        assert all(left.suffix == ".sealed" for left in segments(directory))
        assert sum(end <= cut for end in ends) == 0 or frame_ends(segments(directory)[-1])[-1] <= cut, "cut to a frame"
        shutil.rmtree(tmp_path / str(cut))


def test_recovery_done_twice_changes_nothing(crashed):
    recover(FileDisk(), crashed.parent, CLOCK)
    before = {path.name: path.read_bytes() for path in crashed.iterdir()}
    recover(FileDisk(), crashed.parent, CLOCK)
    assert {path.name: path.read_bytes() for path in crashed.iterdir()} == before


def test_a_recovery_that_fails_at_any_call_is_finished_by_the_next(crashed, tmp_path):
    path = segments(crashed)[-1]
    with open(path, "ab") as file:
        file.write(b"torn tail")
    counting = FailingDisk()
    recover(counting, copied(crashed, tmp_path / "counted").parent, CLOCK)
    assert len(counting.made) >= 7
    for nth in range(len(counting.made)):
        directory = copied(crashed, tmp_path / str(nth))
        recover(FailingDisk(nth), directory.parent, CLOCK)
        assert recover(UnsyncedDisk(), directory.parent, CLOCK) == []
        got = delivered(directory)
        assert len(got.frames) == len(MIXED) and got.finished and got.lost == [], counting.made[nth]
        assert not list(directory.glob("*.draft")), counting.made[nth]


def test_one_incarnation_that_cannot_be_recovered_keeps_no_other_from_it(tmp_path, quiet):
    first = begun(tmp_path / "spool", identity=b"\0" * 16)
    second = begun(tmp_path / "spool", identity=b"\1" * 16)
    for incarnation in (first, second):
        commit(incarnation, MIXED)
        died(incarnation)
    recover(FailingDisk(1), tmp_path / "spool", CLOCK)
    assert said(quiet, "spool_not_recovered") == 1
    assert not (first.directory / ENDED).exists() and (second.directory / ENDED).exists()


def test_what_a_living_process_holds_is_left_alone_and_named(tmp_path):
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, MIXED)
    assert recover(FileDisk(), tmp_path / "spool", CLOCK) == [IDENTITY.hex()]
    assert not (incarnation.directory / ENDED).exists()
    commit(incarnation, MIXED)
    incarnation.end()
    assert recover(FileDisk(), tmp_path / "spool", CLOCK) == []
    assert len(delivered(incarnation.directory).frames) == 2 * len(MIXED)


def test_damage_in_the_middle_is_left_to_the_reader(crashed):
    path = segments(crashed)[0]
    data = bytearray(path.read_bytes())
    data[frame_ends(path)[0]] ^= 1
    path.write_bytes(data)
    recover(FileDisk(), crashed.parent, CLOCK)
    got = delivered(crashed)
    assert got.sequences == list(range(1, len(MIXED))) and got.lost_rows == 2 and got.finished
    assert len(quarantined(crashed)) == 1


@pytest.mark.parametrize("from_end", range(1, 138, 4))
def test_an_acknowledged_last_frame_that_is_damaged_is_no_torn_tail(crashed, from_end, quiet):
    """The watermark says it was promised: it is quarantined and told, and a reader that had it already is not ahead."""
    path = segments(crashed)[-1]
    data = bytearray(path.read_bytes())
    begin = frame_ends(path)[-2]
    end = begin + frame.HEAD_BYTES + int.from_bytes(data[begin + 16 : begin + 20], "little")
    at = end - from_end
    data[at] ^= 1
    path.write_bytes(data)
    recover(FileDisk(), crashed.parent, CLOCK)
    assert said(quiet, "spool_acknowledged_damaged") == 1
    got = delivered(crashed)
    assert len(got.frames) == len(MIXED) - 1 and got.finished and got.state.sequence == len(MIXED)
    assert list(quarantined(crashed).values()) == [bytes(data[begin:])]
    assert got.lost_rows == (1 if at >= begin + frame.HEAD_BYTES else 0)  # a damaged head can say nothing
    assert delivered(crashed, len(MIXED)).finished


def test_a_watermark_that_cannot_be_true_is_not_believed(crashed, quiet):
    with_watermark(crashed, 2**40)
    recover(FileDisk(), crashed.parent, CLOCK)
    assert said(quiet, "spool_watermark_impossible") == 1
    assert delivered(crashed).finished and delivered(crashed).state.sequence == len(MIXED)
    assert quarantined(crashed) == {}, "it was torn with the power: nobody said that so many frames are missing"


def test_a_watermark_is_believed_to_miss_no_more_than_a_segment_holds(crashed, tmp_path):
    for beyond, believed in ((MISSING_MAX, True), (MISSING_MAX + 1, False)):
        directory = with_watermark(copied(crashed, tmp_path / str(beyond)), len(MIXED) + beyond)
        recover(FileDisk(), directory.parent, CLOCK)
        told = noted(FileDisk(), quarantine_of(directory))
        assert [one.frames for one in told] == [beyond] * believed
        assert all(f"{beyond} frames more" in str(one) for one in told)


def test_an_acknowledged_tail_that_is_gone_is_noted_and_the_rest_of_it_kept(crashed, tmp_path, quiet):
    """Wherever the file is cut: each frame is delivered, noted as missing, or damage; no byte is cut off unseen."""
    path = segments(crashed)[-1]
    ends, base, data = frame_ends(path), int(path.stem, 16), path.read_bytes()
    for cut in range(0, ends[-1], 8):
        directory = copied(crashed, tmp_path / str(cut))
        (directory / path.name).write_bytes(data[:cut])
        for _ in range(2):
            assert recover(UnsyncedDisk(), directory.parent, CLOCK) == []
        got = delivered(directory)
        whole = base + max(sum(end <= cut for end in ends) - 1, 0)
        assert len(got.frames) == whole and got.finished
        begin = max([end for end in ends if end <= cut], default=0)
        kept = {name: piece for name, piece in quarantined(directory).items() if PIECE.fullmatch(name)}
        assert list(kept.values()) == ([data[begin:cut]] if cut > begin else []), cut
        shortfalls = noted(FileDisk(), quarantine_of(directory))
        if got.state.sequence == whole:
            assert shortfalls == [(directory.name, whole, len(MIXED))] and shortfalls[0].frames == len(MIXED) - whole
        else:
            assert shortfalls == [] and got.state.sequence == len(MIXED)
        shutil.rmtree(tmp_path / str(cut))
    assert said(quiet, "spool_watermark_impossible") and said(quiet, "spool_acknowledged_damaged")


def test_segments_that_are_all_gone_are_noted(crashed):
    for path in segments(crashed):
        path.unlink()
    recover(FileDisk(), crashed.parent, CLOCK)
    assert noted(FileDisk(), quarantine_of(crashed)) == [(crashed.name, 0, len(MIXED))]


def test_a_shortfall_that_cannot_be_kept_cuts_nothing_until_it_can(crashed, tmp_path):
    path = segments(crashed)[-1]
    path.write_bytes(path.read_bytes()[: frame_ends(path)[0] + 64])
    counting = FailingDisk()
    recover(counting, copied(crashed, tmp_path / "counted").parent, CLOCK)
    for nth in range(len(counting.made)):
        directory = copied(crashed, tmp_path / str(nth))
        recover(FailingDisk(nth), directory.parent, CLOCK)
        assert recover(UnsyncedDisk(), directory.parent, CLOCK) == []
        assert len(noted(FileDisk(), quarantine_of(directory))) == 1, counting.made[nth]
        assert path.read_bytes()[-64:] in quarantined(directory).values(), counting.made[nth]
        assert delivered(directory).finished and not list(quarantine_of(directory).glob("*.draft"))


@pytest.mark.parametrize("watermark", [b"", b"\1\0\0", None])
def test_a_watermark_torn_or_missing_is_none(crashed, watermark):
    (crashed / WATERMARK).unlink()
    if watermark is not None:
        (crashed / WATERMARK).write_bytes(watermark)
    recover(FileDisk(), crashed.parent, CLOCK)
    assert len(delivered(crashed).frames) == len(MIXED)


def test_a_last_segment_without_a_whole_header_held_nothing(tmp_path):
    incarnation = begun(tmp_path / "spool", segment_size_bytes=1)
    commit(incarnation, MIXED[:1])
    directory = died(incarnation)
    whole = segments(directory)[-1].read_bytes()
    for cut in range(len(whole)):
        copy = copied(directory, tmp_path / str(cut))
        segments(copy)[-1].write_bytes(whole[:cut])
        recover(UnsyncedDisk(), copy.parent, CLOCK)
        got = delivered(copy)
        assert len(got.frames) == 1 and got.finished and len(segments(copy)) == 1


@pytest.mark.parametrize("at", [0, frame.HEAD_BYTES], ids=["in its head", "in its payload"])
@pytest.mark.parametrize("left_bytes", [0, 35])
def test_frames_before_a_segment_that_was_just_begun_are_there_by_its_name(tmp_path, at, left_bytes, quiet):
    """The last frame before it is damaged: promised, delivered perhaps, and not missing."""
    incarnation = begun(tmp_path / "spool", segment_size_bytes=700)
    while len(segments(incarnation.directory)) < 3:
        commit(incarnation, [a_frame_body([b"row"])])
    directory = died(incarnation)
    *_, before, last = segments(directory)
    last.write_bytes(last.read_bytes()[:left_bytes])
    data = bytearray(before.read_bytes())
    data[frame_ends(before)[-2] + at] ^= 1
    before.write_bytes(data)
    recover(UnsyncedDisk(), directory.parent, CLOCK)
    base = int(last.stem, 16)
    got = delivered(directory)
    assert got.sequences == list(range(base - 1)) and got.state.sequence == base and got.finished
    assert got.lost_rows == (1 if at else 0), "a damaged head can say nothing"
    assert len(quarantined(directory)) == 1 and noted(UnsyncedDisk(), quarantine_of(directory)) == []
    assert delivered(directory, base).finished, "nor is who had it all ahead"


def test_a_rename_that_was_lost_is_made_again(tmp_path):
    """Power failed between a roll's rename and the fsync of its directory, or behind an ending."""
    incarnation = begun(tmp_path / "spool", segment_size_bytes=1)
    for body in MIXED[:3]:
        commit(incarnation, [body])
    directory = died(incarnation)
    for path in segments(directory):
        path.rename(path.with_suffix(".open"))
    recover(FileDisk(), directory.parent, CLOCK)
    assert {path.suffix for path in segments(directory)} == {".sealed"}
    segments(directory)[-1].rename(segments(directory)[-1].with_suffix(".open"))
    ended = (directory / ENDED).read_bytes()
    recover(FileDisk(), directory.parent, CLOCK)
    assert {path.suffix for path in segments(directory)} == {".sealed"} and (directory / ENDED).read_bytes() == ended
    assert len(delivered(directory).frames) == 3


def test_an_incarnation_is_seen_whole_or_not_at_all(tmp_path):
    """Whatever call of its making fails, there is no descriptor and, at last, no directory."""
    counting = FailingDisk()
    Incarnation.begin(tmp_path / "counted", counting, CLOCK, IDENTITY).end()
    made = counting.made.index("rename") + 1
    before = open_descriptors()
    for nth in range(made):
        for broken in (False, True):
            root = tmp_path / f"{nth}{broken}"
            disk = FailingDisk(nth)
            disk.broken = broken
            with pytest.raises(OSError, match="No space"):
                Incarnation.begin(root, disk, CLOCK, IDENTITY)
            assert incarnations(FileDisk(), root) == []
            if not broken:
                assert FileDisk().list(root) == [], counting.made[nth]
            recover(FileDisk(), root, CLOCK)
            assert FileDisk().list(root) == []
    assert open_descriptors() == before


def test_the_remains_of_a_beginning_are_cleared_unless_its_process_lives(tmp_path):
    root = tmp_path / "spool"
    unborn = root / (IDENTITY.hex() + ".new")
    unborn.mkdir(parents=True)
    (unborn / "0000000000000000.open").write_bytes(b"")
    held = FileDisk().lock(unborn / "lock")
    assert held is not None
    assert recover(FileDisk(), root, CLOCK) == [] and unborn.exists()
    FileDisk().close(held)
    assert recover(FileDisk(), root, CLOCK) == [] and not unborn.exists()


def test_a_newer_version_is_left_as_it_is(crashed, quiet):
    path = segments(crashed)[-1]
    data = bytearray(path.read_bytes())
    size_bytes = frame_ends(path)[0]
    data[8] = 2
    data[size_bytes - 8 : size_bytes] = xxh3_64_intdigest(bytes(data[: size_bytes - 8])).to_bytes(8, "little")
    path.write_bytes(data)
    recover(FileDisk(), crashed.parent, CLOCK)
    assert path.read_bytes() == data and not (crashed / ENDED).exists()
    assert said(quiet, "spool_not_recovered") == 1


def test_an_empty_spool_and_strange_names_are_no_trouble(tmp_path):
    assert recover(FileDisk(), tmp_path / "spool", CLOCK) == []
    for name in ("lost+found", "x" * 32, "tombstones"):
        (tmp_path / "spool" / name).mkdir(parents=True)
    assert recover(FileDisk(), tmp_path / "spool", CLOCK) == []
    assert incarnations(FileDisk(), tmp_path / "spool") == []


def test_the_ending_says_what_the_last_frame_said(crashed):
    recover(FileDisk(), crashed.parent, CLOCK)
    ending, got = read_ending(FileDisk(), crashed / ENDED), delivered(crashed)
    assert ending is not None
    assert (ending.sequence, ending.totals, ending.months) == got.state[:3]
    assert a_frame_body().month in ending.months and ending.at_us == CLOCK.now_us()
