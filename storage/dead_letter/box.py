"""The letters in a data directory, read: each once, oldest file first, without those that somebody took away."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ingest.spool.disk import Disk, FileDisk
from storage.dead_letter.handled import handled
from storage.dead_letter.letter import DamagedLetter, Identity, Letter, parsed
from storage.dead_letter.line_file import files, lines_of

DIRECTORY = "dead"


class Damage(NamedTuple):
    """A line that is no letter."""

    path: Path
    line: int
    """From 1."""


Extent = dict[Path, int]
"""Files of letters, oldest first, and their sizes in bytes."""


def extent(data_dir: Path) -> Extent:
    """As of now: what is written later, also what a replay brings back, lies beyond. Raises OSError."""
    found: Extent = {}
    for path in files(FileDisk(), data_dir / DIRECTORY):
        try:
            found[path] = path.stat().st_size
        except FileNotFoundError:  # swept away since it was listed
            continue
    return found


def read(data_dir: Path, damaged: list[Damage] | None = None, within: Extent | None = None) -> Iterator[Letter]:
    """What is damaged is passed over, and named in `damaged`. Raises OSError."""
    gone = set(handled(FileDisk(), data_dir))
    for path, size_bytes in (extent(data_dir) if within is None else within).items():
        for number, found in enumerate(letters_in(path, size_bytes), 1):
            if found is None:
                if damaged is not None:
                    damaged.append(Damage(path, number))
            elif found.identity not in gone:
                gone.add(found.identity)
                yield found


def dead_identities(disk: Disk, data_dir: Path) -> set[Identity]:
    """Of all events known to have been refused, whatever became of their letters since. Raises OSError."""
    found = set(handled(disk, data_dir))
    for path in files(disk, data_dir / DIRECTORY):
        found.update(letter.identity for letter in letters_in(path) if letter is not None)
    return found


def letters_in(path: Path, size_bytes: int | None = None) -> Iterator[Letter | None]:
    """One for every line of a file, or of so much of it: None where it is damaged. Raises OSError."""
    for line in lines_of(path):
        if size_bytes is not None:
            if size_bytes <= 0:
                return
            size_bytes -= len(line)
        try:
            yield parsed(line)
        except DamagedLetter:
            if not is_cut(line):
                yield None


def is_cut(line: bytes) -> bool:
    """Whether a line that is no letter is only not written to its end: by a crash, or not yet."""
    return line.startswith(b"{") and not line.endswith(b"\n")
