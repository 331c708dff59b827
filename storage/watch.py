"""Where profiles are in their contents, as a batch of frames says, one entry a profile and content. Pure.

An entry is three registers, each the newest of what signs said; a sign that does not say a thing moves none of its
register. The greater one, as tuples compare, is the newer, so no order, repetition or division of signs gives another:

    watched   (at_us)                               every sign
    place     (at_us, order, at_end, position_s)    signs with a position, and `completed`
    length    (at_us, duration_s)                   signs with a duration other than 0

`at_us` is the corrected time, at most the receipt: nobody watches later than we hear of it. The time decides, as it is
what sessions on several devices have in common; `order` (the sequence, the corrected time where there is none) decides
between signs of one time. Who completes stands at the end: `completed` is at its duration where it says no position,
and as long as its position where it says no duration. Signs are what `storage.redis.sign` takes for such: an error is
none (a player that fails before it has sought reports 0), test traffic is none, and here who has no profile is none.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final

from ingest import core
from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL, SCHEMA_PLAYBACK
from ingest.core import RustCore
from ingest.spool.frame import Frame
from ingest.spool.run import Run
from ingest.tuple import POSTGRES_EPOCH_US, clock_is_broken, corrected_us
from storage.redis.sign import RANKS, UnknownSchema
from storage.sink import Slice

ENTRY: Final = Struct(">32sqqqiBqi")
"""Profile and content · watched at · place: at, order, position_s, at_end · length: at, duration_s. In network order,
times as PostgreSQL has them: microseconds since 2000, NEVER is -infinity."""
NEVER: Final = -(2**63)
"""Of a register that no sign moved."""
NULL: Final = -1

Place = tuple[int, int, bool, int]
Length = tuple[int, int]
NOWHERE: Final[Place] = (NEVER, 0, False, 0)
UNKNOWN: Final[Length] = (NEVER, 0)


class Watching:
    """Entries of frames, by the twin."""

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[int, Place, Length]] = {}
        """Profile and content → the registers; times in microseconds since 1970."""

    def add(self, frame: Frame) -> None:
        """Take a frame in. Raises UnknownSchema."""
        if frame.kind not in (KIND_PLAYBACK, KIND_SIGNAL):
            return
        if frame.schema != SCHEMA_PLAYBACK:
            raise UnknownSchema(f"schema {frame.schema}, this gateway reads {SCHEMA_PLAYBACK}")
        self._take(frame)

    def add_run(self, run: Run) -> None:
        """Take in the frames of a run. Raises UnknownSchema."""
        for frame in run.frames:
            self.add(frame)

    def packed(self) -> bytes:
        """As ENTRY, one behind the other; empty without a sign."""
        return b"".join(
            ENTRY.pack(
                key, _postgres_us(watched_us), _postgres_us(place[0]), place[1], place[3], place[2],
                _postgres_us(length[0]), length[1],
            )
            for key, (watched_us, place, length) in self.entries.items()
        )  # fmt: skip

    def _take(self, frame: Frame) -> None:
        begin = 0
        for end in frame.ends:
            self._take_row(frame.rows[begin:end])
            begin = end

    def _take_row(self, row: bytes) -> None:
        behind_type = 90 + row[89]
        event_type = row[90:behind_type]
        if row[behind_type + 4] or event_type not in RANKS:
            return
        fields = []
        at = behind_type + 5
        for _ in ("sent_at", "sequence", "position", "duration", "profile_id"):
            length_bytes = int.from_bytes(row[at : at + 4], "big", signed=True)
            at += 4
            fields.append(None if length_bytes == NULL else row[at : at + length_bytes])
            at += max(length_bytes, 0)
        profile = fields.pop()
        if profile is None:
            return
        sent_us, sequence, position_s, duration_s = (
            None if field is None else int.from_bytes(field, "big", signed=True) for field in fields
        )
        occurred_us, received_us = (int.from_bytes(row[at : at + 8], "big", signed=True) for at in (66, 78))
        if sent_us is not None and clock_is_broken(sent_us, received_us):
            occurred_us = corrected_us(occurred_us, sent_us, received_us)
        time_us, received_us = occurred_us + POSTGRES_EPOCH_US, received_us + POSTGRES_EPOCH_US

        at_us, completed = min(time_us, received_us), event_type == b"completed"
        watched_us, place, length = self.entries.get(profile + row[26:42], (NEVER, NOWHERE, UNKNOWN))
        if position_s is not None or completed:
            stands_s = position_s if position_s is not None else duration_s or 0
            place = max(place, (at_us, time_us if sequence is None else sequence, completed, stands_s))
        lasts_s = duration_s or (position_s if completed else None)
        if lasts_s:
            length = max(length, (at_us, lasts_s))
        self.entries[profile + row[26:42]] = max(watched_us, at_us), place, length


class RustWatching(Watching):
    """The same by the Rust core, which keeps the entries to itself."""

    def __init__(self, rust: RustCore) -> None:
        super().__init__()
        self._watching = rust.Watching()

    def add_run(self, run: Run) -> None:
        if run.packed is None:
            super().add_run(run)
            return
        until = self._watching.add_run(run.packed)
        if until < len(run.packed):
            self.add(run.frames[until])  # of a schema that the core does not know: it is refused

    def packed(self) -> bytes:
        return bytes(self._watching.packed())

    def _take(self, frame: Frame) -> None:
        self._watching.add(frame.rows, frame.ends_table)


def gathered(slices: Sequence[Slice]) -> bytes:
    """The entries of all frames, by the core that was chosen, as ENTRY. Raises UnknownSchema."""
    rust = core.chosen.rust
    watching = Watching() if rust is None else RustWatching(rust)
    for piece in slices:
        for run in piece.runs:
            watching.add_run(run)
    return watching.packed()


def _postgres_us(time_us: int) -> int:
    return max(time_us - POSTGRES_EPOCH_US, NEVER)
