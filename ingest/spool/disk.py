"""The only calls to the operating system that durability rests on; an argument, so that faults are seeded tests."""

import fcntl
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from ingest.spool.watermark import MappedWatermark, Watermark

REWRITE_BYTES = 1024 * 1024
"""At a time."""


class Disk(Protocol):
    """What the spool asks of a disk. Every call may raise OSError."""

    def create(self, path: Path) -> int: ...
    def write(self, descriptor: int, chunks: Sequence[bytes | bytearray]) -> int: ...
    def fdatasync(self, descriptor: int) -> None: ...
    def close(self, descriptor: int) -> None: ...
    def read(self, path: Path, offset: int, size_bytes: int) -> bytes: ...
    def size(self, path: Path) -> int: ...
    def modified_s(self, path: Path) -> float: ...
    def truncate(self, path: Path, size_bytes: int) -> None: ...
    def rename(self, path: Path, target: Path) -> None: ...
    def unlink(self, path: Path) -> None: ...
    def make_directory(self, path: Path) -> None: ...
    def remove_directory(self, path: Path) -> None: ...
    def list(self, path: Path) -> list[str]: ...
    def fsync(self, path: Path) -> None: ...
    def rewrite(self, path: Path, offset: int) -> None: ...
    def fsync_directory(self, path: Path) -> None: ...
    def lock(self, path: Path) -> int | None: ...
    def watermark(self, path: Path, *, writable: bool = False) -> Watermark: ...


class FileDisk:
    """The machine's disk."""

    def create(self, path: Path) -> int:
        """A new file, open for appending. Raises FileExistsError."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, descriptor: int, chunks: Sequence[bytes | bytearray]) -> int:
        """All bytes of `chunks`, in order; returns how many. A short write is continued."""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        with memoryview(data) as view:
            written_bytes = 0
            while written_bytes < len(data):
                written_bytes += os.write(descriptor, view[written_bytes:])
        return len(data)

    def fdatasync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def read(self, path: Path, offset: int, size_bytes: int) -> bytes:
        """Up to `size_bytes` from `offset`; fewer only at the end of the file. Raises FileNotFoundError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # asked for no more than is there: a live tail is read often, and a buffer of the whole window is not free
            size_bytes = min(size_bytes, os.fstat(descriptor).st_size - offset)
            parts = []
            while size_bytes > 0 and (part := os.pread(descriptor, size_bytes, offset)):
                parts.append(part)
                offset += len(part)
                size_bytes -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            os.close(descriptor)

    def size(self, path: Path) -> int:
        """Of the file, in bytes. Raises FileNotFoundError."""
        return path.stat().st_size

    def modified_s(self, path: Path) -> float:
        """When the file's content was last changed, seconds since 1970. Raises FileNotFoundError."""
        return path.stat().st_mtime

    def truncate(self, path: Path, size_bytes: int) -> None:
        os.truncate(path, size_bytes)

    def rename(self, path: Path, target: Path) -> None:
        path.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def make_directory(self, path: Path) -> None:
        """The directory and its missing parents, durably; one that is there already is fine."""
        missing = []
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        for directory in reversed(missing):
            directory.mkdir(exist_ok=True)
            self.fsync_directory(directory.parent)

    def remove_directory(self, path: Path) -> None:
        path.rmdir()

    def list(self, path: Path) -> list[str]:
        """Names in a directory, sorted; none when it is not there."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def fsync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rewrite(self, path: Path, offset: int) -> None:
        """Write the bytes from `offset` on once more where they are, and sync.

        Pages whose write failed under a process that died since are marked clean: an fsync alone would not write them.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            while piece := os.pread(descriptor, REWRITE_BYTES, offset):
                offset += os.pwrite(descriptor, piece, offset)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def fsync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path) -> int | None:
        return lock(path)

    def watermark(self, path: Path, *, writable: bool = False) -> Watermark:
        """Raises FileNotFoundError, unless `writable`; ValueError while another process is still making it."""
        return MappedWatermark(path, writable=writable)


def found_there(disk: Disk, path: Path) -> None:
    """`path`, whole as `write_whole` leaves it, outlives a power cut, and so does its directory: who made them may have
    died before it told the disk. Raises OSError.
    """
    disk.fsync_directory(path.parent)
    disk.fsync_directory(path.parent.parent)


def write_whole(disk: Disk, path: Path, data: bytes | Iterable[bytes], draft_suffix: str = ".draft") -> None:
    """`data` becomes the content of `path`, durably and at once: readers see the old file or the new one, whole.

    A path that several may write at once needs a `draft_suffix` for each.
    """
    draft = path.with_name(path.name + draft_suffix)
    remove_if_there(disk, draft)
    descriptor = disk.create(draft)
    try:
        try:
            for chunk in [data] if isinstance(data, bytes) else data:
                disk.write(descriptor, [chunk])
            disk.fdatasync(descriptor)
        finally:
            disk.close(descriptor)
        disk.rename(draft, path)
    except OSError:
        try:
            remove_if_there(disk, draft)  # a full disk is not the place for half a file
        except OSError:
            pass  # the first error says more
        raise
    disk.fsync_directory(path.parent)


def remove_if_there(disk: Disk, path: Path) -> None:
    """Unlink; one that is gone already is fine."""
    try:
        disk.unlink(path)
    except FileNotFoundError:
        pass


def lock(path: Path) -> int | None:
    """An exclusive flock on `path` (created when missing), or None while another process holds it.

    Let go by os.close or death.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
