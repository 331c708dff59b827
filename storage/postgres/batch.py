"""Which frame of a batch takes which way into the table. Rows are told apart only where a frame gives cause."""

from collections.abc import Sequence
from typing import NamedTuple

from ingest.batch import FLAG_CLOCK_BROKEN, KIND_PLAYBACK, KIND_SIGNAL
from ingest.spool.frame import Frame
from ingest.tuple import SCHEMAS, event_key
from storage.postgres.fingerprint import Fingerprints
from storage.sink import SinkRefused, Slice

COLUMNS = {schema: [column.name for column in columns] for schema, columns in SCHEMAS.items()}
"""Schema id → what COPY names."""


class Placed(NamedTuple):
    """A frame, and whose it is."""

    owner: int
    """Index of its slice in the batch."""
    frame: Frame


class Row(NamedTuple):
    """One row on its own."""

    owner: int
    frame: Frame
    number: int
    """In its frame, from 0."""
    month: int
    """Year * 12 + month - 1 of the time under which it is stored."""
    data: bytes
    """The tuple as it is stored; as the player's clock said it, it is in the frame."""
    key: bytes
    """24 bytes of primary key."""

    @property
    def sent(self) -> bytes:
        """The tuple as acknowledged."""
        ends = self.frame.ends
        return self.frame.rows[ends[self.number - 1] if self.number else 0 : ends[self.number]]


class Batch(NamedTuple):
    """The playback frames of a write, by the way they take. Signals are only counted: they are no rows."""

    plain: list[Placed]
    """No row is suspected to be stored: COPY, untouched."""
    suspected: list[Placed]
    """Staging."""
    broken: list[Placed]
    """Of players whose clock is broken: settle when it happened, then staging."""


def sort(slices: Sequence[Slice], fingerprints: Fingerprints) -> Batch:
    """Raises SinkRefused for frames of a newer gateway: they stay in the spool."""
    batch = Batch([], [], [])
    for owner, one in enumerate(slices):
        for frame in one.frames:
            if frame.kind == KIND_SIGNAL:
                continue
            if frame.kind != KIND_PLAYBACK or frame.schema not in COLUMNS or frame.flags & ~FLAG_CLOCK_BROKEN:
                raise SinkRefused(
                    f"Frame {one.incarnation}/{frame.sequence} is of kind {frame.kind}, schema {frame.schema}, flags "
                    f"{frame.flags}, which this release does not know; it stays in the spool."
                )
            suspected = fingerprints.suspect(frame)
            if frame.flags & FLAG_CLOCK_BROKEN:
                batch.broken.append(Placed(owner, frame))
            elif suspected:
                batch.suspected.append(Placed(owner, frame))
            else:
                batch.plain.append(Placed(owner, frame))
    return batch


def rows_of(placed: Placed) -> list[Row]:
    """Its rows, one by one, as sent."""
    owner, frame = placed
    return [Row(owner, frame, number, frame.month, row, event_key(row)) for number, row in enumerate(frame.tuples())]
