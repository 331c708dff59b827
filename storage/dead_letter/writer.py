"""The writing end of the dead letters, one a drain: durable before the position moves, within a quota."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from ingest.clock import Clock
from ingest.spool.disk import Disk
from storage.dead_letter import unkept
from storage.dead_letter.box import DIRECTORY
from storage.dead_letter.handled import DIRECTORY as HANDLED
from storage.dead_letter.letter import Identity, Letter, line_of
from storage.dead_letter.line_file import SUFFIX, LineFile, files
from storage.dead_letter.sweep import sweep

log: Any = structlog.get_logger()

FILE_SIZE_BYTES = 16 * 1024 * 1024
"""A new file from there on, so that what is swept is never more than that at a time."""
IDENTITIES_MAX = 100_000
"""Letters of this process remembered, so that a write that is tried again does not fill the quota with copies."""


class DeadLetters:
    """Of one drain."""

    def __init__(self, data_dir: Path, reader: str, disk: Disk, clock: Clock, quota_bytes: int) -> None:
        self._data_dir = data_dir
        self._directory = data_dir / DIRECTORY
        self._reader = reader
        self._disk = disk
        self._clock = clock
        self._quota_bytes = quota_bytes
        self._file: LineFile | None = None
        self._written: set[Identity] = set()
        self._handled: list[str] = []
        """Names in handled/ when the file was begun."""
        self._to_sweep: set[Path] = set()

    def keep(self, letters: Sequence[Letter]) -> int:
        """Durable on return; how many of them were not kept because the quota is spent. Raises OSError: then none is
        promised."""
        new = [letter for letter in letters if letter.identity not in self._written]
        if not new:
            return 0
        being_swept = self._make_room()
        free_bytes = self._quota_bytes - used_bytes(self._disk, self._directory)
        at_us = self._clock.now_us()
        lines: list[bytes] = []
        for letter in new:
            line = line_of(letter, at_us)
            if len(line) > free_bytes:
                break
            free_bytes -= len(line)
            lines.append(line)
        past = new[len(lines) :]
        if past and being_swept:
            raise BlockingIOError("dead letters are being swept by another process")
        if lines:
            self._open_file().append(lines)
            kept = Counter(letter.reason for letter in new[: len(lines)])
            log.warning("dead_letters", reader=self._reader, kept=len(lines), **kept)
        if past:
            reasons = Counter(letter.reason for letter in past)
            unkept.add(self._disk, self._directory / (self._reader + unkept.SUFFIX), reasons, at_us)
            log.error("dead_letters_quota", reader=self._reader, unkept=len(past), quota_bytes=self._quota_bytes)
        if len(self._written) > IDENTITIES_MAX:
            self._written.clear()
        self._written.update(letter.identity for letter in new)
        return len(past)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _make_room(self) -> bool:
        """Somebody took letters away: those in the file in hand leave the disk only once it is not written any more.

        True when that has to wait for another process.
        """
        try:
            names = self._disk.list(self._directory / HANDLED)
            if names != self._handled:
                self._handled = names
                if self._file is not None:
                    self._to_sweep.add(self._file.path)
                    self.close()
            for path in list(self._to_sweep):
                if sweep(self._disk, self._data_dir, only=path) is not None:
                    self._to_sweep.discard(path)
        except OSError as error:  # room is a comfort; the letters in hand are not
            log.warning("dead_letters_not_swept", reader=self._reader, error=str(error))
            return False
        return bool(self._to_sweep)

    def _open_file(self) -> LineFile:
        if self._file is not None and (self._file.closed or self._file.size_bytes >= FILE_SIZE_BYTES):
            self.close()
        if self._file is None:
            self._file = LineFile(self._disk, self._directory / self._free_name())
        return self._file

    def _free_name(self) -> str:
        names, number = self._disk.list(self._directory), self._clock.now_us()
        while (name := f"{self._reader}-{number:016d}{SUFFIX}") in names:  # the clock was set back
            number += 1
        return name


def used_bytes(disk: Disk, directory: Path) -> int:
    """Size of all files of letters: what the quota is of. Raises OSError."""
    total = 0
    for path in files(disk, directory):
        try:
            total += disk.size(path)
        except FileNotFoundError:  # swept away since it was listed
            continue
    return total
