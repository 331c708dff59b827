"""Sums of the rows of a table by something, as a scan of the CQL store brings them: equal sums, equal rows."""

from collections.abc import Callable
from typing import Any, Final

from ingest.spool.frame import MASK
from ingest.tuple import COLUMNS
from storage.scylla.driver import Row
from storage.scylla.row import cql_name, tuples_of

RECORD: Final = ", ".join(map(cql_name, COLUMNS))
"""Columns of events_by_session, as `tuple_of` takes them."""
tuple_of: Final = tuples_of(COLUMNS)

Sums = dict[Any, tuple[int, int]]
"""Something → rows, and the sum of their hashes modulo 2^64."""


class Adding:
    """A Part that adds sums up; those of a range count once it is whole."""

    def __init__(self, sums: list[Sums], add: Callable[[list[Sums], Row], None]) -> None:
        self._sums = sums
        self._add = add
        self._mine: list[Sums] = [{} for _ in sums]

    async def take(self, rows: list[Row]) -> None:
        for row in rows:
            self._add(self._mine, row)

    def whole(self) -> None:
        for sums, mine in zip(self._sums, self._mine, strict=True):
            for at, (count, hashes) in mine.items():
                plus(sums, at, hashes, count)


def plus(sums: Sums, at: Any, hashes: int, count: int = 1) -> None:
    """Add rows with this sum of hashes."""
    rows, before = sums.get(at, (0, 0))
    sums[at] = rows + count, (before + hashes) & MASK
