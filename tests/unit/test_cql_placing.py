"""Runs into requests by the Rust core: what is left to those that look at frames one by one, and what stays in hand."""

from typing import Any
from uuid import UUID

import pytest

from ingest.batch import FLAG_CLOCK_BROKEN, KIND_SIGNAL
from ingest.core import chosen
from storage.scylla.columns import EVERY, TABLES
from storage.scylla.content_buckets import DayBuckets
from storage.scylla.placing import Placing
from storage.scylla.requests import Need, Request, Statements
from tests.ads import ads_frame, an_ad
from tests.cmcd import a_cmcd_body
from tests.spooled import Spooled, a_frame_of, a_row, an_id, broken, rows_of

pytestmark = pytest.mark.usefixtures("rust_core")


def placing(days: dict[int, DayBuckets]) -> Placing:
    """Its statements are known for rows that have nothing but what each has."""
    none: Any = None  # nothing is prepared, and every tuple is whole
    statements = Statements(none)
    statements.errors, statements.by_mask = "errors", {EVERY: ("every",) * 3, 0: ("session", "content", "profile")}
    assert chosen.rust is not None
    return Placing(chosen.rust, 16_384, statements, days, none)


def test_only_rows_that_go_out_as_they_are_stay_in_the_core() -> None:
    watched, spooled = an_id(), Spooled()
    (run,) = spooled.slice(
        rows_of(3), [a_row(event_id=watched), a_row()], broken(a_row()), a_frame_of(rows_of(2), KIND_SIGNAL),
        ads_frame([an_ad()]), a_cmcd_body(), rows_of(5),
    ).runs  # fmt: skip
    one = placing({})
    one.watch([watched.bytes])
    divided = one.divide(run)
    assert divided is not None
    assert [(rows, month) for month, rows, _ in divided.plain.sums()] == [(8, run.frames[0].month)]
    assert [frame.sequence for frame in divided.watched] == [1]
    assert [frame.flags for frame in divided.broken] == [FLAG_CLOCK_BROKEN]
    assert (divided.ads, divided.lines) == (1, 2)


def test_frames_of_a_form_that_is_not_known_are_looked_at_one_by_one() -> None:
    (run,) = Spooled().slice(a_frame_of(rows_of(1), schema=999)).runs
    assert placing({}).divide(run) is None


def test_a_day_that_nobody_has_asked_for_is_asked_for_until_it_is_known() -> None:
    days: dict[int, DayBuckets] = {}
    one, spooled = placing(days), Spooled()
    (run,) = spooled.slice([a_row(content_id=UUID(int=7)), *rows_of(9)]).runs
    divided = one.divide(run)
    assert divided is not None
    steps = one.of(divided.plain, 50)
    asked = [next(steps), next(steps)]
    assert asked[0] == asked[1] and isinstance(asked[0], Need) and asked[0].day is not None
    days[asked[0].day] = DayBuckets(1, {UUID(int=7).bytes: 4_000})
    assert [step for step in steps if isinstance(step, Need)] == []
    left = [step for step in one.left() if isinstance(step, Request)]
    assert sorted(len(step.writes) for step in left if step.table is TABLES[1]) == [1, 9]
    assert list(one.left()) == []
