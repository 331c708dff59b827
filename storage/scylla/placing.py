"""Runs into requests by the Rust core, which has their frames. Twin: requests.py."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from ingest.batch import KIND_SIGNAL
from ingest.core import RustCore
from ingest.spool.frame import Frame
from ingest.spool.run import TYPES, Run
from storage.feed import KNOWN
from storage.scylla.columns import EVERY, TABLES
from storage.scylla.content_buckets import DayBuckets
from storage.scylla.requests import Need, Request, Requests, Statements, Step

ROWS_A_BREATH: Final = 500
"""Until others may do something: some two milliseconds."""


class Divided(NamedTuple):
    """A run's frames by what has to be done with them; signals are left out."""

    plain: Any
    """Of these each row goes out as it is: an object of the core."""
    watched: list[Frame]
    """With an event that has to be looked up."""
    broken: list[Frame]
    """Of players whose clocks are broken."""
    ads: int
    """Ad events, and no rows of ours."""
    lines: int
    """Of CMCD."""


class Placing:
    """Of one connection; what it prepared and found out is told to the core once."""

    def __init__(
        self, core: RustCore, size_max_bytes: int, statements: Statements, days: dict[int, DayBuckets], twin: Requests
    ) -> None:
        self._core = core.CqlPlacing(size_max_bytes, statements.errors)
        self._statements = statements
        self._days = days
        self._twin = twin

    def watch(self, event_ids: Iterable[bytes]) -> None:
        """Frames with one of these are not plain any more."""
        self._core.watch(list(event_ids))

    def divide(self, run: Run) -> Divided | None:
        """None: its frames have to be looked at one by one."""
        if run.packed is None or not all(form in KNOWN or form[0] == KIND_SIGNAL for form in run.outline.forms):
            return None
        plain, watched, broken, ads, lines = self._core.divide(run.packed)
        frames = run.packed.frames
        return Divided(
            plain, frames(TYPES, watched) if watched else [], frames(TYPES, broken) if broken else [], ads, lines
        )

    def of(self, plain: Any, rows_max: int) -> Iterator[Step]:
        """Steps that place them, at most `rows_max` in a request. A Need has to be met before the next step."""
        place, frames = self._core.place, len(plain)
        frame = row = 0
        while frame < frames:
            frame, row, day, mask, none, full = place(plain, frame, row, rows_max, ROWS_A_BREATH)
            for table, writes in full:
                yield Request(TABLES[table], writes)
            if day is not None:
                yield from self._find_out_day(day)
            elif mask is not None:
                yield from self._find_out_mask(mask)
            elif none is not None:  # no whole tuple: the twin says why
                yield from self._twin.of([none], rows_max)
            elif not full:
                yield None

    def left(self) -> Iterator[Step]:
        """What is in no request yet."""
        while left := self._core.left():
            for table, writes in left:
                yield Request(TABLES[table], writes)

    def _find_out_day(self, day: int) -> Iterator[Step]:
        while (buckets := self._days.get(day)) is None:
            yield Need(day=day)
        self._core.know_day(day, buckets.default, buckets.planned)

    def _find_out_mask(self, mask: int) -> Iterator[Step]:
        by_mask = self._statements.by_mask
        while (statements := by_mask.get(mask)) is None:
            yield Need(mask=mask)
        self._core.know_mask(mask, statements, statements is by_mask[EVERY])
