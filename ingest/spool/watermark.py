"""The watermark: how many frames of an incarnation are on disk, told by its collector to the readers beside it."""

import mmap
import os
from pathlib import Path
from typing import Protocol


class Watermark(Protocol):
    """Number of frames of an incarnation that are on disk.

    Only ever raised, and only after `fdatasync`: what of it outlives a power cut is not ahead of the frames that do.
    """

    @property
    def sequence(self) -> int: ...

    @sequence.setter
    def sequence(self, value: int) -> None: ...

    def close(self) -> None: ...


class MappedWatermark:
    """A file of eight bytes, shared between processes by a memory map.

    One aligned 8-byte store, so a reader sees the old number or the new one, never a mixture.
    """

    SIZE_BYTES = 8

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        """Raises OSError; ValueError while the file is still empty."""
        descriptor = os.open(path, (os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY) | os.O_CLOEXEC, 0o640)
        try:
            if writable:
                # its block is claimed now: a store to a hole of a full disk is no error but the signal SIGBUS
                os.posix_fallocate(descriptor, 0, self.SIZE_BYTES)
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(descriptor, self.SIZE_BYTES, access=access)
        finally:
            os.close(descriptor)
        self._view = memoryview(self._map).cast("Q")

    @property
    def sequence(self) -> int:
        return self._view[0]

    @sequence.setter
    def sequence(self, value: int) -> None:
        self._view[0] = value

    def close(self) -> None:
        """May be called twice."""
        self._view.release()
        self._map.close()
