"""The books of a position: what became of every event an incarnation received, up to a sequence. Pure.

    received = rows + signals + duplicates + rejected                 as the spool's frames say
    rows     = stored + duplicate + staged + elsewhere + sum(dead) + quarantined.rows      as this store says

`totals` of ingest_positions is this as JSON; `hash` is a sum of xxh3_64 of COPY tuples modulo 2^64, free of order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Struct

from ingest.batch import MONTH_AD, MONTH_CMCD, MONTH_UNSETTLED
from ingest.spool.frame import MASK, Totals
from ingest.spool.incarnation import State
from ingest.spool.reader import Lost

UNSETTLED = "unsettled"
"""Of `read_months`: rows of broken clocks, whose month is known only here."""
ADS = "ads"
"""Ad events of whatever month. `months` has no hash of them: merged, they are no rows any more."""
CMCD = "cmcd"
"""Lines of CMCD, in `read_months` alone: they are the session stage's, which has books of its own."""

_NAMES: Final = {MONTH_UNSETTLED: UNSETTLED, MONTH_AD: ADS, MONTH_CMCD: CMCD}
"""Of what is no month."""


class Quarantined(Struct, frozen=True):
    """Acknowledged, then taken by damage to the spool."""

    rows: int = 0
    signals: int = 0


class MonthBook(Struct, frozen=True):
    """Rows of a month and the sum of their hashes."""

    rows: int = 0
    hash: int = 0


class Books(Struct, frozen=True):
    """`totals` of one incarnation's position."""

    received: int = 0
    rows: int = 0
    signals: int = 0
    duplicates: int = 0
    """Repeats within a request, found at the door."""
    rejected: int = 0
    rejected_by_code: tuple[int, ...] = ()
    """In the order of ingest.codes."""
    stored: int = 0
    duplicate: int = 0
    """Rows that the store had already."""
    staged: int = 0
    """Lines of CMCD: left to the session stage."""
    elsewhere: int = 0
    """Rows that are another required reader's: of two stores one keeps playback events, the other ad events."""
    dead: dict[str, int] = {}
    """Rows that the store refused, by reason: `month_dropped`, `sqlstate_23514`."""
    quarantined: Quarantined = Quarantined()
    unaccounted: int = 0
    """Of quarantined.rows, those that no damage explained; more than 0 is a bug or damage to more than one place."""
    months: dict[str, MonthBook] = {}
    """`2026-11` → what this incarnation stored under that month, the tuples as they are stored."""
    read_months: dict[str, MonthBook] = {}
    """The same as the frames said it, before any of it was duplicate, dead or repaired."""


@dataclass(slots=True)
class Booking:
    """What one write did with the rows of one incarnation."""

    stored: int = 0
    duplicate: int = 0
    staged: int = 0
    """Lines of CMCD, of which it did nothing."""
    elsewhere: int = 0
    """Rows of another reader's, of which it did nothing either."""
    dead: dict[str, int] = field(default_factory=dict)
    months: dict[int, tuple[int, int]] = field(default_factory=dict)

    def store(self, month: int, rows: int, rows_hash: int) -> None:
        """`rows` rows whose hashes add up to `rows_hash` went into month `month` (year * 12 + month - 1)."""
        before_rows, before_hash = self.months.get(month, (0, 0))
        self.months[month] = (before_rows + rows, before_hash + rows_hash)
        self.stored += rows

    def bury(self, reason: str) -> None:
        """One row went to the dead letters."""
        self.dead[reason] = self.dead.get(reason, 0) + 1


def moved(before: Books, state: State, lost: Sequence[Lost], booking: Booking) -> Books:
    """The books behind a write that took an incarnation to `state`.

    A state that knows of less than these books do stands behind frames that damage hid (ingest.spool.reader): then
    what was known of the door's side stays. Totals run, so the greater number received is of the later frame.
    """
    stored = before.stored + booking.stored
    duplicate = before.duplicate + booking.duplicate
    staged = before.staged + booking.staged
    elsewhere = before.elsewhere + booking.elsewhere
    reasons = {**before.dead, **booking.dead}
    dead = {reason: before.dead.get(reason, 0) + booking.dead.get(reason, 0) for reason in reasons}
    quarantined_rows = before.quarantined.rows + sum(one.rows for one in lost)
    quarantined_signals = before.quarantined.signals + sum(one.signals for one in lost)
    if hidden := state.totals.received < before.received:
        totals = Totals(before.received, before.rows, before.signals, before.duplicates, before.rejected)
    else:
        totals = state.totals
    missing = totals.rows - (stored + duplicate + staged + elsewhere + sum(dead.values()) + quarantined_rows)
    assert missing >= 0, f"{-missing} rows more than were received"
    books = Books(
        *totals,
        rejected_by_code=before.rejected_by_code if hidden else state.rejected_by_code,
        stored=stored,
        duplicate=duplicate,
        staged=staged,
        elsewhere=elsewhere,
        dead=dead,
        quarantined=Quarantined(quarantined_rows + missing, quarantined_signals),
        unaccounted=before.unaccounted + missing,
        months=_added(before.months, booking.months),
        read_months=_fullest(before.read_months, _read_months(state)),
    )
    assert balanced(books)
    return books


def booked(books: Books) -> int:
    """Of the rows read, those of which the store says what became of them."""
    passed_over = books.staged + books.elsewhere
    return books.stored + books.duplicate + passed_over + sum(books.dead.values()) + books.quarantined.rows


def balanced(books: Books) -> bool:
    """Whether the store's side of the equation holds, in sum and by month."""
    return books.rows == booked(books) and sum(month.rows for month in books.months.values()) == books.stored


def encode(books: Books) -> str:
    """As JSON for `ingest_positions.totals`."""
    return msgspec.json.encode(books).decode()


def decode(text: str) -> Books:
    """From there. Raises msgspec.DecodeError, msgspec.ValidationError."""
    return msgspec.json.decode(text, type=Books)


def month_name(number: int) -> str:
    """24322 → `2026-11`; 0 → `unsettled`; 1 → `ads`; 2 → `cmcd`."""
    return _NAMES.get(number) or f"{number // 12:04d}-{number % 12 + 1:02d}"


def _read_months(state: State) -> dict[str, MonthBook]:
    return {month_name(month): MonthBook(*totals) for month, totals in sorted(state.months.items())}


def _fullest(before: Mapping[str, MonthBook], after: Mapping[str, MonthBook]) -> dict[str, MonthBook]:
    """As ingest.spool.state.fullest."""
    return {**after, **{name: book for name, book in before.items() if book.rows > after.get(name, MonthBook()).rows}}


def _added(before: Mapping[str, MonthBook], booked: Mapping[int, tuple[int, int]]) -> dict[str, MonthBook]:
    result = dict(before)
    for number, (rows, hash_sum) in booked.items():
        name = month_name(number)
        old = result.get(name, MonthBook())
        result[name] = MonthBook(old.rows + rows, (old.hash + hash_sum) & MASK)
    return dict(sorted(result.items()))
