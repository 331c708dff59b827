"""A position is the number of the next frame; what it cannot be is refused with what is there."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.spool.disk import FileDisk
from ingest.spool.frame import MAGIC_BYTES
from ingest.spool.incarnation import Group
from ingest.spool.reader import PositionAhead, SegmentsGone
from ingest.spool.recovery import recover
from tests.damaged_log import overwrite
from tests.incarnations import (
    IDENTITY,
    MONTH,
    StillClock,
    a_frame_body,
    a_reader,
    begun,
    commit,
    delivered,
    died,
    numbered,
    rows,
    segments,
)

pytestmark = pytest.mark.usefixtures("each_core")


def test_a_position_whose_segments_are_gone_is_refused_with_what_is_left(tmp_path):
    incarnation = begun(tmp_path / "spool", segment_size_bytes=1)
    for body in numbered(5):
        commit(incarnation, [body])
    incarnation.end()
    files = segments(incarnation.directory)
    for path in files[:2]:
        path.unlink()
    for sequence in (0, 1):
        with pytest.raises(SegmentsGone) as caught:
            a_reader(incarnation.directory, sequence)
        assert caught.value.first == 2
    assert delivered(incarnation.directory, 2).tuples == rows(2, 5)
    for path in files[2:]:
        path.unlink()
    with pytest.raises(SegmentsGone) as caught:
        a_reader(incarnation.directory, 4)
    assert caught.value.first == 5
    got = delivered(incarnation.directory, 5)
    assert got.finished and got.lost == [] and got.state.totals.rows == 5
    with pytest.raises(SegmentsGone):
        a_reader(tmp_path / "spool" / ("ab" * 16), 1)
    reading = a_reader(tmp_path / "spool" / ("ab" * 16), 0).read(10**6)  # it may have had its beginning only
    assert reading.frames == [] and reading.lost == []


def test_segments_removed_under_a_reader_stop_it_and_a_new_one_says_why(tmp_path):
    incarnation = begun(tmp_path / "spool", segment_size_bytes=1)
    for body in numbered(5):
        commit(incarnation, [body])
    reader = a_reader(incarnation.directory)
    assert len(reader.read(1).frames) == 1
    for path in segments(incarnation.directory)[:3]:
        path.unlink()
    reading = reader.read(10**6)
    assert reading.frames == [] and reading.lost == [] and not reader.finished
    with pytest.raises(SegmentsGone):
        a_reader(incarnation.directory, reader.state.sequence)


def test_a_position_ahead_of_an_ended_incarnation_is_refused(tmp_path):
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, numbered(3))
    incarnation.end()
    with pytest.raises(PositionAhead):
        a_reader(incarnation.directory, 4)


@pytest.mark.parametrize("frames_hit", [1, 2], ids=["the last frame", "the last two"])
@pytest.mark.parametrize("promised", [True, False], ids=["with its watermark", "after a power cut"])
def test_what_was_delivered_before_damage_hid_it_stays_delivered_and_is_not_lost_a_negative_number_of_times(
    tmp_path, frames_hit, promised
):
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, [a_frame_body([b"row", b"row"]) for _ in range(4)])
    reader = a_reader(incarnation.directory)
    before = reader.read(10**6).state
    directory = died(incarnation)
    (path,) = segments(directory)
    data = bytearray(path.read_bytes())
    at = data.find(MAGIC_BYTES)
    for _ in range(4 - frames_hit):
        at = data.find(MAGIC_BYTES, at + 1)
    data[at + 20 :] = bytes(len(data) - at - 20)
    path.write_bytes(data)
    if not promised:
        (directory / "watermark").write_bytes(bytes(8))
        reader = a_reader(directory, before.sequence)
    assert recover(FileDisk(), tmp_path / "spool", StillClock()) == []
    reading = reader.read(10**6)
    assert reading.frames == [] and reading.lost == [] and reading.state.sequence == before.sequence
    assert reader.finished


@pytest.mark.parametrize("opened", ["before", "behind"])
@pytest.mark.parametrize("delivered_frames", [1, 2, 3])
def test_an_end_that_damage_hid_is_reached_and_takes_nothing_back(tmp_path, opened, delivered_frames):
    """The last frame is hit before it was delivered, those before it after they were: nobody knows its totals."""
    incarnation = begun(tmp_path / "spool")
    for number in range(4):
        commit(incarnation, [a_frame_body([b"row"] * (number + 1))])
    directory = incarnation.directory
    whole = a_reader(directory).read(10**6)
    (path,) = segments(directory)
    data = path.read_bytes()
    starts = [match.start() for match in re.finditer(re.escape(MAGIC_BYTES), data)]
    overwrite(path, data[: starts[-1] + 20] + bytes(len(data) - starts[-1] - 20))
    reader = a_reader(directory)
    while reader.state.sequence < delivered_frames:
        reader.read(1)
    died(incarnation)
    overwrite(path, data[: starts[0] + 20] + bytes(len(data) - starts[0] - 20))
    assert recover(FileDisk(), tmp_path / "spool", StillClock()) == []
    if opened == "behind":
        reader = a_reader(directory, delivered_frames)
    reading = reader.read(10**6)
    assert (reading.lost, reading.state.sequence, reader.finished) == ([], 4, True)
    if opened == "before":  # it goes on with what it had read ahead while that was whole
        assert reading.state.totals == (whole.frames[:delivered_frames] + reading.frames)[-1].totals
    else:
        assert reading.frames == []
    assert a_reader(directory, 4).state.sequence == 4


def test_a_month_that_damage_hid_stays_as_delivered_though_a_later_frame_of_another_tells_the_end(tmp_path):
    incarnation = begun(tmp_path / "spool")
    months = [MONTH, MONTH, MONTH - 1, MONTH]
    for number, month in enumerate(months):
        commit(incarnation, [a_frame_body([b"row"] * (number + 1), month=month)])
    (path,) = segments(incarnation.directory)
    data = bytearray(path.read_bytes())
    starts = [match.start() for match in re.finditer(re.escape(MAGIC_BYTES), data)]
    data[starts[3] + 9] ^= 1
    overwrite(path, data)
    reader = a_reader(incarnation.directory)
    before = reader.read(10**6).state
    assert before.sequence == 3
    data[starts[1] + 9] ^= 1
    overwrite(path, data)
    recover_dead(incarnation)
    reading = reader.read(10**6)
    assert reading.lost == [] and reading.state == before._replace(sequence=4) and reader.finished


def recover_dead(incarnation):
    directory = died(incarnation)
    assert recover(FileDisk(), directory.parent, StillClock()) == []


def test_frames_behind_the_ending_are_never_delivered(tmp_path):
    incarnation = begun(tmp_path / "spool")
    commit(incarnation, numbered(3))
    incarnation.end()
    extra = incarnation.encode(a_frame_body([b"not promised"]), 1)
    with open(segments(incarnation.directory)[0], "ab") as file:
        file.write(extra)
    got = delivered(incarnation.directory)
    assert got.tuples == rows(0, 3) and got.finished


def test_the_state_at_a_position_does_not_depend_on_where_the_segments_begin(tmp_path):
    """`verify` compares it with what the store took over when it was there."""
    for name, segment_size_bytes in (("one", 10**9), ("many", 1)):
        incarnation = begun(tmp_path / name / "spool", segment_size_bytes=segment_size_bytes)
        for body in numbered(5):
            chunk = incarnation.encode(body, 1)
            incarnation.note(1, 0, {1: 1})  # of a request that came before the group was closed
            incarnation.commit(Group([chunk], incarnation.state()))
            if incarnation.full:
                incarnation.roll()
        incarnation.end()
    one, many = tmp_path / "one/spool" / IDENTITY.hex(), tmp_path / "many/spool" / IDENTITY.hex()
    assert len(segments(many)) > len(segments(one)) == 1
    for sequence in range(6):
        assert a_reader(one, sequence).state == a_reader(many, sequence).state


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 30), st.integers(1, 600))
def test_a_reader_opened_anywhere_delivers_exactly_the_rest(tmp_path_factory, segment_size_bytes, sequence, size_bytes):
    incarnation = begun(tmp_path_factory.mktemp("data") / "spool", segment_size_bytes=segment_size_bytes)
    for body in numbered(30):
        commit(incarnation, [body])
    incarnation.end()
    whole = delivered(incarnation.directory)
    got = delivered(incarnation.directory, sequence, size_bytes=size_bytes)
    assert got.tuples == rows(sequence, 30) and got.lost == [] and got.finished
    assert got.state == whole.state
    assert a_reader(incarnation.directory, sequence).state.sequence == sequence
