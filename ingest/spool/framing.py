"""The frames of one incarnation, numbered, with running totals, until their group is closed. Pure.

`Framing` is the Python twin, which is the reference; with the Rust core its class of the same name does all of it.
"""

from typing import Protocol

from config.limits import FRAME_SIZE_MAX_BYTES
from ingest import core
from ingest.batch import KIND_SIGNAL, FrameBody
from ingest.spool import frame
from ingest.spool.frame import MASK, MonthTotals, Totals
from ingest.spool.state import State


class Frames(Protocol):
    """What an incarnation asks of either."""

    def note(self, received: int, duplicates: int, rejected_by_code: dict[int, int]) -> None:
        """Count what a request held beside its frames; the next frame carries the totals."""
        ...

    def add(self, body: FrameBody, received_at_us: int) -> None:
        """The next frame; the totals move. A body that cannot be encoded raises, and counts as nothing."""
        ...

    def take_in(
        self, door: core.DoorLimits, body: bytes, media_type: str, received_at_us: int, country: str | None
    ) -> tuple[int, int] | None:
        """A request's body becomes its frames, by the Rust core alone: events and repeats, when nothing is wrong or
        unusual in it. None: nothing was added, and the twin has to look at the body.
        """
        ...

    def take_out(self) -> list[bytes]:
        """The frames added since the last call, whole, in order."""
        ...

    def state(self) -> State:
        """Behind the last frame. What was noted since is the next frame's."""
        ...


class Framing:
    """In Python."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sequence = 0
        self._totals = self._framed = Totals()
        self._months: dict[int, MonthTotals] = {}
        self._rejected: list[int] = []
        self._rejected_changed = False
        self._framed_rejected: tuple[int, ...] = ()
        self._frames: list[bytes] = []

    def note(self, received: int, duplicates: int, rejected_by_code: dict[int, int]) -> None:
        rejected = sum(rejected_by_code.values())
        assert received == duplicates + rejected
        for code, count in rejected_by_code.items():
            if code >= len(self._rejected):
                self._rejected += [0] * (code + 1 - len(self._rejected))
            self._rejected[code] += count
            self._rejected_changed = True
        totals = self._totals
        self._totals = totals._replace(
            received=totals.received + received,
            duplicates=totals.duplicates + duplicates,
            rejected=totals.rejected + rejected,
        )

    def add(self, body: FrameBody, received_at_us: int) -> None:
        count = body.count
        received, rows, signals, duplicates, rejected = self._totals
        if body.kind == KIND_SIGNAL:
            month_totals = MonthTotals()
            totals = Totals(received + count, rows, signals + count, duplicates, rejected)
        else:
            before = self._months.get(body.month, MonthTotals())
            month_totals = MonthTotals(before.rows + count, (before.hash + body.rows_hash) & MASK)
            totals = Totals(received + count, rows + count, signals, duplicates, rejected)
        refusals = tuple(self._rejected) if self._rejected_changed else ()
        self._frames.append(
            frame.encode(body, self._sequence, received_at_us, month_totals, totals, refusals, self._seed)
        )
        # only now: a body that cannot be encoded counts as nothing
        if body.kind != KIND_SIGNAL:
            self._months[body.month] = month_totals
        if self._rejected_changed:
            self._rejected_changed = False
            self._framed_rejected = refusals
        self._totals = self._framed = totals
        self._sequence += 1

    def take_in(
        self, door: core.DoorLimits, body: bytes, media_type: str, received_at_us: int, country: str | None
    ) -> tuple[int, int] | None:
        return None

    def take_out(self) -> list[bytes]:
        frames, self._frames = self._frames, []
        return frames

    def state(self) -> State:
        return State(self._sequence, self._framed, dict(self._months), self._framed_rejected)


class RustFraming:
    """By the Rust core."""

    def __init__(self, rust: core.RustCore, seed: int) -> None:
        self._framing = framing = rust.Framing(seed, FRAME_SIZE_MAX_BYTES)
        self.add = framing.add
        self.take_in = framing.take_in

    def note(self, received: int, duplicates: int, rejected_by_code: dict[int, int]) -> None:
        assert received == duplicates + sum(rejected_by_code.values())
        self._framing.note(received, duplicates, list(rejected_by_code.items()))

    def take_out(self) -> list[bytes]:
        frames = self._framing.take_out()
        return [frames] if frames else []

    def state(self) -> State:
        sequence, totals, months, rejected = self._framing.state()
        by_month = {month: MonthTotals(rows, rows_hash) for month, rows, rows_hash in months}
        return State(sequence, Totals(*totals), by_month, tuple(rejected))


def framing_of(seed: int) -> Frames:
    """An incarnation's; `seed`: of its checksums."""
    rust = core.chosen.rust
    return Framing(seed) if rust is None else RustFraming(rust, seed)
