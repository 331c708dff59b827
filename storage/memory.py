"""A sink in memory: the smallest thing that keeps the promises of a store, for tests and for reading."""

from collections.abc import Sequence

from ingest.batch import KIND_PLAYBACK
from ingest.spool.frame import Frame
from ingest.tuple import event_key
from storage.sink import SinkFenced, SinkLost, SinkUnavailable, Slice


class MemoryStore:
    """What outlives a sink: the "server". Several sinks may be opened on one store."""

    def __init__(self) -> None:
        self.registered = True
        self.available = True
        self.rows: dict[bytes, bytes] = {}
        """24 bytes of primary key → tuple."""
        self.positions: dict[str, int] = {}
        self.duplicates = 0


class MemorySink:
    """An EventSink over a MemoryStore: all of a write happens or nothing does."""

    def __init__(self, store: MemoryStore, reader: str = "memory") -> None:
        self.reader = reader
        self.store = store
        self._open = False

    async def open(self) -> dict[str, int]:
        """Raises SinkUnavailable, SinkLost."""
        if not self.store.available:
            raise SinkUnavailable("memory is away")
        if not self.store.registered:
            raise SinkLost("memory holds no registration")
        self._open = True
        return dict(self.store.positions)

    async def write(self, slices: Sequence[Slice]) -> None:
        """Raises SinkUnavailable, SinkFenced; then nothing was written."""
        if not self._open or not self.store.available:
            raise SinkUnavailable("memory is away")
        for one in slices:
            if self.store.positions.get(one.incarnation, 0) != one.begin:
                raise SinkFenced(one.incarnation)
        for one in slices:
            for frame in one.frames:
                if frame.kind == KIND_PLAYBACK:
                    self._keep(frame)
            self.store.positions[one.incarnation] = one.state.sequence

    async def close(self) -> None:
        self._open = False

    def _keep(self, frame: Frame) -> None:
        for row in frame.tuples():
            if self.store.rows.setdefault(event_key(row), row) is not row:
                self.store.duplicates += 1
