"""Suspicions: never too few within the bound, gone beyond it, and undone when nothing was stored."""

import pytest
from structlog.testing import capture_logs

from storage.postgres.fingerprint import Fingerprints
from tests.spooled import Spooled, rows_of

pytestmark = pytest.mark.usefixtures("each_core")


def test_a_frame_is_suspected_when_one_of_its_ids_was_seen() -> None:
    rows, fingerprints = rows_of(6), Fingerprints(100)
    first, second, third, twice = Spooled().slice(rows[:2], rows[2:4], [rows[4], rows[1]], [rows[5], rows[5]]).frames
    assert [fingerprints.suspect(frame) for frame in (first, second, third, twice)] == [False, False, True, True]


@pytest.mark.parametrize("number", [10, 15, 19, 37])
def test_ids_are_remembered_for_at_least_half_the_bound_and_forgotten_at_last(number: int) -> None:
    frames, fingerprints = Spooled().slice(*([row] for row in rows_of(40))).frames, Fingerprints(20)
    for frame in frames[:number]:
        assert not fingerprints.suspect(frame)
        fingerprints.keep()
    assert all(fingerprints.suspect(frame) for frame in frames[number - 10 : number])
    fingerprints.forget()
    assert fingerprints.suspect(frames[0]) == (number < 20)


def test_a_batch_that_was_not_stored_is_not_suspected_when_it_comes_again() -> None:
    stored, lost = Spooled().slice(rows_of(3), rows_of(3)).frames
    fingerprints = Fingerprints(100)
    fingerprints.suspect(stored)
    fingerprints.keep()
    fingerprints.suspect(lost)
    fingerprints.forget()
    assert not fingerprints.suspect(lost)
    assert fingerprints.suspect(stored)


def test_some_ids_are_suspected_for_ever() -> None:
    rows, fingerprints = rows_of(8), Fingerprints(2)
    fingerprints.always([rows[0][6:22]])
    for row in rows[1:]:
        fingerprints.suspect(Spooled().slice([row]).frames[0])
        fingerprints.keep()
    assert fingerprints.suspect(Spooled().slice([*rows_of(1), rows[0]]).frames[0])


def test_ids_suspected_for_ever_are_as_many_as_the_bound_and_beyond_it_everything_is_suspected() -> None:
    rows, fingerprints = rows_of(7), Fingerprints(4)
    frames = Spooled().slice(*([row] for row in rows)).frames
    ids = [row[6:22] for row in rows]
    fingerprints.always(ids[:3])
    fingerprints.always(ids[1:4])  # the same ids again are no more ids
    assert [fingerprints.suspect(frame) for frame in frames] == [True] * 4 + [False] * 3
    fingerprints.forget()
    with capture_logs() as logged:
        fingerprints.always(ids[4:5])
        fingerprints.always(ids[5:6])
    assert [entry["event"] for entry in logged] == ["everything_suspected"]
    assert all(fingerprints.suspect(frame) for frame in frames)
