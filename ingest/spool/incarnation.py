"""The incarnation a collector writes: frames into an open segment, sealed and followed by the next one as it grows.

Two threads meet here: the event loop makes frames (`framing`), the commit thread does the disk (`commit`, `roll`,
`end`). They share nothing but what a `Group` carries from one to the other.
"""

from dataclasses import dataclass, field
from pathlib import Path

from config.limits import SEGMENT_SIZE_BYTES
from ingest.batch import FrameBody
from ingest.clock import Clock
from ingest.spool import segment
from ingest.spool.disk import Disk, remove_if_there
from ingest.spool.ending import ENDED, Ending, write_ending
from ingest.spool.frame import seed_of
from ingest.spool.framing import framing_of
from ingest.spool.state import State

__all__ = ["Group", "Incarnation", "State"]

LOCK = "lock"
WATERMARK = "watermark"
NEW = ".new"
"""Suffix of a directory that is not an incarnation yet."""


@dataclass(slots=True)
class Group:
    """Frames that share one fsync."""

    chunks: list[bytes] = field(default_factory=list)
    after: State | None = None
    """The incarnation's state behind the last chunk."""


class Incarnation:
    """One start of one collector. Made by `begin`."""

    def __init__(
        self, directory: Path, identity: bytes, disk: Disk, clock: Clock, segment_size_bytes: int = SEGMENT_SIZE_BYTES
    ) -> None:
        self.directory = directory
        self.identity = identity
        self._disk = disk
        self._clock = clock
        self._segment_size_bytes = segment_size_bytes
        self.framing = framing_of(seed_of(identity.hex()))
        """The event loop's."""
        # the commit thread's
        self._durable = State()
        self._segment = directory
        self._descriptor = -1
        self._passed: Path | None = None
        """The segment before, while it is not sealed."""
        self._base = 0
        self._size_bytes = 0
        self._lock = -1

    @classmethod
    def begin(
        cls, root: Path, disk: Disk, clock: Clock, identity: bytes, segment_size_bytes: int = SEGMENT_SIZE_BYTES
    ) -> "Incarnation":
        """A new incarnation below `root`: locked, with its first segment, seen whole or not at all. Raises OSError."""
        directory = root / identity.hex()
        disk.make_directory(root)
        disk.fsync_directory(root.parent)  # whoever made `root` may not have
        made = cls(directory.with_suffix(NEW), identity, disk, clock, segment_size_bytes)
        try:
            made._make()
            disk.rename(made.directory, directory)
        except BaseException:
            made._unmake()
            raise
        made.directory, made._segment = directory, directory / made._segment.name
        try:
            disk.fsync_directory(root)
        except BaseException:
            made.let_go()  # it is there and empty; recovery ends it
            raise
        return made

    # ── the event loop ──────────────────────────────────────────────────────────────────────────────────────────

    def encode(self, body: FrameBody, received_at_us: int) -> bytes:
        """The next frame's bytes; the totals move."""
        self.framing.add(body, received_at_us)
        return b"".join(self.framing.take_out())

    def note(self, received: int, duplicates: int, rejected_by_code: dict[int, int]) -> None:
        """As Framing.note."""
        self.framing.note(received, duplicates, rejected_by_code)

    def state(self) -> State:
        """Behind the last encoded frame. What was noted since is the next frame's."""
        return self.framing.state()

    def close_group(self) -> Group:
        """The frames added since the last one."""
        return Group(self.framing.take_out(), self.framing.state())

    # ── the commit thread ───────────────────────────────────────────────────────────────────────────────────────

    def commit(self, group: Group) -> None:
        """Put the group on disk, then raise the watermark. Raises OSError: the incarnation is then to be abandoned."""
        assert group.after is not None
        written_bytes = self._disk.write(self._descriptor, group.chunks)
        self._disk.fdatasync(self._descriptor)
        self.committed(group, written_bytes)

    @property
    def segment(self) -> Path:
        """The one that is written: a group is appended to it, and fsynced."""
        return self._segment

    def committed(self, group: Group, written_bytes: int) -> None:
        """The group is on disk."""
        assert group.after is not None
        self._size_bytes += written_bytes  # after the fsync: `end` cuts what is beyond
        self._durable = group.after
        self._watermark.sequence = group.after.sequence

    @property
    def full(self) -> bool:
        """The segment has grown to its size; `roll` is due."""
        return self._size_bytes >= self._segment_size_bytes and self._durable.sequence > self._base

    def roll(self) -> None:
        """Open the next segment, seal this one. Raises OSError: as `commit`."""
        self._close_segment()
        self._passed = self._segment
        self._open_segment(self._durable)
        # last: sealed segments may be removed, and until the next one's header is on disk, this one says where we are
        self._disk.rename(self._passed, self._passed.with_suffix(segment.SEALED))
        self._passed = None

    def end(self, *, abandoned: bool = False) -> None:
        """Nothing more will come: cut what is not durable, seal, write `ended`, let the lock go.

        Raises OSError; may be called again until it succeeds.
        """
        disk, durable = self._disk, self._durable
        self._close_segment()
        if self._segment.name in disk.list(self.directory):
            if abandoned:
                disk.truncate(self._segment, self._size_bytes)
                disk.fsync(self._segment)
            if self._size_bytes:
                disk.rename(self._segment, self._segment.with_suffix(segment.SEALED))
            else:  # not even its header was written
                disk.unlink(self._segment)
        if self._passed is not None and self._passed != self._segment:
            disk.rename(self._passed, self._passed.with_suffix(segment.SEALED))
        self._passed = None
        disk.fsync_directory(self.directory)
        at_us = self._clock.now_us()
        ending = Ending(durable.sequence, durable.totals, durable.months, durable.rejected_by_code, at_us)
        write_ending(disk, self.directory / ENDED, ending)
        self.let_go()

    def let_go(self) -> None:
        """Close what is open and say nothing on disk, as if the process had died. May be called twice."""
        try:
            self._close_segment()
        finally:
            if hasattr(self, "_watermark"):
                self._watermark.close()
            lock, self._lock = self._lock, -1
            if lock >= 0:
                self._disk.close(lock)

    def _make(self) -> None:
        self._disk.make_directory(self.directory)
        descriptor = self._disk.lock(self.directory / LOCK)
        if descriptor is None:
            raise FileExistsError(f"{self.directory} is locked")
        self._lock = descriptor
        self._watermark = self._disk.watermark(self.directory / WATERMARK, writable=True)
        self._open_segment(self._durable)

    def _unmake(self) -> None:
        """Leave nothing: on a full disk this is tried again every second."""
        disk = self._disk
        try:
            self._close_segment()
            for name in disk.list(self.directory):
                remove_if_there(disk, self.directory / name)
            disk.remove_directory(self.directory)
        except OSError:
            pass  # recovery clears directories that never became incarnations
        self.let_go()

    def _close_segment(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1  # first: a descriptor is closed once, whatever close says
        if descriptor >= 0:
            self._disk.close(descriptor)

    def _open_segment(self, state: State) -> None:
        path = self.directory / segment.name(state.sequence, segment.OPEN)
        head = segment.SegmentHead(
            self.identity, state.sequence, self._clock.now_us(), state.totals, state.months, state.rejected_by_code
        )
        descriptor = self._disk.create(path)
        self._segment, self._descriptor, self._base, self._size_bytes = path, descriptor, state.sequence, 0
        self._size_bytes = self._disk.write(descriptor, [segment.encode(head)])
        self._disk.fdatasync(descriptor)
        self._disk.fsync_directory(self.directory)
