"""Admission: what is refused before a body is read."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.admission import BODY_TOO_LARGE, DRAINING, OVERLOADED, SPOOL_FULL, Admission

MAX, BUDGET = 1_000, 2_500


def test_a_body_within_the_budget_is_admitted_and_booked() -> None:
    admission = Admission(MAX, BUDGET)
    assert admission.admit(400) is None
    assert admission.inflight_bytes == 400


def test_a_chunked_body_books_the_most_it_may_be() -> None:
    admission = Admission(MAX, BUDGET)
    assert admission.admit(None) is None
    assert admission.inflight_bytes == MAX


def test_bodies_beyond_the_budget_are_told_overloaded_until_others_are_done() -> None:
    admission = Admission(MAX, BUDGET)
    assert [admission.admit(MAX), admission.admit(MAX), admission.admit(MAX)] == [None, None, OVERLOADED]
    admission.release(MAX)
    assert admission.admit(MAX) is None


def test_what_a_body_inflates_to_is_booked_too_or_refused() -> None:
    admission = Admission(MAX, BUDGET)
    assert admission.admit(100) is None
    assert admission.book(BUDGET - 100)
    assert not admission.book(1)
    assert admission.inflight_bytes == BUDGET


def test_a_body_that_announces_too_much_books_nothing() -> None:
    admission = Admission(MAX, BUDGET)
    assert admission.admit(MAX + 1) == BODY_TOO_LARGE
    assert admission.inflight_bytes == 0


def test_a_full_spool_and_a_shutdown_close_the_door() -> None:
    admission = Admission(MAX, BUDGET)
    admission.spool_full = True
    assert admission.admit(1) == SPOOL_FULL
    admission.draining = True
    assert admission.admit(1) == DRAINING
    assert admission.inflight_bytes == 0


@given(st.lists(st.one_of(st.none(), st.integers(0, MAX + 10)), max_size=50))
def test_the_budget_is_never_passed_and_is_whole_again_when_all_are_done(lengths: list[int | None]) -> None:
    admission = Admission(MAX, BUDGET)
    admitted = []
    for length in lengths:
        if admission.admit(length) is None:
            admitted.append(length)
        assert admission.inflight_bytes <= BUDGET
    for length in admitted:
        admission.release(admission.booked(length))
    assert admission.inflight_bytes == 0
