"""For `verify`: the tables of the CQL store against the books, the spool and each other."""

import time
from collections.abc import Iterable
from functools import partial
from typing import Final

from gateway.cql_mirrors import KEY, MIRRORS, Span, add_due, add_key, check_mirror
from gateway.cql_months import check_months
from gateway.cql_sums import RECORD, Adding, Sums, plus, tuple_of
from gateway.kept_rows import Kept
from gateway.report import Report
from ingest import tuple as copy_tuple
from storage.postgres.audit import StoredPosition
from storage.postgres.totals import month_name
from storage.scylla.driver import Row
from storage.scylla.scanning import BY_SESSION
from storage.scylla.stored_rows import StoredRows

MARGIN_US: Final = 86_400_000_000
"""Before rows leave by age: what is compared has to be there until the last table was read."""
UNSETTLED_US: Final = 600_000_000
"""Rows received so shortly before may be in one table and not yet in another, by gateways that deliver now."""


async def check(rows: StoredRows, positions: list[StoredPosition], kept: Kept, report: Report) -> None:
    """Raises SinkUnavailable, SinkLost, SinkRefused."""
    now_us = time.time_ns() // 1_000
    is_alone = await rows.gateways() == 1
    is_settled = is_alone and not report.in_spool
    span = Span(rows.oldest_us() + MARGIN_US, now_us - (0 if is_settled else UNSETTLED_US))
    months: Sums = {}
    due: list[Sums] = [{} for _ in MIRRORS]

    def add(sums: list[Sums], row: Row) -> None:
        months, *wanted = sums
        encoded = tuple_of(row)
        month = copy_tuple.month_of(copy_tuple.occurred_at_us(encoded))
        plus(months, month_name(month), copy_tuple.row_hash(encoded))
        add_due(wanted, row, span)

    await rows.scan(BY_SESSION, RECORD, lambda: Adding([months, *due], add))
    is_quiet = _reached(await rows.books()) == _reached(positions) and not report.in_spool
    mirrored: list[Sums] = []
    for mirror in MIRRORS:
        sums: Sums = {}
        await rows.scan(mirror.table, KEY, lambda sums=sums: Adding([sums], partial(add_key, span=span)))  # type: ignore[misc]
        mirrored.append(sums)
    await check_months(rows, positions, kept, report, months, is_quiet=is_quiet)
    for mirror, there, wanted in zip(MIRRORS, mirrored, due, strict=True):
        await check_mirror(rows, mirror, there, wanted, span, report)


def _reached(positions: Iterable[StoredPosition]) -> dict[str, int]:
    return {one.incarnation: one.sequence for one in positions if one.sequence}
