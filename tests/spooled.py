"""Rows with one thing changed, framed with true running totals: in memory (Spooled) and on disk (Collector)."""

import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from ingest.batch import FLAG_CLOCK_BROKEN, KIND_PLAYBACK, KIND_SIGNAL, MONTH_UNSETTLED, SCHEMA_PLAYBACK, FrameBody
from ingest.clock import SystemClock
from ingest.spool import frame
from ingest.spool.disk import FileDisk
from ingest.spool.frame import MASK, MonthTotals, Totals
from ingest.spool.incarnation import Group, Incarnation
from ingest.spool.reader import Lost
from ingest.spool.state import State
from ingest.spool.window import Window
from ingest.tuple import Row, encode, event_key, month_of, occurred_at_us
from storage.sink import Slice
from tests.builders import RECEIVED_AT_US

SECOND = 1_000_000
DAY = 86_400 * SECOND

_numbers = count(1)


@dataclass
class StoppedClock(SystemClock):
    """A wall clock that stands at RECEIVED_AT until it is set."""

    at_us: int = RECEIVED_AT_US

    def now_us(self) -> int:
        return self.at_us


def an_id() -> UUID:
    """One not given before in this process."""
    return UUID(int=0xD2A11000_0000_4000_8000_000000000000 + next(_numbers))


def a_row(**changes: Any) -> bytes:
    """A play ten seconds old with a new event_id, as its tuple."""
    values: dict[str, Any] = {
        "event_id": an_id(),
        "content_id": UUID(int=1),
        "session_id": UUID(int=2),
        "occurred_at_us": RECEIVED_AT_US - 10 * SECOND,
        "received_at_us": RECEIVED_AT_US,
        "event_type": "play",
    }
    return encode(Row(**values | changes))


def rows_of(number: int, **changes: Any) -> list[bytes]:
    """So many."""
    return [a_row(**changes) for _ in range(number)]


def a_frame_of(
    rows: list[bytes], kind: int = KIND_PLAYBACK, flags: int = 0, schema: int = SCHEMA_PLAYBACK
) -> FrameBody:
    """These rows, which have to be of one month."""
    unsettled = kind == KIND_SIGNAL or flags & FLAG_CLOCK_BROKEN
    month = MONTH_UNSETTLED if unsettled else month_of(occurred_at_us(rows[0]))
    return FrameBody.of(kind, flags, month, rows, schema)


def broken(*rows: bytes) -> FrameBody:
    """A frame of a player whose clock is broken."""
    return a_frame_of(list(rows), flags=FLAG_CLOCK_BROKEN)


class Spooled:
    """An incarnation; every slice begins where the one before ended."""

    def __init__(self) -> None:
        self.incarnation = os.urandom(16).hex()
        self.state = State()

    def slice(
        self, *bodies: FrameBody | list[bytes], lost_rows: int = 0, received_at_us: int = RECEIVED_AT_US
    ) -> Slice:
        """The next frames, one each, read back by the core of the process; `lost_rows` more were taken by damage behind
        them."""
        begin = self.state.sequence
        framed = [a_frame_of(body) if isinstance(body, list) else body for body in bodies]
        log = b"".join(self._frame(body, received_at_us) for body in framed)
        lost = []
        if lost_rows:
            totals = self.state.totals.plus(Totals(received=lost_rows, rows=lost_rows))
            self.state = self.state._replace(sequence=self.state.sequence + 1, totals=totals)
            lost.append(Lost(rows=lost_rows))
        runs, after = Window(lambda at, size_bytes: log[at : at + size_bytes], 0).runs(
            0, begin, begin + len(framed), len(log)
        )
        assert after == len(log)
        return Slice(self.incarnation, begin, runs, self.state, lost)

    def _frame(self, body: FrameBody, received_at_us: int) -> bytes:
        number = body.count
        signal = body.kind == KIND_SIGNAL
        before = self.state.months.get(body.month, MonthTotals())
        month = MonthTotals() if signal else MonthTotals(before.rows + number, (before.hash + body.rows_hash) & MASK)
        totals = self.state.totals.plus(
            Totals(received=number, rows=0 if signal else number, signals=number if signal else 0)
        )
        data = frame.encode(body, self.state.sequence, received_at_us, month, totals)
        found, _ = frame.decode(data)
        self.state = self.state.behind(found)
        return data


class Collector:
    """Writes frames into an incarnation of its own."""

    def __init__(self, data_dir: Path, segment_size_bytes: int = 1 << 20) -> None:
        self.incarnation = Incarnation.begin(
            data_dir / "spool", FileDisk(), SystemClock(), os.urandom(16), segment_size_bytes=segment_size_bytes
        )
        self.name = self.incarnation.identity.hex()
        self.keys: set[bytes] = set()

    def append(self, frames: int = 1, rows: int = 3) -> "Collector":
        group = Group()
        for _ in range(frames):
            body = rows_of(rows)
            self.keys.update(map(event_key, body))
            group.chunks.append(self.incarnation.encode(a_frame_of(body), SystemClock().now_us()))
        group.after = self.incarnation.state()
        self.incarnation.commit(group)
        if self.incarnation.full:
            self.incarnation.roll()
        return self

    def end(self) -> "Collector":
        self.incarnation.end()
        return self

    @property
    def sequence(self) -> int:
        return self.incarnation.state().sequence
