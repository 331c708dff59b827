"""What may be removed is decided on plain values; removing it is safe to interrupt, and never makes a hole."""

import os

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ingest.spool.disk import FileDisk
from ingest.spool.ending import ENDED, TOMBSTONES, read_ending
from ingest.spool.incarnation import Incarnation
from ingest.spool.reader import SegmentsGone
from ingest.spool.recovery import incarnations, recover
from ingest.spool.retention import Deliveries, Kept, removable, remove, sealed_segments, used_bytes
from tests.incarnations import (
    IDENTITY,
    FailingDisk,
    StillClock,
    UnsyncedDisk,
    a_frame_body,
    begun,
    commit,
    delivered,
    segments,
)

NAME = IDENTITY.hex()
NOW_S = 10_000_000_000.0


@pytest.fixture(autouse=True)
def quiet():
    with structlog.testing.capture_logs():
        yield


def a_segment(
    base: int = 0, until: int = 10, age_s: float = 1_000, incarnation: str = "a", size_bytes: int = 100
) -> Kept:
    return Kept(incarnation, base, until, size_bytes, age_s)


def test_what_every_reader_delivered_and_is_old_enough_goes():
    assert removable([a_segment()], {"postgres": {"a": 10}, "redis": {"a": 12}}, 900, 0) == [a_segment()]
    assert removable([a_segment()], {"postgres": {"a": 9}, "redis": {"a": 12}}, 900, 0) == []
    assert removable([a_segment()], {"postgres": {"a": 10}, "redis": {}}, 900, 10**9) == []
    assert removable([a_segment(age_s=899)], {"postgres": {"a": 10}}, 900, 0) == []


def test_without_any_reader_nothing_goes():
    assert removable([a_segment()], {}, 0, 10**9) == []


def test_too_much_takes_delivered_segments_before_their_time_oldest_first():
    young = [a_segment(age_s=10), a_segment(age_s=30, incarnation="b"), a_segment(age_s=20, incarnation="c")]
    positions = {"postgres": {"a": 10, "b": 10, "c": 10}}
    assert removable(young, positions, 900, 0) == []
    assert removable(young, positions, 900, 1) == [young[1]]
    assert removable(young, positions, 900, 101) == [young[1], young[2]]


def test_the_time_that_is_kept_counts_from_delivery_and_anew_when_a_store_fell_back():
    deliveries, there = Deliveries(), [a_segment(age_s=5_000), a_segment(base=10, until=20, age_s=4_000)]

    def ages(monotonic_s: float, postgres: int, redis: int = 20) -> list[float]:
        positions = {"postgres": {"a": postgres}, "redis": {"a": redis}}
        return [kept.age_s for kept in deliveries.aged(there, positions, monotonic_s)]

    assert ages(100.0, 9) == [0, 0]
    assert ages(105.0, 10) == [0, 0], "delivered just now, however long ago it was sealed"
    assert ages(110.0, 20, redis=12) == [5, 0]
    assert ages(115.0, 20) == [10, 0]
    assert ages(120.0, 20) == [15, 5]
    assert ages(125.0, 15) == [20, 0], "the store came back as an older one"
    assert ages(130.0, 20) == [25, 0]
    assert Deliveries().aged(there, {"postgres": {"a": 20}}, 130.0)[0].age_s == 0, "a start forgets"


some_segments = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 5), st.floats(-5, 2_000), st.integers(1, 1_000)), max_size=12
)


@given(
    some_segments,
    st.dictionaries(st.sampled_from(["postgres", "redis"]), st.dictionaries(st.sampled_from("ab"), st.integers(0, 40))),
    st.floats(0, 1_000),
    st.integers(-100, 5_000),
    st.randoms(),
)
def test_what_goes_was_delivered_is_a_beginning_and_is_no_more_than_needed(
    shapes, positions, kept_s, excess_bytes, order
):
    kept, bases = [], {"a": 0, "b": 0}
    for incarnation, frames, age_s, size_bytes in shapes:
        base = bases[incarnation]
        bases[incarnation] = base + frames
        kept.append(Kept(incarnation, base, base + frames, size_bytes, age_s))
    order.shuffle(kept)

    gone = removable(kept, positions, kept_s, excess_bytes)

    assert len(set(gone)) == len(gone) and set(gone) <= set(kept)
    for one in gone:
        assert all(read.get(one.incarnation, 0) >= one.until for read in positions.values()), "undelivered"
        before = [other for other in kept if other.incarnation == one.incarnation and other.base < one.base]
        assert set(before) <= set(gone[: gone.index(one)]), "a hole"
    young = [one for one in gone if one.age_s < kept_s]
    taken_bytes = sum(one.size_bytes for one in gone)
    assert not young or taken_bytes - max(one.size_bytes for one in gone) < max(excess_bytes, 0) + sum(
        one.size_bytes for one in gone if one.age_s >= kept_s
    )
    left = [one for one in kept if one not in gone]
    deliverable = [one for one in left if all(read.get(one.incarnation, 0) >= one.until for read in positions.values())]
    if positions and deliverable:
        assert taken_bytes >= excess_bytes or not deliverable, "too much stays though it was delivered"


