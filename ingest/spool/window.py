"""A window on a segment's bytes: frames at a place, and the search for the next one behind damage, in bounded memory.

What is held at a time is WINDOW_BYTES or one frame, whichever is larger.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from ingest import core
from ingest.core import RustCore
from ingest.spool import frame, segment
from ingest.spool.disk import Disk
from ingest.spool.frame import HEAD_BYTES, MAGIC_BYTES, CutFrame, Frame, TornFrame
from ingest.spool.run import Run

WINDOW_BYTES = 1024 * 1024
"""Asked of the disk at a time."""

assert WINDOW_BYTES >= segment.HEAD_SIZE_MAX_BYTES > HEAD_BYTES
assert WINDOW_BYTES % 8 == 0


class Window:
    """The bytes of one segment. All places are offsets in its file; all calls raise what `read` raises."""

    def __init__(self, read: Callable[[int, int], bytes], seed: int, name: str = "") -> None:
        """`name` is for people."""
        self._name = name
        self._read = read
        """(offset, size_bytes) → bytes, fewer only at the end of the file."""
        self._seed = seed
        self._data = b""
        self._begin = 0

    def segment_head(self) -> tuple[segment.SegmentHead, int]:
        """The segment's header and its size in bytes. Raises TornSegment, UnknownVersion."""
        self._load(0, WINDOW_BYTES)
        try:
            return segment.decode(self._data)
        except segment.UnknownVersion as error:
            raise segment.UnknownVersion(f"{self._name}: {error}") from None

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

    def runs(self, at: int, sequence: int, until: int, size_bytes: int) -> tuple[list[Run], int]:
        """Frames numbered from `sequence` on to below `until`, one behind the other from `at` on, until they are
        `size_bytes`, and where the next one begins. It stops early at whatever is no such frame.
        """
        rust, runs = core.chosen.rust, list[Run]()
        while size_bytes > 0 and sequence < until:
            if rust is None:
                one, after = self._run(at, sequence, until, size_bytes)
            else:
                one, after = self._packed_run(rust, at, sequence, until, size_bytes)
            if one is None:
                break
            at, sequence = after, one.until
            size_bytes -= one.outline.size_bytes
            runs.append(one)
        return runs, at

    def _packed_run(
        self, rust: RustCore, at: int, sequence: int, until: int, size_bytes: int
    ) -> tuple[Run | None, int]:
        """What is whole in the bytes at hand, or else in those from `at` on; a frame larger than that is the twin's."""
        for _ in range(2):
            if at >= self._begin:
                found = rust.read_run(self._data, at - self._begin, self._seed, sequence, until, size_bytes)
                if found is not None:
                    packed, told, after = found
                    return Run.of_packed(packed, sequence, told), after + self._begin
            if at == self._begin and self._data:
                break
            self._load(at, WINDOW_BYTES)
        return self._run(at, sequence, until, 1)

    def _run(self, at: int, sequence: int, until: int, size_bytes: int) -> tuple[Run | None, int]:
        frames: list[Frame] = []
        while size_bytes > 0 and sequence < until:
            try:
                one, after = self.frame(at)
            except TornFrame:
                break
            if one.sequence != sequence:
                break
            frames.append(one)
            at, sequence = after, sequence + 1
            size_bytes -= HEAD_BYTES + len(one.rows)
        return Run.of(frames) if frames else None, at

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

    return Window(read, frame.seed_of(directory.name), f"{directory.name}/{base:016x}")
