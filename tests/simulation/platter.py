"""The platter under all processes of a machine: what each sees of it at once, and what a power cut leaves."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.simulation.node import Directory, File

BESIDE_SHARE = 0.02
"""Of all calls to the disk: how often another process comes in between."""


class Platter:
    """Directories and files. It keeps its promises and not one more: what was not synced is lost, torn or kept.

    `forgets`: `file`, `directory`: their syncs return at once and do nothing, and the worlds must notice.
    """

    def __init__(self, chance: Random, now_s: Callable[[], float], forgets: frozenset[str] = frozenset()) -> None:
        self.chance = chance
        self.now_s = now_s
        self.forgets = forgets
        self.full = False
        """Nothing more can be written or made; what is there can be removed."""
        self.locked: set[File] = set()
        self.meanwhile: Callable[[], None] = lambda: None
        """What others do between any two calls of a process."""
        self._root = Directory()
        self._elsewhere = False

    def interrupt(self) -> None:
        """Perhaps somebody else has the disk for a moment; never in the middle of such a moment."""
        if not self._elsewhere and self.chance.random() < BESIDE_SHARE:
            self._elsewhere = True
            try:
                self.meanwhile()
            finally:
                self._elsewhere = False

    def cut_power(self) -> None:
        """Every process is gone, and the page cache with them."""
        self._root.cut_power(self.chance)

    def node(self, path: Path) -> File | Directory:
        """Raises FileNotFoundError."""
        at: File | Directory = self._root
        for name in path.parts[1:]:
            if not isinstance(at, Directory) or name not in at.entries:
                raise FileNotFoundError(path)
            at = at.entries[name]
        return at

    def file(self, path: Path) -> File:
        """Raises FileNotFoundError, IsADirectoryError."""
        found = self.node(path)
        if not isinstance(found, File):
            raise IsADirectoryError(path)
        return found

    def directory(self, path: Path) -> Directory:
        """Raises FileNotFoundError, NotADirectoryError."""
        found = self.node(path)
        if not isinstance(found, Directory):
            raise NotADirectoryError(path)
        return found

    def names(self, path: Path) -> list[str]:
        """In a directory, sorted; none when it is not there."""
        try:
            return sorted(self.directory(path).entries)
        except FileNotFoundError:
            return []

    def make_directory(self, path: Path) -> None:
        """With its missing parents, durably."""
        at = self._root
        for name in path.parts[1:]:
            if name not in at.entries:
                at.change(None, name, Directory())
                self.sync_directory(at)
            following = at.entries[name]
            assert isinstance(following, Directory)
            at = following

    def sync(self, file: File) -> None:
        if "file" not in self.forgets:
            file.sync()

    def sync_directory(self, directory: Directory) -> None:
        if "directory" not in self.forgets:
            directory.sync()
