"""Which frame of a batch takes which way into the table. Rows are told apart only where a frame gives cause."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from ingest.ad import AD_SCHEMAS
from ingest.batch import FLAG_CLOCK_BROKEN, FLAGS, HEARTBEAT_FLAGS, KIND_AD, KIND_CMCD, KIND_PLAYBACK, KIND_SIGNAL
from ingest.cmcd import CMCD_SCHEMAS
from ingest.spool.frame import Frame
from ingest.spool.run import TYPES, Form, Run
from ingest.tuple import SCHEMAS, event_key
from storage.postgres.copy import CHUNK_BYTES
from storage.postgres.fingerprint import Fingerprints
from storage.sink import SinkRefused, Slice

COLUMNS = {schema: [column.name for column in columns] for schema, columns in SCHEMAS.items()}
"""Schema id → what COPY names."""
_KNOWN: dict[int, tuple[Collection[int], Collection[int]]] = {
    KIND_PLAYBACK: (COLUMNS, FLAGS),
    KIND_AD: (AD_SCHEMAS, (0,)),
    KIND_CMCD: (CMCD_SCHEMAS, HEARTBEAT_FLAGS),
}
"""Kind → schemas and flags."""


class Placed(NamedTuple):
    """A frame, and whose it is."""

    owner: int
    """Index of its slice in the batch."""
    frame: Frame


class Stretch:
    """Frames of one slice and one column list, in order, whose rows go into the table as they are."""

    __slots__ = ("_frames", "_packed", "months", "owner", "schema")

    def __init__(self, owner: int, schema: int, frames: list[Frame], packed: Any = None) -> None:
        """`packed`: the frames by the Rust core, and `frames` may be empty."""
        self.owner = owner
        """Index of its slice in the batch."""
        self.schema = schema
        self.months: dict[int, tuple[int, int]] = {}
        """Month → rows, and the sum of their hashes, not yet modulo 2^64."""
        self._frames = frames
        self._packed = packed
        if packed is not None:
            self.months = {month: (rows, rows_hash) for month, rows, rows_hash in packed.sums()}
            return
        for frame in frames:
            rows, rows_hash = self.months.get(frame.month, (0, 0))
            self.months[frame.month] = rows + frame.count, rows_hash + frame.rows_hash

    @property
    def count(self) -> int:
        """Of rows."""
        return sum(rows for rows, _ in self.months.values())

    def pieces(self) -> Iterable[bytes]:
        """The rows, some frames at a time."""
        if self._packed is None:
            return (frame.rows for frame in self._frames)
        pieces: list[bytes] = self._packed.pieces(CHUNK_BYTES)
        return pieces

    def placed(self) -> list[Placed]:
        """Frame by frame."""
        frames = self._frames if self._packed is None else self._packed.frames(TYPES)
        return [Placed(self.owner, frame) for frame in frames]


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
    """The frames of a write, by the way they take. Signals are only counted: they are no rows."""

    plain: list[Stretch]
    """No row is suspected to be stored: COPY, untouched."""
    suspected: list[Placed]
    """Staging."""
    broken: list[Placed]
    """Of players whose clock is broken: settle when it happened, then staging."""
    ads: list[Placed]
    """Of ad events: merged into the rows of their impressions."""
    staged_lines: Counter[int]
    """Index of a slice → its lines of CMCD, which are the session stage's: only counted."""
    elsewhere: Counter[int]
    """Index of a slice → its rows of playback events where another store keeps them: only counted."""

    def staged(self) -> "Batch":
        """The same without a plain way: all of it through staging."""
        plain = [placed for stretch in self.plain for placed in stretch.placed()]
        return self._replace(plain=[], suspected=plain + self.suspected)

    def without_playback(self) -> "Batch":
        """The same for a store that leaves the rows of playback events to another one."""
        elsewhere: Counter[int] = Counter()
        for stretch in self.plain:
            elsewhere[stretch.owner] += stretch.count
        for placed in (*self.suspected, *self.broken):
            elsewhere[placed.owner] += placed.frame.count
        return self._replace(plain=[], suspected=[], broken=[], elsewhere=elsewhere)


def sort(slices: Sequence[Slice], fingerprints: Fingerprints) -> Batch:
    """Raises SinkRefused for frames of a newer gateway: they stay in the spool."""
    batch = Batch([], [], [], [], Counter(), Counter())
    for owner, one in enumerate(slices):
        for run in one.runs:
            if not _sort_packed(owner, run, fingerprints, batch):
                _sort_frames(owner, one.incarnation, run.frames, fingerprints, batch)
    return batch


def _sort_packed(owner: int, run: Run, fingerprints: Fingerprints, batch: Batch) -> bool:
    """In one look, where that can be had: the Rust core has the frames, and all those of playback have one
    column list."""
    if run.packed is None:
        return False
    forms = [form for form in run.outline.forms if form[0] != KIND_SIGNAL]
    if not forms:
        return True
    schemas = {schema for kind, schema, _ in forms if kind == KIND_PLAYBACK}
    if len(schemas) > 1 or not all(map(_is_known, forms)):
        return False
    divided = fingerprints.divide(run.packed)
    if divided is None:
        return False
    plain, suspected, broken, ads, lines = divided
    batch.staged_lines[owner] += lines
    if len(plain):
        batch.plain.append(Stretch(owner, schemas.pop(), [], plain))
    if suspected:
        batch.suspected.extend(Placed(owner, frame) for frame in run.packed.frames(TYPES, suspected))
    if broken:
        batch.broken.extend(Placed(owner, frame) for frame in run.packed.frames(TYPES, broken))
    if ads:
        batch.ads.extend(Placed(owner, frame) for frame in run.packed.frames(TYPES, ads))
    return True


def _sort_frames(owner: int, incarnation: str, frames: list[Frame], fingerprints: Fingerprints, batch: Batch) -> None:
    plain: dict[int, list[Frame]] = {}
    for frame in frames:
        if frame.kind == KIND_SIGNAL:
            continue
        if not _is_known((frame.kind, frame.schema, frame.flags)):
            raise SinkRefused(
                f"Frame {incarnation}/{frame.sequence} is of kind {frame.kind}, schema {frame.schema}, flags "
                f"{frame.flags}, which this release does not know; it stays in the spool."
            )
        if frame.kind == KIND_AD:
            batch.ads.append(Placed(owner, frame))
            continue
        if frame.kind == KIND_CMCD:
            batch.staged_lines[owner] += frame.count
            continue
        suspected = fingerprints.suspect(frame)
        if frame.flags & FLAG_CLOCK_BROKEN:
            batch.broken.append(Placed(owner, frame))
        elif suspected:
            batch.suspected.append(Placed(owner, frame))
        else:
            plain.setdefault(frame.schema, []).append(frame)
    batch.plain.extend(Stretch(owner, schema, of_schema) for schema, of_schema in plain.items())


def _is_known(form: Form) -> bool:
    kind, schema, flags = form
    schemas, known = _KNOWN.get(kind, ((), ()))
    return schema in schemas and flags in known


def rows_of(placed: Placed) -> list[Row]:
    """Its rows, one by one, as sent."""
    owner, frame = placed
    return [Row(owner, frame, number, frame.month, row, event_key(row)) for number, row in enumerate(frame.tuples())]
