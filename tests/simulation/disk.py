"""A disk in memory that keeps its promises and not one more: what was not synced is lost, torn or kept, by chance."""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from ingest.spool.watermark import Watermark
from tests.simulation.node import Directory, File

BESIDE_SHARE = 0.02
"""Of all calls: how often another process comes in between."""


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
    """See ingest.spool.disk.Disk. `stop_in` calls from now the process stops; `fail` of 1,000 calls fail."""

    def __init__(self, chance: Random, now_s: Callable[[], float], forgets: frozenset[str] = frozenset()) -> None:
        self.chance = chance
        self.now_s = now_s
        self.forgets = forgets
        """`file`, `directory`: their syncs return at once and do nothing. The worlds must notice."""
        self.stop_in: int | None = None
        self.fail = 0
        self.stopped = False
        self.beside: Callable[[], None] | None = None
        """What another process does, between any two calls of this one."""
        self._root = Directory()
        self._open: dict[int, File] = {}
        self._locked: dict[int, File] = {}
        self._next = 3

    # ── what happens to it ──────────────────────────────────────────────────────────────────────────────────────

    def restart(self, *, power_cut: bool) -> None:
        """The process is gone; of a killed one everything written is still there."""
        self._open.clear()
        self._locked.clear()
        self.stopped, self.stop_in, self.fail, self.beside = False, None, 0, None
        if power_cut:
            self._root.cut_power(self.chance)

    def descriptors(self) -> int:
        """Files and locks that are open."""
        return len(self._open) + len(self._locked)

    def _call(self, failing: bool = True) -> None:
        if self.stopped:
            raise Stop
        if self.beside and self.chance.random() < BESIDE_SHARE:
            self._meanwhile()
        if self.stop_in is not None:
            self.stop_in -= 1
            if self.stop_in < 0:
                self.stopped = True
                raise Stop
        if failing and self.fail and self.chance.randrange(1_000) < self.fail:
            raise OSError(self.chance.choice([errno.ENOSPC, errno.EIO]), "simulated")

    def _meanwhile(self) -> None:
        """Another process has the disk for a moment; what stops or fails this one is not its own."""
        beside, stop_in, fail = self.beside, self.stop_in, self.fail
        self.beside, self.stop_in, self.fail = None, None, 0
        try:
            assert beside is not None
            beside()
        finally:
            self.beside, self.stop_in, self.fail = beside, stop_in, fail

    # ── the calls ───────────────────────────────────────────────────────────────────────────────────────────────

    def create(self, path: Path) -> int:
        self._call()
        parent = self._directory(path.parent)
        if path.name in parent.entries:
            raise FileExistsError(path)
        file = File()
        parent.change(None, path.name, file)
        return self._opened(self._open, file)

    def write(self, descriptor: int, chunks: Sequence[bytes | bytearray]) -> int:
        file, data = self._open[descriptor], b"".join(chunks)
        try:
            self._call()
        except (OSError, Stop):
            file.data += data[: self.chance.randint(0, len(data))]
            raise
        file.data += data
        file.modified_s = self.now_s()
        return len(data)

    def fdatasync(self, descriptor: int) -> None:
        self._sync(self._open[descriptor])

    def fsync(self, path: Path) -> None:
        self._sync(self._file(path))

    def rewrite(self, path: Path, offset: int) -> None:
        file = self._file(path)
        if offset <= file.untrusted:
            file.untrusted = 0
        self._sync(file)

    def close(self, descriptor: int) -> None:
        self._call(failing=False)
        if self._open.pop(descriptor, None) is None:
            del self._locked[descriptor]

    def read(self, path: Path, offset: int, size_bytes: int) -> bytes:
        self._call(failing=False)
        return bytes(self._file(path).data[offset : offset + size_bytes])

    def size(self, path: Path) -> int:
        self._call(failing=False)
        return len(self._file(path).data)

    def modified_s(self, path: Path) -> float:
        self._call(failing=False)
        return self._file(path).modified_s

    def truncate(self, path: Path, size_bytes: int) -> None:
        self._call()
        self._file(path).truncate(size_bytes)

    def rename(self, path: Path, target: Path) -> None:
        self._call()
        assert path.parent == target.parent
        parent, node = self._directory(path.parent), self._node(path)
        parent.change(path.name, target.name, node)

    def unlink(self, path: Path) -> None:
        self._call()
        self._directory(path.parent).change(path.name, None, self._file(path))

    def make_directory(self, path: Path) -> None:
        self._call()
        at = self._root
        for name in path.parts[1:]:
            if name not in at.entries:
                at.change(None, name, Directory())
                if "directory" not in self.forgets:
                    at.sync()
            following = at.entries[name]
            assert isinstance(following, Directory)
            at = following

    def remove_directory(self, path: Path) -> None:
        self._call()
        node = self._directory(path)
        if node.entries:
            raise OSError(errno.ENOTEMPTY, "not empty")
        self._directory(path.parent).change(path.name, None, node)

    def list(self, path: Path) -> list[str]:
        self._call(failing=False)
        try:
            return sorted(self._directory(path).entries)
        except FileNotFoundError:
            return []

    def fsync_directory(self, path: Path) -> None:
        self._call()
        if "directory" not in self.forgets:
            self._directory(path).sync()

    def lock(self, path: Path) -> int | None:
        self._call()
        parent = self._directory(path.parent)
        if path.name not in parent.entries:
            parent.change(None, path.name, File())
        file = self._file(path)
        if file in self._locked.values():
            return None
        return self._opened(self._locked, file)

    def watermark(self, path: Path, *, writable: bool = False) -> Watermark:
        self._call()
        if writable:
            file = File()
            file.data[:] = bytes(8)
            self._directory(path.parent).change(None, path.name, file)
        found = self._file(path)
        if len(found.data) < 8:
            raise ValueError("empty")
        return SimWatermark(found, self)

    # ── names and nodes ─────────────────────────────────────────────────────────────────────────────────────────

    def _sync(self, file: File) -> None:
        try:
            self._call()
        except OSError:
            file.sync_failed()
            raise
        if "file" not in self.forgets:
            file.sync()

    def _opened(self, table: dict[int, File], file: File) -> int:
        self._next += 1
        table[self._next] = file
        return self._next

    def _node(self, path: Path) -> File | Directory:
        at: File | Directory = self._root
        for name in path.parts[1:]:
            if not isinstance(at, Directory) or name not in at.entries:
                raise FileNotFoundError(path)
            at = at.entries[name]
        return at

    def _file(self, path: Path) -> File:
        node = self._node(path)
        if not isinstance(node, File):
            raise IsADirectoryError(path)
        return node

    def _directory(self, path: Path) -> Directory:
        node = self._node(path)
        if not isinstance(node, Directory):
            raise NotADirectoryError(path)
        return node