def an_incarnation(tmp_path, frames: int = 4) -> Incarnation:
    incarnation = begun(tmp_path / "spool", segment_size_bytes=1)
    for number in range(frames):
        commit(incarnation, [a_frame_body([b"row %d" % number])])
    return incarnation


def test_the_segments_of_a_living_incarnation_are_listed_without_the_open_one(tmp_path):
    incarnation = an_incarnation(tmp_path)
    os.utime(segments(incarnation.directory)[0], (5, NOW_S - 60))
    listed = sealed_segments(FileDisk(), tmp_path / "spool", NOW_S)
    assert [(kept.base, kept.until) for kept in listed] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert listed[0].age_s == 60 and listed[0].incarnation == NAME
    sizes = [path.stat().st_size for path in segments(incarnation.directory)]
    assert [kept.size_bytes for kept in listed] == sizes[:-1]
    assert used_bytes(FileDisk(), tmp_path / "spool") == sum(sizes)
    incarnation.end()
    assert [(kept.base, kept.until) for kept in sealed_segments(FileDisk(), tmp_path / "spool", NOW_S)][-1] == (4, 4)


def test_an_incarnation_of_which_everything_goes_leaves_its_tombstone(tmp_path):
    incarnation, root = an_incarnation(tmp_path), tmp_path / "spool"
    incarnation.end()
    ending = read_ending(FileDisk(), incarnation.directory / ENDED)
    everything = sealed_segments(FileDisk(), root, NOW_S)
    remove(FileDisk(), root, everything[:2])
    assert delivered(incarnation.directory, 2).sequences == [2, 3]
    with pytest.raises(SegmentsGone):
        delivered(incarnation.directory, 1)
    remove(FileDisk(), root, everything)
    assert FileDisk().list(root) == [TOMBSTONES] and FileDisk().list(root / TOMBSTONES) == [NAME]
    assert read_ending(FileDisk(), root / TOMBSTONES / NAME) == ending
    assert used_bytes(FileDisk(), root) == 0 and sealed_segments(FileDisk(), root, NOW_S) == []
    remove(FileDisk(), root, everything)
    assert FileDisk().list(root) == [TOMBSTONES]


def test_a_living_incarnation_keeps_its_open_segment_and_gets_no_tombstone(tmp_path):
    incarnation, root = an_incarnation(tmp_path), tmp_path / "spool"
    remove(FileDisk(), root, sealed_segments(FileDisk(), root, NOW_S))
    assert len(segments(incarnation.directory)) == 1 and FileDisk().list(root) == [NAME]
    commit(incarnation, [a_frame_body([b"row 4"])])
    assert delivered(incarnation.directory, 4).tuples == [b"row 4"]


def test_a_removal_that_fails_at_any_call_loses_no_tombstone_and_is_finished_by_the_next(tmp_path):
    def prepared(name: str) -> Incarnation:
        incarnation = an_incarnation(tmp_path / name, frames=2)
        incarnation.end()
        return incarnation

    counting = FailingDisk()
    root = prepared("counted").directory.parent
    remove(counting, root, sealed_segments(FileDisk(), root, NOW_S))
    for nth, call in enumerate(counting.made):
        for finish in ("remove", "recover"):
            directory = prepared(f"{nth}{finish}").directory
            root, ending = directory.parent, read_ending(FileDisk(), directory / ENDED)
            listed = sealed_segments(FileDisk(), root, NOW_S)
            with pytest.raises(OSError, match="No space"):
                remove(FailingDisk(nth), root, listed)
            if incarnations(FileDisk(), root):
                assert read_ending(FileDisk(), directory / ENDED) == ending, call
                assert delivered(directory, 2).finished, call
            else:
                assert read_ending(FileDisk(), root / TOMBSTONES / NAME) == ending, call
            if finish == "recover":
                assert recover(UnsyncedDisk(), root, StillClock()) == []
                assert not list(root.glob("*.dead")), call
            remove(UnsyncedDisk(), root, sealed_segments(FileDisk(), root, NOW_S))
            assert FileDisk().list(root) == [TOMBSTONES], call
            assert FileDisk().list(root / TOMBSTONES) == [NAME], call
            assert read_ending(FileDisk(), root / TOMBSTONES / NAME) == ending, call


def test_an_ended_incarnation_without_segments_is_put_away(tmp_path):
    incarnation, root = an_incarnation(tmp_path), tmp_path / "spool"
    incarnation.end()
    for path in segments(incarnation.directory):
        path.unlink()
    remove(FileDisk(), root, [])
    assert FileDisk().list(root) == [TOMBSTONES]


def test_a_damaged_ending_keeps_the_last_segment_until_it_was_recovered(tmp_path):
    incarnation, root = an_incarnation(tmp_path), tmp_path / "spool"
    incarnation.end()
    (incarnation.directory / ENDED).write_bytes(b"")
    listed = sealed_segments(FileDisk(), root, NOW_S)
    assert [kept.base for kept in listed] == [0, 1, 2, 3]
    remove(FileDisk(), root, listed)
    assert len(segments(incarnation.directory)) == 1
    recover(FileDisk(), root, StillClock())
    remove(FileDisk(), root, sealed_segments(FileDisk(), root, NOW_S))
    ending = read_ending(FileDisk(), root / TOMBSTONES / NAME)
    assert ending is not None and ending.sequence == 4
