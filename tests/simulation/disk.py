"""One process's way to the platter: its descriptors and locks, calls that fail, and its death in the middle of one."""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from ingest.spool.watermark import Watermark
from tests.simulation.node import File
from tests.simulation.platter import Platter


class Stop(BaseException):
    """The process was killed, or the power cut, in the middle of a call to the disk. No `except` of ours stops it."""


class SimWatermark:
    """Eight bytes of a file, shared."""

    def __init__(self, file: File, disk: "SimDisk") -> None:
        self._file = file
        self._disk = disk

    @property
    def sequence(self) -> int:
        return int.from_bytes(self._file.data, "little")

    @sequence.setter
    def sequence(self, value: int) -> None:
        if not self._disk.stopped:
            self._file.data[:] = value.to_bytes(8, "little")

    def close(self) -> None:
        pass


class SimDisk:
    """See ingest.spool.disk.Disk."""

    def __init__(self, platter: Platter, died: Callable[[], None] = lambda: None) -> None:
        self.stop_in: int | None = None
        """So many calls from now the process stops, in the middle of one."""
        self.fails = 0
        """Of 1,000 calls that change something."""
        self.read_fails = 0
        """Of 1,000 that do not."""
        self.stopped = False
        self.platter = platter
        self._died = died
        self._open: dict[int, File] = {}
        self._locked: dict[int, File] = {}
        self._next = 3

    # ── what happens to it ──────────────────────────────────────────────────────────────────────────────────────

    def stop(self) -> None:
        """The process is gone, and what it held with it; everything written is still there."""
        self.stopped = True
        self._open.clear()
        self.platter.locked.difference_update(self._locked.values())
        self._locked.clear()

    def descriptors(self) -> int:
        """Files and locks that are open."""
        return len(self._open) + len(self._locked)

    def _call(self, fails: int, grows: bool = False) -> None:
        platter = self.platter
        if self.stopped:
            raise Stop
        platter.interrupt()
        if self.stopped:  # the power went meanwhile
            raise Stop
        if self.stop_in is not None:
            self.stop_in -= 1
            if self.stop_in < 0:
                self._died()
                self.stopped = True  # the last call may still have had an effect; `stop` follows
                raise Stop
        if grows and platter.full:
            raise OSError(errno.ENOSPC, "simulated")
        if fails and platter.chance.randrange(1_000) < fails:
            raise OSError(platter.chance.choice([errno.ENOSPC, errno.EIO]), "simulated")

    # ── the calls ───────────────────────────────────────────────────────────────────────────────────────────────

    def create(self, path: Path) -> int:
        self._call(self.fails, grows=True)
        parent = self.platter.directory(path.parent)
        if path.name in parent.entries:
            raise FileExistsError(path)
        file = File()
        parent.change(None, path.name, file)
        return self._opened(self._open, file)

    def write(self, descriptor: int, chunks: Sequence[bytes | bytearray]) -> int:
        file, data = self._open.get(descriptor), b"".join(chunks)
        if file is None:
            raise Stop
        try:
            self._call(self.fails, grows=True)
        except (OSError, Stop):
            file.data += data[: self.platter.chance.randint(0, len(data))]
            raise
        file.data += data
        file.modified_s = self.platter.now_s()
        return len(data)

    def fdatasync(self, descriptor: int) -> None:
        file = self._open.get(descriptor)
        if file is None:
            raise Stop
        self._sync(file)

    def fsync(self, path: Path) -> None:
        self._sync(self.platter.file(path))

    def rewrite(self, path: Path, offset: int) -> None:
        file = self.platter.file(path)
        if offset <= file.untrusted:
            file.untrusted = 0
        self._sync(file)

    def close(self, descriptor: int) -> None:
        self._call(0)
        if self._open.pop(descriptor, None) is None:
            self.platter.locked.discard(self._locked.pop(descriptor))

    def read(self, path: Path, offset: int, size_bytes: int) -> bytes:
        self._call(self.read_fails)
        return bytes(self.platter.file(path).data[offset : offset + size_bytes])

    def size(self, path: Path) -> int:
        self._call(self.read_fails)
        return len(self.platter.file(path).data)

    def modified_s(self, path: Path) -> float:
        self._call(self.read_fails)
        return self.platter.file(path).modified_s

    def truncate(self, path: Path, size_bytes: int) -> None:
        self._call(self.fails)
        self.platter.file(path).truncate(size_bytes)

    def rename(self, path: Path, target: Path) -> None:
        self._call(self.fails)
        assert path.parent == target.parent
        self.platter.directory(path.parent).change(path.name, target.name, self.platter.node(path))

    def unlink(self, path: Path) -> None:
        self._call(self.fails)
        self.platter.directory(path.parent).change(path.name, None, self.platter.file(path))

    def make_directory(self, path: Path) -> None:
        self._call(self.fails, grows=True)
        self.platter.make_directory(path)

    def remove_directory(self, path: Path) -> None:
        self._call(self.fails)
        node = self.platter.directory(path)
        if node.entries:
            raise OSError(errno.ENOTEMPTY, "not empty")
        self.platter.directory(path.parent).change(path.name, None, node)

    def list(self, path: Path) -> list[str]:
        self._call(self.read_fails)
        return self.platter.names(path)

    def fsync_directory(self, path: Path) -> None:
        self._call(self.fails)
        self.platter.sync_directory(self.platter.directory(path))

    def lock(self, path: Path) -> int | None:
        self._call(self.fails)
        parent = self.platter.directory(path.parent)
        if path.name not in parent.entries:
            parent.change(None, path.name, File())
        file = self.platter.file(path)
        if file in self.platter.locked:
            return None
        self.platter.locked.add(file)
        return self._opened(self._locked, file)

    def watermark(self, path: Path, *, writable: bool = False) -> Watermark:
        self._call(self.fails, grows=writable)
        if writable:
            file = File()
            file.data[:] = bytes(8)
            self.platter.directory(path.parent).change(None, path.name, file)
        found = self.platter.file(path)
        if len(found.data) < 8:
            raise ValueError("empty")
        return SimWatermark(found, self)

    def _sync(self, file: File) -> None:
        try:
            self._call(self.fails)
        except OSError:
            file.sync_failed()
            raise
        self.platter.sync(file)

    def _opened(self, table: dict[int, File], file: File) -> int:
        self._next += 1
        table[self._next] = file
        return self._next
