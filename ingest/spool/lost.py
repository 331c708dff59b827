"""What damage took, told by the jump in the running totals. Pure."""

from typing import NamedTuple

from ingest.batch import KIND_SIGNAL
from ingest.spool.frame import Frame, MonthTotals
from ingest.spool.state import State, difference


class Lost(NamedTuple):
    """Acknowledged, quarantined, not delivered.

    The jump of a month is known from the next frame of that month, or the next segment, on: `months` may come in a
    later Lost than `rows`.
    """

    rows: int = 0
    signals: int = 0
    months: tuple[tuple[int, MonthTotals], ...] = ()


def lost_before(found: Frame, state: State) -> Lost | None:
    """Between `state` and `found`, which is delivered."""
    _, rows, signals, _, _ = found.totals
    _, rows_before, signals_before, _, _ = state.totals
    rows, signals = rows - rows_before, signals - signals_before
    if found.kind == KIND_SIGNAL:
        signals -= found.count
        return Lost(rows, signals) if rows or signals else None
    rows -= found.count
    before = state.months.get(found.month)
    own = found.month_totals.rows - found.count - (before.rows if before is not None else 0)
    if not (rows or signals or own):
        return None
    gone = difference(
        difference(found.month_totals, before or MonthTotals()), MonthTotals(found.count, found.rows_hash)
    )
    return Lost(rows, signals, ((found.month, gone),) if gone.rows else ())


def lost_until(after: State, state: State) -> Lost | None:
    """Between `state` and `after`: a damaged frame whose head is whole, a segment's header, the ending."""
    rows, signals = after.totals.rows - state.totals.rows, after.totals.signals - state.totals.signals
    months = tuple(
        (month, difference(totals, state.months.get(month, MonthTotals())))
        for month, totals in after.months.items()
        if totals != state.months.get(month)
    )
    return Lost(rows, signals, months) if rows or signals or months else None
