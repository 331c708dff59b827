"""Admission: what is refused before a body is read, and what bodies in flight may take."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.admission import ARRIVING_SHARE, BODY_TOO_LARGE, DRAINING, OVERLOADED, SPOOL_FULL, Admission

MAX, BUDGET = 1_000, 2_500


def test_a_body_that_is_announced_costs_nothing_until_it_comes() -> None:
    admission = Admission(MAX, BUDGET)
    assert [admission.admit(MAX) for _ in range(100)] == [None] * 100
    assert admission.admit(None) is None, "chunked"
    assert admission.inflight_bytes == 0


def test_a_body_beyond_what_is_left_is_told_overloaded_until_others_are_done() -> None:
    admission = Admission(MAX, BUDGET)
    assert admission.book(2_000)
    assert admission.admit(600) == OVERLOADED and not admission.book(600)
    assert admission.admit(400) is None
    admission.release(2_000)
    assert admission.admit(600) is None


def test_however_much_has_arrived_of_bodies_that_stall_whole_ones_get_in() -> None:
    admission = Admission(MAX, BUDGET)
    while admission.arrive(100):
        pass
    assert admission.arriving_bytes <= BUDGET * ARRIVING_SHARE < admission.arriving_bytes + 100
    assert admission.admit(500) is None and admission.book(500)


def test_a_body_that_is_whole_no_longer_counts_as_arriving() -> None:
    admission = Admission(MAX, BUDGET)
    assert admission.arrive(800)
    admission.completed(800)
    assert (admission.inflight_bytes, admission.arriving_bytes) == (800, 0)
    admission.release(800)
    assert admission.inflight_bytes == 0


def test_a_body_that_is_larger_than_one_may_be_is_refused_before_it_is_read() -> None:
    assert Admission(MAX, BUDGET).admit(MAX + 1) == BODY_TOO_LARGE


def test_a_full_spool_and_a_shutdown_close_the_door_and_say_when_to_come_back() -> None:
    admission = Admission(MAX, BUDGET)
    admission.spool_full, admission.room_in_s = True, 17.0
    assert admission.admit(1) == SPOOL_FULL and admission.wait_s(SPOOL_FULL) == 17.0
    admission.draining = True
    assert admission.admit(1) == DRAINING and 0 < admission.wait_s(DRAINING) < 17.0


@given(st.lists(st.tuples(st.integers(0, MAX), st.booleans()), max_size=30))
def test_the_budget_is_never_overdrawn_and_all_of_it_comes_back(bodies: list[tuple[int, bool]]) -> None:
    admission = Admission(MAX, BUDGET)
    booked = []
    for size_bytes, whole in bodies:
        if admission.book(size_bytes) if whole else admission.arrive(size_bytes):
            booked.append((size_bytes, whole))
        assert 0 <= admission.arriving_bytes <= admission.inflight_bytes <= BUDGET
    for size_bytes, whole in booked:
        if not whole:
            admission.completed(size_bytes)
        admission.release(size_bytes)
    assert (admission.inflight_bytes, admission.arriving_bytes) == (0, 0)


def test_bodies_leave_room_for_pixels_and_pixels_end_somewhere_too() -> None:
    admission = Admission(MAX, BUDGET)
    assert admission.book(BUDGET)
    assert not admission.book(1)
    taken = 0
    while admission.admit_pixel(10) is None:
        admission.occupy(10)
        taken += 10
    assert BUDGET // 16 - 10 < taken <= BUDGET // 16
    assert admission.admit_pixel(10) == OVERLOADED
    admission.spool_full = True
    assert admission.admit_pixel(10) == SPOOL_FULL
    admission.draining = True
    assert admission.admit_pixel(10) == DRAINING
    admission.release(BUDGET + taken)
    assert admission.inflight_bytes == 0
