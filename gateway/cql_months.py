"""For `verify`: the months of events_by_session against the books, and its rows against the spool.

A row that was sent twice is one row there, and the store cannot tell: a month may hold a little less than was written,
never more. How much less is believed has an end, or a keyspace that was emptied would agree with everything.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from gateway.cql_sums import RECORD, Sums, plus, tuple_of
from gateway.kept_rows import Kept, described
from gateway.report import Report
from ingest import tuple as copy_tuple
from storage.postgres.audit import StoredPosition
from storage.postgres.totals import month_name
from storage.scylla.driver import Row
from storage.scylla.scanning import BY_SESSION
from storage.scylla.stored_rows import StoredRows

ALTERED_MAX: Final = 10_000
"""Rows looked at once more, in which two tries may be mixed."""
RESENT_SHARE: Final = 0.01
"""Of a month's rows: so many may have been sent twice where the spool cannot say; players send less again."""
RESENT_FEW: Final = 20
"""So many in any case: one request that was sent again is much of a small month."""
LEEWAY_US: Final = 2 * 86_400_000_000
"""An event may be dated a day after its receipt, from which its age counts; and a day for clocks."""

Repairs = dict[tuple[bytes, int], int]


async def check_months(
    rows: StoredRows, positions: list[StoredPosition], kept: Kept, report: Report, found: Sums, *, is_quiet: bool
) -> None:
    """`found`: the sums of the table by YYYY-MM; `is_quiet`: nothing was written since the positions were read."""
    expected: Sums = {}
    for position in positions:
        for month, book in position.totals.months.items():
            plus(expected, month, book.hash, book.rows)
    for month in sorted({*found, *expected}):
        report.months[month] = {
            "stored": expected.get(month, (0, 0))[0],
            "in_table": found.get(month, (0, 0))[0],
        }
    apart = {month for month in {*found, *expected} if found.get(month, (0, 0)) != expected.get(month, (0, 0))}
    if not apart:
        return
    repairs: Repairs = {(one.event_id, one.raw_us): one.occurred_us for one in await rows.repairs()}
    kept.load(repairs, beyond=True)
    named = Naming(kept)
    await rows.scan(BY_SESSION, RECORD, lambda: named)
    gateways = await rows.gateways()
    named.tell(repairs, report, is_whole=kept.whole and gateways == 1)
    oldest_us = rows.oldest_us() + LEEWAY_US
    for month in sorted(apart):
        stored, there = expected.get(month, (0, 0))[0], found.get(month, (0, 0))[0]
        if there > stored and gateways > 1:
            report.notes.append(f"{month}: {there - stored} rows more than this gateway's; {gateways} write there")
        elif there > stored and is_quiet and not kept.whole:
            report.differs("month", month, f"stored {stored} rows, the table has {there}")
        elif not kept.whole and begin_us(month) >= oldest_us and is_beyond_resends(stored, there):
            report.differs("month", month, f"stored {stored} rows, the table has {there}: more than was sent again")
        elif there <= stored:
            how = "sent again" if kept.whole else "sent again, or gone by age; what the spool has let go was not seen"
            report.notes.append(f"{month}: {stored - there} rows fewer than written, or others under their keys: {how}")


def is_beyond_resends(stored: int, there: int) -> bool:
    """Whether rows are missing that were not just sent twice, in a month that is too young to lose any by age."""
    missing = stored - there
    return missing > 0 and (not there or missing > max(RESENT_FEW, RESENT_SHARE * stored))


def begin_us(month: str) -> int:
    """Of YYYY-MM, in UTC."""
    year, number = map(int, month.split("-"))
    return int(datetime(year, number, 1, tzinfo=UTC).timestamp()) * 1_000_000


class Naming:
    """A Part for all ranges: looks for what is not as the spool says; a row that comes twice changes nothing."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._missing = set(kept.due)
        self._altered: dict[bytes, bytes] = {}
        self._unknown: set[bytes] = set()

    async def take(self, rows: list[Row]) -> None:
        known, missing = self._kept.rows, self._missing
        for row in map(tuple_of, rows):
            key = copy_tuple.event_key(row)
            missing.discard(key)
            hashes = known.get(key)
            if hashes is None:
                if self._kept.whole and len(self._unknown) < ALTERED_MAX:
                    self._unknown.add(key)
            elif copy_tuple.row_hash(row) not in hashes and len(self._altered) < ALTERED_MAX:
                self._altered[key] = row

    def whole(self) -> None:
        """Nothing is left to do."""

    def tell(self, repairs: Repairs, report: Report, *, is_whole: bool) -> None:
        for key in self._missing:
            report.differs("row_missing", _month_of(key), described(key))
        for key in self._unknown if is_whole else ():
            report.differs("row_unknown", _month_of(key), described(key))
        tries = self._kept.variants(repairs, self._altered)
        mixed = 0
        for key, row in self._altered.items():
            if is_mixture(row, tries[key]):
                mixed += 1
            else:
                report.differs("row_altered", _month_of(key), described(key))
        if mixed:
            report.notes.append(f"{mixed} rows were sent again with other values, and have some of each try")


def is_mixture(row: bytes, tries: Iterable[bytes]) -> bool:
    """Whether every column is as in one of the tries: absent values are not written, so of two tries of a player that
    said different things each column has the value that was said last."""
    columns = zip(*map(copy_tuple.walk, tries), strict=True)
    return all(value in said for value, said in zip(copy_tuple.walk(row), columns, strict=True))


def _month_of(key: bytes) -> str:
    return month_name(copy_tuple.month_of(int.from_bytes(key[:8], "big", signed=True) + copy_tuple.POSTGRES_EPOCH_US))
