"""A window on a segment's bytes: frames at a place, and the search for the next one behind damage, in bounded memory.

What is held at a time is WINDOW_BYTES or one frame, whichever is larger.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from ingest.spool import frame, segment
from ingest.spool.disk import Disk
from ingest.spool.frame import HEAD_BYTES, MAGIC_BYTES, CutFrame, Frame, TornFrame

WINDOW_BYTES = 1024 * 1024
"""Asked of the disk at a time."""

assert WINDOW_BYTES >= segment.HEAD_SIZE_MAX_BYTES > HEAD_BYTES
assert WINDOW_BYTES % 8 == 0


class Window:
    """The bytes of one segment. All places are offsets in its file; all calls raise what `read` raises."""

    def __init__(self, read: Callable[[int, int], bytes], seed: int) -> None:
        self._read = read
        """(offset, size_bytes) → bytes, fewer only at the end of the file."""
        self._seed = seed
        self._data = b""
        self._begin = 0

    def segment_head(self) -> tuple[segment.SegmentHead, int]:
        """The segment's header and its size in bytes. Raises TornSegment, UnknownVersion."""
        self._load(0, WINDOW_BYTES)
        return segment.decode(self._data)

    def frame(self, at: int) -> tuple[Frame, int]:
        """The frame at `at`, and where the next one begins. Raises TornFrame: CutFrame if the file ends within it."""
        while True:
            try:
                found, after = frame.decode(self._data, at - self._begin, self._seed)
            except CutFrame as cut:
                if not self._more(at, cut.needed_bytes):
                    raise
            else:
                return found, after + self._begin

    def frame_head(self, at: int) -> tuple[Frame, int]:
        """As `frame`, for a frame whose payload may be damaged: without tuples. Raises TornFrame."""
        while True:
            try:
                found, after = frame.decode_head(self._data, at - self._begin, self._seed)
            except CutFrame as cut:
                if not self._more(at, cut.needed_bytes):
                    raise
            else:
                return found, after + self._begin

    def forget(self) -> None:
        """Ask the disk again: what was read ahead may have been on its way then."""
        self._data = b""

    def find_frame(self, at: int, sequence_min: int) -> int | None:
        """Where the next valid frame, numbered `sequence_min` or higher, begins from `at` on; None: nowhere."""
        at += -at % 8
        while True:
            data = self._read(at, WINDOW_BYTES)
            hit = data.find(MAGIC_BYTES)
            while 0 <= hit <= len(data) - HEAD_BYTES:
                if hit % 8 == 0 and self._valid(data, hit, at, sequence_min):
                    return at + hit
                hit = data.find(MAGIC_BYTES, hit + 1)
            if len(data) < WINDOW_BYTES:
                return None
            at += WINDOW_BYTES - HEAD_BYTES  # a head across the edge is whole in the next window

    def pieces(self, begin: int, end: int | None) -> Iterator[bytes]:
        """The bytes from `begin` to `end`, or to the end of the file."""
        while end is None or begin < end:
            data = self._read(begin, WINDOW_BYTES if end is None else min(WINDOW_BYTES, end - begin))
            if not data:
                return
            yield data
            begin += len(data)

    def _valid(self, data: bytes, hit: int, at: int, sequence_min: int) -> bool:
        try:
            try:
                found, _ = frame.decode(data, hit, self._seed)
            except CutFrame as cut:  # its head is whole, so its length is true
                found, _ = frame.decode(self._read(at + hit, cut.needed_bytes), 0, self._seed)
        except TornFrame:
            return False
        return found.sequence >= sequence_min

    def _more(self, at: int, needed_bytes: int) -> bool:
        """Read anew from `at` on, at least `needed_bytes`, or say that they are not there."""
        self._load(at, max(WINDOW_BYTES, needed_bytes))
        return len(self._data) >= needed_bytes

    def _load(self, begin: int, size_bytes: int) -> None:
        self._begin = begin
        self._data = self._read(begin, size_bytes)


def segment_window(disk: Disk, directory: Path, base: int) -> Window:
    """On a segment of an incarnation, whatever it is called by the time it is read; empty when it is gone."""
    paths = [directory / segment.name(base, segment.OPEN), directory / segment.name(base, segment.SEALED)]

    def read(offset: int, size_bytes: int) -> bytes:
        for path in paths[:]:
            try:
                data = disk.read(path, offset, size_bytes)
            except FileNotFoundError:
                continue
            paths[:] = paths[paths.index(path) :]  # sealed once, sealed for ever
            return data
        return b""

    return Window(read, frame.seed_of(directory.name))
