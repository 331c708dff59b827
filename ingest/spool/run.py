"""A run: some consecutive frames of an incarnation, read at once. Readers work by the run where no frame needs more.

By the Rust core its frames stay in the bytes that they were read from (`packed`), and become objects only where one is
looked at by itself; what the run says of itself is its outline. The twin has the frames, and makes the same outline.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ingest.batch import FLAG_CLOCK_BROKEN, KIND_SIGNAL
from ingest.spool.frame import HEAD_BYTES, Frame, MonthTotals, Totals

TYPES = (Frame, MonthTotals, Totals)
"""What the core makes frames of."""

Form = tuple[int, int, int]
"""Kind, schema, flags."""


class Outline(NamedTuple):
    """What a run says without a look into its rows."""

    events: int
    """In all frames, signals included."""
    size_bytes: int
    """Of its frames on disk, nearly."""
    forms: list[Form]
    """That its frames have, each once."""
    received_us: int
    """Of the first frame, microseconds since 1970."""
    sane_us: tuple[int, int] | None
    """The earliest and the latest receipt of frames whose players' clocks are sane; None: there is none."""
    totals: Totals
    """Behind the last frame."""
    months: list[tuple[int, MonthTotals]]
    """Of every month with rows in it, behind its last frame."""
    rejected_by_code: tuple[int, ...]
    """As said last; empty: no frame said it."""


class Run:
    """At least one frame."""

    __slots__ = ("_frames", "outline", "packed", "sequence", "until")

    def __init__(self, sequence: int, until: int, outline: Outline, packed: Any, frames: list[Frame]) -> None:
        self.sequence = sequence
        """Of the first frame."""
        self.until = until
        """Behind the last one."""
        self.outline = outline
        self.packed = packed
        """The frames by the Rust core, its class Run; None: they are objects anyway."""
        self._frames = frames

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> "Run":
        """Of these, which are consecutive."""
        first, last = frames[0].sequence, frames[-1].sequence
        assert last - first == len(frames) - 1
        return cls(first, last + 1, outline_of(frames), None, list(frames))

    @classmethod
    def of_packed(cls, packed: Any, sequence: int, told: Any) -> "Run":
        """What the Rust core read from `sequence` on, and its outline as plain tuples."""
        events, size_bytes, forms, received_us, sane_us, totals, months, rejected_by_code = told
        outline = Outline(
            events, size_bytes, forms, received_us, sane_us, Totals._make(totals),
            [(month, MonthTotals._make(told)) for month, told in months], tuple(rejected_by_code),
        )  # fmt: skip
        return cls(sequence, sequence + len(packed), outline, packed, [])

    @property
    def frames(self) -> list[Frame]:
        """As objects, one by one; never to be changed."""
        if self.packed is not None and not self._frames:
            self._frames = self.packed.frames(TYPES)
        return self._frames


def outline_of(frames: Sequence[Frame]) -> Outline:
    """Of at least one frame."""
    months: dict[int, MonthTotals] = {}
    forms: dict[Form, None] = {}
    events = size_bytes = 0
    rejected_by_code: tuple[int, ...] = ()
    for one in frames:
        events += one.count
        size_bytes += HEAD_BYTES + len(one.rows)
        forms[one.kind, one.schema, one.flags] = None
        if one.kind != KIND_SIGNAL:
            months[one.month] = one.month_totals
        rejected_by_code = one.rejected_by_code or rejected_by_code
    sane_us = [one.received_at_us for one in frames if not one.flags & FLAG_CLOCK_BROKEN]
    return Outline(
        events,
        size_bytes,
        list(forms),
        frames[0].received_at_us,
        (min(sane_us), max(sane_us)) if sane_us else None,
        frames[-1].totals,
        list(months.items()),
        rejected_by_code,
    )
