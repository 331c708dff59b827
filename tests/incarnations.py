"""Incarnations to break: bodies, spools written without an event loop, failing disks, and what a reader makes of it."""

import errno
import gc
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL, MONTH_UNSETTLED, FrameBody
from ingest.spool.disk import Disk, FileDisk
from ingest.spool.frame import Frame
from ingest.spool.incarnation import Group, Incarnation
from ingest.spool.lost import Lost
from ingest.spool.reader import Reader
from ingest.spool.state import State

IDENTITY = bytes(range(1, 17))
MONTH = 2026 * 12 + 10
"""November 2026."""
ALTERING = frozenset({
    "create", "write", "fdatasync", "truncate", "rename", "unlink", "make_directory", "remove_directory", "fsync",
    "rewrite", "fsync_directory", "lock",
})  # fmt: skip


class FailingDisk(FileDisk):
    """The machine's disk, whose `nth` altering call fails, and when it is `broken` every later one. Counts from 0."""

    def __init__(self, nth: int = -1, error: int = errno.ENOSPC, calls: frozenset[str] = ALTERING) -> None:
        self.nth, self.error, self.failing = nth, error, calls
        self.broken = False
        self.made: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name not in ALTERING or name not in self.failing:
            return found

        def call(*arguments: Any) -> Any:
            number = len(self.made)
            self.made.append(name)
            if number == self.nth or (self.broken and number > self.nth >= 0):
                if name == "write":  # what a full disk does: half of it is there
                    descriptor, chunks = arguments
                    os.write(descriptor, b"".join(chunks)[: sum(map(len, chunks)) // 2])
                raise OSError(self.error, os.strerror(self.error), name)
            return found(*arguments)

        return call


class UnsyncedDisk(FileDisk):
    """The machine's disk in a hurry, for tests that cut and flip what was written."""

    def fdatasync(self, descriptor: int) -> None:
        pass

    def fsync(self, path: Path) -> None:
        pass

    def rewrite(self, path: Path, offset: int) -> None:
        pass

    def fsync_directory(self, path: Path) -> None:
        pass


class StillClock:
    """A clock that stands still."""

    def now_us(self) -> int:
        return 1_795_000_000_000_000

    def monotonic_s(self) -> float:
        return 1.0


def a_frame_body(tuples: Sequence[bytes] = (b"a tuple",), month: int = MONTH, kind: int = KIND_PLAYBACK) -> FrameBody:
    """Rows of a month, or with KIND_SIGNAL signals. The spool never looks into a tuple, so here it is any bytes."""
    return FrameBody.of(kind, 0, MONTH_UNSETTLED if kind == KIND_SIGNAL else month, tuples)


def begun(
    root: Path, identity: bytes = IDENTITY, disk: Disk | None = None, segment_size_bytes: int = 10**9
) -> Incarnation:
    """A new incarnation below `root`."""
    return Incarnation.begin(root, disk or UnsyncedDisk(), StillClock(), identity, segment_size_bytes)


def commit(incarnation: Incarnation, bodies: Iterable[FrameBody]) -> None:
    """The bodies as one group; the next segment is begun when this one is full."""
    chunks = [incarnation.encode(body, received_at_us=1) for body in bodies]
    incarnation.commit(Group(chunks, incarnation.state()))
    if incarnation.full:
        incarnation.roll()


def died(incarnation: Incarnation) -> Path:
    """Its process is gone, and nothing was said on disk."""
    incarnation.let_go()
    return incarnation.directory


MIXED = [
    a_frame_body([b"row 0", b"row 1 is longer"]),
    a_frame_body([b"signal 0"], kind=KIND_SIGNAL),
    a_frame_body([b"row 2" * 9], month=MONTH - 1),
    a_frame_body([b"row 3", b"row 4", b"row 5"]),
    a_frame_body([b"signal 1", b"signal 2"], kind=KIND_SIGNAL),
    a_frame_body([b"row 6" * 5], month=MONTH - 1),
    a_frame_body([b"row 7"]),
]
"""Frames of two months, and of none."""


class Delivered(NamedTuple):
    """What one reader got from its position to where there was nothing more."""

    frames: list[Frame]
    lost: list[Lost]
    state: State
    finished: bool

    @property
    def tuples(self) -> list[bytes]:
        return [row for frame in self.frames for row in frame.tuples()]

    @property
    def sequences(self) -> list[int]:
        return [frame.sequence for frame in self.frames]

    @property
    def lost_rows(self) -> int:
        return sum(lost.rows for lost in self.lost)

    @property
    def lost_signals(self) -> int:
        return sum(lost.signals for lost in self.lost)


def delivered(directory: Path, sequence: int = 0, disk: Disk | None = None, size_bytes: int = 10**9) -> Delivered:
    """Read on until a read brings nothing."""
    reader = Reader(directory, disk or UnsyncedDisk(), quarantine_of(directory), sequence)
    frames: list[Frame] = []
    lost: list[Lost] = []
    try:
        while True:
            before = reader.state.sequence
            reading = reader.read(size_bytes)
            frames += reading.frames
            lost += reading.lost
            assert reading.state.sequence >= before
            if not reading.frames and not reading.lost and reading.state.sequence == before:
                return Delivered(frames, lost, reader.state, reader.finished)
    finally:
        reader.close()


def quarantine_of(directory: Path) -> Path:
    """Of the data directory in which the incarnation lies."""
    return directory.parent.parent / "quarantine"


def quarantined(directory: Path) -> dict[str, bytes]:
    """Name → bytes."""
    return {path.name: path.read_bytes() for path in sorted(quarantine_of(directory).glob("*"))}


def segments(directory: Path) -> list[Path]:
    """Of an incarnation, in order."""
    return sorted(path for path in directory.iterdir() if path.suffix in (".open", ".sealed"))


def open_descriptors() -> int:
    """Of this process."""
    gc.collect()  # what earlier tests dropped may still hold some
    return len(os.listdir("/proc/self/fd"))


def numbered(count: int, first: int = 0):
    return [a_frame_body([b"row %d" % number]) for number in range(first, first + count)]


def rows(first: int, until: int) -> list[bytes]:
    return [b"row %d" % number for number in range(first, until)]


def a_reader(directory: Path, sequence: int = 0, disk: FileDisk | None = None) -> Reader:
    return Reader(directory, disk or UnsyncedDisk(), quarantine_of(directory), sequence)
