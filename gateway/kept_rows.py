"""For `verify`: what the spool says at the store's positions, and the rows below them that it still keeps."""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from gateway.layout import DataDir
from gateway.report import Report
from gateway.spool_commands import Wrong, frames, segments
from ingest import tuple as copy_tuple
from ingest.batch import KIND_PLAYBACK
from ingest.spool.disk import FileDisk
from ingest.spool.ending import ENDED, TOMBSTONES, DamagedEnding, read_ending
from ingest.spool.frame import Frame
from ingest.spool.incarnation import State
from ingest.spool.reader import Reader, SegmentsGone
from ingest.spool.recovery import incarnations
from storage.dead_letter.box import dead_identities
from storage.postgres.audit import StoredPosition
from storage.postgres.totals import booked
from storage.redis.sign import Gathering

SUMMED = ("received", "rows", "signals", "duplicates", "rejected", "stored", "duplicate", "staged", "elsewhere")
"""Of books, in a report."""


class Kept:
    """The rows that are still in the spool below the store's positions, by key."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._disk = FileDisk()
        self._read: dict[str, int] = {}
        """Incarnation → the position up to which its rows were given to the store."""
        self._dead = dead_identities(self._disk, data.root)
        self.whole = True
        """Whether every row the store was ever given is still here; known after `load` or `views`."""
        self.rows: dict[bytes, set[int]] = {}
        """event_key → hashes of the tuples that were sent under it, in the form in which they are stored; by `load`."""
        self.due: set[bytes] = set()
        """Keys of those that the store has to have; by `load`."""

    def check(self, position: StoredPosition, report: Report) -> None:
        """The equation of one incarnation at the store's position, against the spool's running totals."""
        totals, name = position.totals, position.incarnation
        if booked(totals) != totals.rows:
            report.differs("equation", name, f"{totals.rows} rows read, {booked(totals)} booked")
        if totals.unaccounted:
            report.differs("equation", name, f"{totals.unaccounted} rows were read and not written")
        state = self._state(name, position.sequence, report)
        if state is not None and state.totals.received < totals.received and self._is_damaged(name):
            hidden = totals.received - state.totals.received
            report.notes.append(f"{name}: damage to the spool hid {hidden} events that the store had taken before")
        elif state is not None:
            for field_name, value in state.totals._asdict().items():
                if getattr(totals, field_name) != value:
                    told = getattr(totals, field_name)
                    report.differs("equation", name, f"{field_name}: the spool says {value}, the store {told}")
        sums = report.totals
        for key in SUMMED:
            sums[key] = sums.get(key, 0) + getattr(totals, key)
        sums["dead"] = sums.get("dead", 0) + sum(totals.dead.values())
        sums["quarantined"] = sums.get("quarantined", 0) + totals.quarantined.rows

    def _is_damaged(self, name: str) -> bool:
        """Bytes of its are in the quarantine."""
        return any(piece.startswith(name) for piece in self._disk.list(self._data.quarantine))

    def check_unknown(self, known: set[str], report: Report) -> None:
        """Incarnations that the store has not heard of: still to be delivered, unless segments are gone."""
        for name in incarnations(self._disk, self._data.spool):
            if name not in known:
                self._state(name, 0, report)
        for name in self._disk.list(self._data.spool / TOMBSTONES):
            try:
                ending = None if name in known else read_ending(self._disk, self._data.spool / TOMBSTONES / name)
            except DamagedEnding as error:
                self._damaged(name, error, report)
                continue
            if ending is not None and ending.sequence:  # one that ended empty never had a position
                report.differs("position", name, "the store has lost its position; its segments are gone")

    def load(self, repairs: dict[tuple[bytes, int], int], *, beyond: bool = False) -> None:
        """Read the rows, in the form in which they are stored; only once something differs, for they may be many.

        A repaired time holds for every row that was sent under the raw one, also by a clock that was right again.
        `beyond`: also those above the positions, which are not `due`, and may be stored.
        """
        for name, frame in self._frames(beyond=beyond):
            is_due = frame.sequence < self._read[name]
            for index, row in enumerate(frame.tuples()):
                if (name, frame.sequence, index) not in self._dead:
                    stored = _as_stored(row, repairs)
                    key = copy_tuple.event_key(stored)
                    self.rows.setdefault(key, set()).add(copy_tuple.row_hash(stored))
                    if is_due:
                        self.due.add(key)

    def variants(self, repairs: dict[tuple[bytes, int], int], keys: Collection[bytes]) -> dict[bytes, list[bytes]]:
        """Key → all tuples that were sent under it, in the form in which they are stored."""
        found: dict[bytes, list[bytes]] = {}
        for _, frame in self._frames(beyond=True):
            for row in frame.tuples():
                stored = _as_stored(row, repairs)
                if (key := copy_tuple.event_key(stored)) in keys:
                    found.setdefault(key, []).append(stored)
        return found

    def views(self) -> dict[tuple[str, int], int]:
        """(content, hour since 1970) → views of all rows, also of those that the store did not take: Redis's rule."""
        gathering = Gathering(0, 0)
        for _, frame in self._frames():
            gathering.add(frame)
            gathering.sessions.clear()
            gathering.ids.clear()
            gathering.single.clear()
        return Counter((str(UUID(bytes=key[16:])), hour) for key, hour in gathering.views.items())

    def _frames(self, *, beyond: bool = False) -> Iterator[tuple[str, Frame]]:
        """Incarnation and frame of rows below the store's positions, or `beyond`; behind the last one `whole` is
        settled."""
        for name, until in self._read.items():
            first = None
            for path in segments(self._data, name):
                for _, found in frames(path):
                    if isinstance(found, Wrong):
                        continue
                    first = found.sequence if first is None else first
                    if (beyond or found.sequence < until) and found.kind == KIND_PLAYBACK:
                        yield name, found
            if first != 0 and until:
                self.whole = False

    def _state(self, name: str, sequence: int, report: Report) -> State | None:
        """The spool's state at a position; its frames above it are counted."""
        try:
            return self._believed(name, sequence, report)
        except DamagedEnding as error:
            self._damaged(name, error, report)
            return None

    def _damaged(self, name: str, error: DamagedEnding, report: Report) -> None:
        self.whole = False
        report.differs("ending", name, f"damaged: {error}")

    def _believed(self, name: str, sequence: int, report: Report) -> State | None:
        """As `_state`. Raises DamagedEnding."""
        directory = self._data.spool / name
        tombstone = read_ending(self._disk, self._data.spool / TOMBSTONES / name)
        if tombstone is not None and not directory.exists():
            self.whole = False
            if sequence < tombstone.sequence:
                report.differs("position", name, f"the store is at {sequence}, gone up to {tombstone.sequence}")
                return None
            return State(tombstone.sequence, tombstone.totals, tombstone.months, tombstone.rejected_by_code)
        if not directory.exists():
            self.whole = False
            report.notes.append(f"{name}: not in this spool (another node's)")
            return None
        ending = read_ending(self._disk, directory / ENDED)  # the reader would do without a damaged one
        try:
            reader = Reader(directory, self._disk, self._data.quarantine, sequence)
            state = reader.state
            report.in_spool += max(reader.durable() - sequence, 0)
            reader.close()
            self._read[name] = sequence
        except SegmentsGone as gone:
            self.whole = False
            if ending is None or sequence < gone.first:
                report.differs("position", name, f"the store is at {sequence}, the spool begins at {gone.first}")
            return None
        return State(state.sequence, state.totals, dict(state.months), state.rejected_by_code)


def _as_stored(row: bytes, repairs: dict[tuple[bytes, int], int]) -> bytes:
    settled_us = repairs.get((copy_tuple.event_id(row), copy_tuple.occurred_at_us(row)))
    return row if settled_us is None else copy_tuple.with_occurred_at(row, settled_us)


def occurred_at_us(key: bytes) -> int:
    """Of an ingest.tuple.event_key."""
    return int.from_bytes(key[:8], "big", signed=True) + copy_tuple.POSTGRES_EPOCH_US


def described(key: bytes) -> str:
    """For people."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=occurred_at_us(key))
    return f"event_id {UUID(bytes=key[8:])} occurred_at {at.isoformat()}"
