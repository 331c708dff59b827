"""When `verify` takes the counters for right: the tables, else all kept rows, else a hundredth."""

from collections import Counter

import pytest

from gateway.report import Report
from gateway.verifying import compare_views

FILM, OTHER = "film", "other"
HOUR = 490_000


class Kept:
    """Rows that come to these views; `whole` shows once they were asked for, as in the spool."""

    def __init__(self, views=None, *, whole=True):
        self.whole = True
        self._views, self._whole = views, whole

    def views(self):
        assert self._views is not None, "read though nothing differs"
        self.whole = self._whole
        return self._views


def compared(tables, counted, kept, **how):
    report = Report()
    compare_views(Counter(tables), Counter(counted), kept, HOUR - 24, report, "Redis", **how)
    return report


def test_equal_counts_ask_for_no_rows():
    report = compared({(FILM, HOUR): 3}, {(FILM, HOUR): 3}, Kept())
    assert (report.agrees, report.notes, report.views) == (True, [], 3)


def test_what_was_delivered_and_not_stored_is_a_note():
    delivered = {(FILM, HOUR): 3, (OTHER, HOUR): 1, (FILM, HOUR - 25): 7}
    report = compared({(FILM, HOUR): 3}, {(FILM, HOUR): 3, (OTHER, HOUR): 1}, Kept(delivered))
    assert report.agrees and report.notes[0].startswith("1 views differ")


def test_what_was_never_delivered_is_named_by_content_and_hour():
    delivered = {(FILM, HOUR): 300, (OTHER, HOUR): 1}
    report = compared({(FILM, HOUR): 300}, {(FILM, HOUR): 301, (OTHER, HOUR): 1}, Kept(delivered))
    (difference,) = report.differences
    assert difference.where == "content film hour 2025-11-24T16:00:00+00:00"
    assert difference.detail == "the spool says 300, Redis 301"


@pytest.mark.parametrize("counted, agrees", [(101, True), (99, True), (102, False), (98, False)])
def test_where_rows_are_gone_a_hundredth_is_tolerated(counted, agrees):
    report = compared({(FILM, HOUR): 100}, {(FILM, HOUR): counted}, Kept({}, whole=False))
    assert (report.agrees, len(report.notes)) == (agrees, int(agrees))


@pytest.mark.parametrize("other, agrees", [(0, False), (1, True), (2, True), (3, True), (4, False)])
def test_rebuilt_counts_may_lie_between_what_was_stored_and_what_was_delivered(other, agrees):
    tables, delivered = {(FILM, HOUR): 3, (OTHER, HOUR): 1}, {(FILM, HOUR): 3, (OTHER, HOUR): 3}
    counted = {(FILM, HOUR): 3, (OTHER, HOUR): other}
    kept = Kept(delivered)
    report = compared(tables, counted, kept, rebuilt=True)
    assert report.agrees is agrees
    assert compared(tables, counted, Kept(delivered)).agrees is (other in (1, 3)), "never rebuilt: one or the other"
