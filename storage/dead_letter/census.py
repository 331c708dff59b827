"""How many letters there are, by reason: told at every scrape, so what has not changed since the last one is not read.

Of a letter eight bytes are remembered, a hash of its identity, so that none counts twice and none that was handled.
"""

import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from xxhash import xxh3_64_intdigest

from ingest.spool.disk import FileDisk
from storage.dead_letter import unkept
from storage.dead_letter.box import DIRECTORY, is_cut
from storage.dead_letter.handled import DIRECTORY as HANDLED
from storage.dead_letter.handled import parsed_handled
from storage.dead_letter.letter import DamagedLetter, Identity, id_of, parsed
from storage.dead_letter.line_file import files, lines_of
from storage.dead_letter.writer import used_bytes

log: Any = structlog.get_logger()


class Count(NamedTuple):
    """Letters of one reason."""

    letters: int = 0
    size_bytes: int = 0
    """Of their lines."""


class Counted(NamedTuple):
    """The dead letters at one moment."""

    by_reason: dict[str, Count]
    """Kept, and neither replayed nor dropped."""
    unkept: dict[str, int]
    """Reason → letters that were past the quota, ever."""
    damaged_lines: int
    used_bytes: int
    """Of all files of letters: what the quota is of."""


class _Seen(NamedTuple):
    """One file of letters."""

    identities: "dict[str, tuple[array[int], array[int]]]"
    """Reason → hashes of identities, and sizes of lines in bytes."""
    damaged_lines: int


_Signature = tuple[int, int, int]
"""Inode, size in bytes, time of the last change: a file with the same one is the same."""


class Census:
    """Of one data directory. May be asked by several threads."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir / DIRECTORY
        self._disk = FileDisk()
        self._lock = threading.Lock()
        self._letters: dict[Path, tuple[_Signature, _Seen]] = {}
        self._handled: dict[Path, tuple[_Signature, array[int]]] = {}
        self._by_reason: dict[str, Count] = {}
        self._counted_of: object = None

    def count(self) -> Counted:
        """As of now. Raises OSError when the directory cannot be listed."""
        with self._lock:
            self._refresh()
            damaged_lines = sum(seen.damaged_lines for _, seen in self._letters.values())
            used = used_bytes(self._disk, self._directory)
            return Counted(dict(self._by_reason), unkept.total(self._disk, self._directory), damaged_lines, used)

    def _refresh(self) -> None:
        letters = _signed(files(self._disk, self._directory))
        handled = _signed(files(self._disk, self._directory / HANDLED))
        if (letters, handled) == self._counted_of:
            return
        known, self._letters = self._letters, {}
        for path, signature in letters.items():
            seen = known.get(path)
            self._letters[path] = seen if seen and seen[0] == signature else (signature, _read(path))
        self._handled = {
            path: (signature, array("Q", (_hash(one.identity) for one in parsed_handled(_readable(path)))))
            for path, signature in handled.items()
        }
        self._by_reason = self._summed()
        self._counted_of = (letters, handled)

    def _summed(self) -> dict[str, Count]:
        gone = {identity for _, identities in self._handled.values() for identity in identities}
        result: dict[str, Count] = {}
        for _, seen in self._letters.values():
            for reason, (identities, sizes_bytes) in seen.identities.items():
                letters, total_bytes = result.get(reason, Count())
                for identity, size_bytes in zip(identities, sizes_bytes, strict=True):
                    if identity not in gone:
                        gone.add(identity)
                        letters, total_bytes = letters + 1, total_bytes + size_bytes
                if letters:
                    result[reason] = Count(letters, total_bytes)
        return result


def _signed(paths: list[Path]) -> dict[Path, _Signature]:
    result: dict[Path, _Signature] = {}
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:  # swept away since it was listed
            continue
        result[path] = stat.st_ino, stat.st_size, stat.st_mtime_ns
    return result


def _read(path: Path) -> _Seen:
    identities: dict[str, tuple[array[int], array[int]]] = {}
    damaged_lines = 0
    for line in _readable(path):
        try:
            letter = parsed(line)
        except DamagedLetter:
            damaged_lines += not is_cut(line)
            continue
        hashes, sizes_bytes = identities.setdefault(letter.reason, (array("Q"), array("Q")))
        hashes.append(_hash(letter.identity))
        sizes_bytes.append(len(line))
    return _Seen(identities, damaged_lines)


def _readable(path: Path) -> Iterator[bytes]:
    """Its lines, as far as they can be read: a file of another account's must not take all metrics with it."""
    try:
        yield from lines_of(path)
    except OSError as error:
        log.warning("dead_letters_unreadable", file=str(path), error=str(error))


def _hash(identity: Identity) -> int:
    return xxh3_64_intdigest(id_of(identity).encode())
