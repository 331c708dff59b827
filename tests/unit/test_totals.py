"""The books of a position: they add up after every write, and survive being written down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.batch import MONTH_CMCD
from ingest.spool.frame import MASK, MonthTotals, Totals
from ingest.spool.reader import Lost
from ingest.spool.state import State
from storage.postgres.totals import Booking, Books, MonthBook, balanced, decode, encode, month_name, moved

COUNTS = st.integers(0, 1_000)
NOVEMBER = 2026 * 12 + 10


def a_state(sequence: int = 1, rows: int = 0, signals: int = 0) -> State:
    months = {NOVEMBER: MonthTotals(rows, 5), 0: MonthTotals(1, 2)}
    return State(sequence, Totals(rows + signals + 5, rows, signals, 2, 3), months, (1, 0, 2))


def a_booking(stored: int = 0, duplicate: int = 0, dead: int = 0) -> Booking:
    booking = Booking(duplicate=duplicate)
    booking.store(NOVEMBER, stored, 7)
    for _ in range(dead):
        booking.bury("month_dropped")
    return booking


@given(st.lists(st.tuples(COUNTS, COUNTS, st.integers(0, 9), COUNTS), min_size=1, max_size=6))
def test_rows_are_stored_duplicate_dead_or_quarantined_after_every_write(
    writes: list[tuple[int, int, int, int]],
) -> None:
    books, rows = Books(), 0
    for sequence, (stored, duplicate, dead, lost) in enumerate(writes, 1):
        rows += stored + duplicate + dead + lost
        books = moved(books, a_state(sequence, rows), [Lost(rows=lost)], a_booking(stored, duplicate, dead))
        assert balanced(books)
    assert (books.rows, books.unaccounted) == (rows, 0)
    assert books.quarantined.rows == sum(lost for *_, lost in writes)
    assert books.months["2026-11"] == MonthBook(sum(stored for stored, *_ in writes), 7 * len(writes))
    assert decode(encode(books)) == books


def test_lines_of_cmcd_are_left_to_the_stage_and_are_of_no_month() -> None:
    state = State(1, Totals(12, 10, 2, 0, 0), {NOVEMBER: MonthTotals(7, 5), MONTH_CMCD: MonthTotals(3, 9)}, ())
    booking = a_booking(stored=7)
    booking.staged = 3
    books = moved(Books(), state, [], booking)
    assert (books.staged, books.unaccounted) == (3, 0)
    assert balanced(books) and books.months.keys() == {"2026-11"}
    assert books.read_months["cmcd"] == MonthBook(3, 9)
    assert decode(encode(books)) == books


def test_hashes_are_summed_modulo_two_to_the_64() -> None:
    booking = Booking()
    booking.store(NOVEMBER, 1, MASK)
    booking.store(NOVEMBER, 1, 2)
    books = moved(Books(), a_state(rows=2), [], booking)
    assert books.months["2026-11"] == MonthBook(2, 1)
    assert decode(encode(moved(books, a_state(2, 2), [], Booking()))).months["2026-11"].hash == 1


def test_rows_that_no_frame_brought_and_no_damage_explains_are_said_to_be_so() -> None:
    books = moved(Books(), a_state(rows=10), [Lost(rows=1)], a_booking(stored=7))
    assert (books.quarantined.rows, books.unaccounted) == (3, 2)
    assert balanced(books)


def test_more_rows_than_were_received_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="1 rows more"):
        moved(Books(), a_state(rows=1), [], a_booking(stored=2))


def test_what_was_stored_before_damage_hid_it_stays_in_the_books() -> None:
    before = moved(Books(), a_state(3, rows=5, signals=2), [Lost(signals=1)], a_booking(stored=4, duplicate=1))
    hidden = a_state(9, rows=1)._replace(months={NOVEMBER: MonthTotals(1, 1)}, rejected_by_code=(1,))
    assert moved(before, hidden, [], Booking()) == before
    equal = a_state(9, rows=5, signals=2)._replace(months={NOVEMBER: MonthTotals(1, 1)})
    assert moved(before, equal, [], Booking()) == before, "of one month alone, too"


def test_months_are_named_as_people_write_them() -> None:
    assert [month_name(number) for number in (NOVEMBER, NOVEMBER + 2, 0)] == ["2026-11", "2027-01", "unsettled"]
