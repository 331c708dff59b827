"""For `verify`: each other table of the CQL store against events_by_session, which says by keys what it has to hold.

Other gateways write meanwhile and rows leave by age, while one table is read an hour after the other. So rows are
compared that were received in a Span in which neither should happen, and what differs is looked for once more.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from xxhash import xxh3_64_intdigest

from gateway.cql_sums import RECORD, Sums, plus
from gateway.report import Report
from ingest.tuple import COLUMNS
from storage.scylla.driver import Row
from storage.scylla.scanning import BY_CONTENT, BY_EDGE, BY_PROFILE, BY_SESSION, Table
from storage.scylla.stored_rows import StoredRows

KEY: Final = "event_id, occurred_at_us, session_id, content_id, received_at_us"
"""What a row of one table has in common with its row in another; the last one changes when it is sent again."""
BUCKETS: Final = 4_096
"""Of keys: where two tables differ, those in such buckets alone are held against each other."""
NAMED_BUCKETS_MAX: Final = 64
"""Looked into: a sixty-fourth of the keys is held in memory."""

_NAMES: Final = [column.name for column in COLUMNS]
_EVENT, _AT, _SESSION, _CONTENT, _RECEIVED, _PROFILE, _TYPE = map(
    _NAMES.index,
    ("event_id", "occurred_at", "session_id", "content_id", "received_at", "profile_id", "event_type"),
)  # fmt: skip


class Span(NamedTuple):
    """Times of receipt, microseconds since 1970."""

    since_us: int
    until_us: int

    def holds(self, received_us: Any) -> bool:
        """Whether a row that was received then is compared."""
        return bool(self.since_us <= received_us < self.until_us)


class Mirror(NamedTuple):
    """A table that repeats events_by_session."""

    table: Table
    holds: Callable[[Row], bool]
    """Whether a row of events_by_session has to be in it."""


MIRRORS: Final = (
    Mirror(BY_CONTENT, lambda _: True),
    Mirror(BY_PROFILE, lambda row: row[_PROFILE] is not None),
    Mirror(BY_EDGE, lambda row: row[_TYPE] == "error"),
)


def add_due(sums: list[Sums], row: Row, span: Span) -> None:
    """A row of events_by_session to the sums of those MIRRORS in which it has to be."""
    if not span.holds(row[_RECEIVED]):
        return
    key = _key(row)
    bucket, hashed = bucket_of(key), _hash(key)
    for mirror, wanted in zip(MIRRORS, sums, strict=True):
        if mirror.holds(row):
            plus(wanted, bucket, hashed)


def add_key(sums: list[Sums], row: Row, span: Span) -> None:
    """A row of a mirror, by KEY."""
    if span.holds(row[4]):
        plus(sums[0], bucket_of(row), _hash(row[:4]))


def _key(row: Row) -> Row:
    """The columns of KEY, of those of RECORD, without the receipt."""
    return row[_EVENT], row[_AT], row[_SESSION], row[_CONTENT]


def bucket_of(key: Row) -> int:
    """Of an event and its session, whatever its content: a table that has it twice has both in one bucket."""
    return _hash(key[:3]) % BUCKETS


def _hash(key: Row) -> int:
    return xxh3_64_intdigest(" ".join(map(str, key)).encode())


class Collecting:
    """A Part for all ranges: the keys of some buckets."""

    def __init__(self, buckets: set[Any], span: Span, mirror: Mirror | None = None) -> None:
        """`mirror`: rows are of events_by_session, and keys those that have to be there."""
        self.keys: set[Row] = set()
        """Of rows in the span."""
        self.all: set[Row] = set()
        """Of all rows, whenever received, also of those that need not be there."""
        self._buckets = buckets
        self._span = span
        self._mirror = mirror

    async def take(self, rows: list[Row]) -> None:
        for row in rows:
            key, received_us = (row[:4], row[4]) if self._mirror is None else (_key(row), row[_RECEIVED])
            if bucket_of(key) in self._buckets:
                self.all.add(key)
                if self._span.holds(received_us) and (self._mirror is None or self._mirror.holds(row)):
                    self.keys.add(key)

    def whole(self) -> None:
        """Nothing is left to do."""


async def check_mirror(rows: StoredRows, mirror: Mirror, there: Sums, wanted: Sums, span: Span, report: Report) -> None:
    """`there`, `wanted`: sums of the mirror and of what it has to hold, by bucket. Names what differs."""
    name = mirror.table.name
    apart = sorted(at for at in {*there, *wanted} if there.get(at) != wanted.get(at))
    if not apart:
        return
    looked = set(apart[:NAMED_BUCKETS_MAX])
    have, due = Collecting(looked, span), Collecting(looked, span, mirror)
    await rows.scan(mirror.table, KEY, lambda: have)
    await rows.scan(BY_SESSION, RECORD, lambda: due)
    missing = due.keys - have.all
    if missing:  # or written between the two, by a drain that is hours late
        again = Collecting(looked, span)
        await rows.scan(mirror.table, KEY, lambda: again)
        missing -= again.all
    events = {key[:3] for key in due.all}
    beyond = {key for key in have.keys - due.all if key[:3] not in events}
    for key in missing:
        report.differs("table", name, f"event_id {key[0]!s} of session {key[2]!s} is missing")
    for key in beyond:
        report.differs("table", name, f"event_id {key[0]!s} of session {key[2]!s} is not in events_by_session")
    if twice := len(have.keys - due.all - beyond):
        report.notes.append(f"{name}: {twice} events more, which were sent again as others")
    if len(apart) > len(looked):
        where = f"{len(apart)} of {BUCKETS} parts differ, {len(looked)} were looked into"
        if missing or beyond:
            report.differs("table", name, where)
        else:
            report.notes.append(f"{name}: {where}, and hold the same: rows were sent again meanwhile")
