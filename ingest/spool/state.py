"""Where an incarnation stands behind a frame: the number of the next one, and the running totals."""

from typing import NamedTuple

from ingest.spool.frame import MASK, Frame, MonthTotals, Totals

NOTHING = MonthTotals()


class State(NamedTuple):
    """Behind `sequence` frames."""

    sequence: int = 0
    totals: Totals = Totals()
    months: dict[int, MonthTotals] = {}  # noqa: RUF012  never changed: `behind` makes a new one
    rejected_by_code: tuple[int, ...] = ()

    def behind(self, found: Frame) -> "State":
        """The state behind `found`."""
        months = self.months
        if found.month_totals != NOTHING:
            months = {**months, found.month: found.month_totals}
        return State(found.sequence + 1, found.totals, months, found.rejected_by_code or self.rejected_by_code)

    def knowing(self, other: "State") -> "State":
        """This one, and what `other` knows of more: totals run, so the greater ones are of a later frame."""
        more = {month: totals for month, totals in other.months.items() if totals.rows > self._of(month).rows}
        latest = other if other.totals.received > self.totals.received else self
        return State(self.sequence, latest.totals, {**self.months, **more}, latest.rejected_by_code)

    def _of(self, month: int) -> MonthTotals:
        return self.months.get(month, NOTHING)


def difference(after: MonthTotals, before: MonthTotals) -> MonthTotals:
    """What came between two running totals of a month."""
    return MonthTotals(after.rows - before.rows, (after.hash - before.hash) & MASK)
