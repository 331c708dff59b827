"""A file of lines that one process writes: new, locked from before its first byte, durable line by line."""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

from ingest.spool.disk import Disk

SUFFIX = ".jsonl"


class LineFile:
    """Open for appending until `close`. After an OSError it is not written to any more."""

    def __init__(self, disk: Disk, path: Path) -> None:
        """Make it, durably. Raises OSError; FileExistsError when the name is taken."""
        disk.make_directory(path.parent)
        self.path = path
        self.size_bytes = 0
        self._disk = disk
        self._descriptors = [disk.create(path)]
        try:
            lock = disk.lock(path)
            if lock is None:
                raise OSError(errno.EAGAIN, f"{path} is locked by another process")
            self._descriptors.append(lock)
            disk.fsync_directory(path.parent)
        except OSError:
            self.close()
            raise

    def append(self, lines: Sequence[bytes]) -> None:
        """Durable on return. Raises OSError: what is in its tail is unknown then, and the file is closed."""
        try:
            self.size_bytes += self._disk.write(self._descriptors[0], lines)
            self._disk.fdatasync(self._descriptors[0])
        except OSError:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        return not self._descriptors

    def close(self) -> None:
        """Let go of the file and of its lock. May be called twice."""
        descriptors, self._descriptors = self._descriptors, []
        for descriptor in descriptors:
            self._disk.close(descriptor)


def files(disk: Disk, directory: Path) -> list[Path]:
    """Files of lines in a directory, oldest first; none when it is not there."""
    names = [name for name in disk.list(directory) if name.endswith(SUFFIX)]
    return [directory / name for name in sorted(names, key=_age)]


def lines_of(path: Path) -> Iterator[bytes]:
    """Its lines, the last one perhaps without its end; none when it is gone. Raises OSError."""
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:  # swept away since it was listed
        return


def _age(name: str) -> tuple[str, str]:
    """Names hold the time of their making: before the dash of those who handle, behind that of readers."""
    return max((part for part in name.removesuffix(SUFFIX).split("-") if part.isdecimal()), key=len, default=""), name
