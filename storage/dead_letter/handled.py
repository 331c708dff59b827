"""The letters that somebody took away: who is named here is gone for everybody, whatever the files still hold."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from ingest.clock import Clock
from ingest.spool.disk import Disk
from storage.dead_letter.letter import Identity
from storage.dead_letter.line_file import SUFFIX, LineFile, files, lines_of

DIRECTORY = "handled"

Outcome = Literal["replayed", "dropped"]
"""replayed: the front acknowledged the event anew · dropped: somebody said that it is not needed."""


class Handled(Struct, frozen=True):
    """A letter that was taken away."""

    incarnation: str
    sequence: int
    index: int
    outcome: Outcome
    at_us: int
    """When, microseconds since 1970 UTC."""

    @property
    def identity(self) -> Identity:
        return self.incarnation, self.sequence, self.index


class Handling:
    """The writing end, one a command; a file is made with the first letter."""

    def __init__(self, data_dir: Path, disk: Disk, clock: Clock) -> None:
        self._directory = data_dir / "dead" / DIRECTORY
        self._disk = disk
        self._clock = clock
        self._file: LineFile | None = None

    def take_away(self, identities: Iterable[Identity], outcome: Outcome) -> None:
        """Durable on return. Raises OSError: then any of them may still be there."""
        at_us = self._clock.now_us()
        lines = [
            msgspec.json.encode(Handled(*identity, outcome=outcome, at_us=at_us)) + b"\n" for identity in identities
        ]
        if not lines:
            return
        if self._file is None or self._file.closed:
            name = f"{at_us:016d}-{os.getpid()}{SUFFIX}"
            self._file = LineFile(self._disk, self._directory / name)
        self._file.append(lines)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


def handled(disk: Disk, data_dir: Path) -> dict[Identity, Handled]:
    """All that are still named. Raises OSError."""
    return {
        one.identity: one
        for path in files(disk, data_dir / "dead" / DIRECTORY)
        for one in handled_in(path)
    }  # fmt: skip


def handled_in(path: Path) -> Iterator[Handled]:
    """Those that one file names. Raises OSError."""
    return parsed_handled(lines_of(path))


def parsed_handled(lines: Iterable[bytes]) -> Iterator[Handled]:
    """A line that is none takes no letter away."""
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=Handled)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
