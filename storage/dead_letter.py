r"""What no store takes, kept with its reason: files of lines below DATA/dead, durable before the position moves.

    DATA/dead/<reader>-<microseconds since 1970, 16 digits>.jsonl       one a start of a drain, and one every 16 MiB

A line is one JSON object (UTF-8, ended by \n):
    at_us        when it was written, microseconds since 1970 UTC
    reason       month_dropped: its month is past the drop horizon · sqlstate_<code>: the database refused it
    sqlstate     of the refusal, "" where there was none
    message      the database's words, at most 300 characters; never the row
    event_id     uuid
    occurred_at_us, received_at_us       of the event, microseconds since 1970 UTC, as sent
    incarnation, sequence, index         where it lay in the spool: its identity
    schema, flags                        of its frame
    tuple        base64 of its COPY tuple as acknowledged (ingest.tuple), of which everything else can be had

A crash between the letter and the commit of its position writes the letter again: it is the same letter when
(incarnation, sequence, index) is, and `read` gives it once. A last line that was cut short by a crash is passed over;
its batch was not committed. Files are never appended to by a later start. Past the quota of the directory letters are
counted and not kept.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from ingest.clock import Clock
from ingest.spool.disk import Disk
from ingest.spool.frame import Frame
from ingest.tuple import event_id, occurred_at_us, received_at_us

log: Any = structlog.get_logger()

DIRECTORY = "dead"
FILE_SIZE_BYTES = 16 * 1024 * 1024
"""A new file from there on, so that old letters can be taken away one file at a time."""
MESSAGE_MAX_CHARACTERS = 300
IDENTITIES_MAX = 100_000
"""Letters of this process remembered, so that a write that is tried again does not fill the quota with copies."""

Identity = tuple[str, int, int]


class Letter(Struct, frozen=True):
    """One event that was acknowledged and then refused; the fields are the module's."""

    reason: str
    sqlstate: str
    message: str
    event_id: str
    occurred_at_us: int
    received_at_us: int
    incarnation: str
    sequence: int
    index: int
    schema: int
    flags: int
    tuple: str
    at_us: int = 0

    @property
    def identity(self) -> Identity:
        """Equal for the same event of the same frame."""
        return self.incarnation, self.sequence, self.index


class DeadLetters:
    """The writing end, one a drain."""

    def __init__(self, data_dir: Path, reader: str, disk: Disk, clock: Clock, quota_bytes: int) -> None:
        self._directory = data_dir / DIRECTORY
        self._reader = reader
        self._disk = disk
        self._clock = clock
        self._quota_bytes = quota_bytes
        self._descriptor: int | None = None
        self._size_bytes = 0
        self._written: set[Identity] = set()

    def keep(self, letters: Sequence[Letter]) -> int:
        """Durable on return; how many of them were not kept because the quota is spent. Raises OSError: then none is
        promised."""
        new = [letter for letter in letters if letter.identity not in self._written]
        if not new:
            return 0
        free_bytes = self._quota_bytes - self._used_bytes()
        at_us = self._clock.now_us()
        lines: list[bytes] = []
        for letter in new:
            line = msgspec.json.encode(msgspec.structs.replace(letter, at_us=at_us)) + b"\n"
            if len(line) > free_bytes:
                break
            free_bytes -= len(line)
            lines.append(line)
        if lines:
            self._append(lines)
        if len(self._written) > IDENTITIES_MAX:
            self._written.clear()
        self._written.update(letter.identity for letter in new)
        unkept = len(new) - len(lines)
        if unkept:
            log.error("dead_letters_quota", reader=self._reader, unkept=unkept, quota_bytes=self._quota_bytes)
        return unkept

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            self._disk.close(descriptor)

    def _append(self, lines: list[bytes]) -> None:
        if self._descriptor is None or self._size_bytes >= FILE_SIZE_BYTES:
            self.close()
            self._disk.make_directory(self._directory)
            self._descriptor = self._disk.create(self._directory / self._free_name())
            self._disk.fsync_directory(self._directory)
            self._size_bytes = 0
        try:
            self._size_bytes += self._disk.write(self._descriptor, lines)
            self._disk.fdatasync(self._descriptor)
        except OSError:  # what is in this file's tail is unknown: it is never written to again
            self.close()
            raise

    def _free_name(self) -> str:
        names, number = self._disk.list(self._directory), self._clock.now_us()
        while (name := f"{self._reader}-{number:016d}.jsonl") in names:  # the clock was set back
            number += 1
        return name

    def _used_bytes(self) -> int:
        return sum(self._disk.size(self._directory / name) for name in self._disk.list(self._directory))


def read(data_dir: Path) -> Iterator[Letter]:
    """Every letter once, oldest file first; lines that a crash or a hand damaged are passed over."""
    seen: set[Identity] = set()
    for path in sorted((data_dir / DIRECTORY).glob("*.jsonl"), key=lambda path: path.name.rpartition("-")[2]):
        with path.open("rb") as file:
            for line in file:
                try:
                    letter = msgspec.json.decode(line, type=Letter)
                except msgspec.DecodeError:
                    log.warning("dead_letter_damaged", file=path.name)
                    continue
                if letter.identity not in seen:
                    seen.add(letter.identity)
                    yield letter


def letter_of(
    incarnation: str, frame: Frame, number: int, row: bytes, reason: str, sqlstate: str = "", message: str = ""
) -> Letter:
    """For row `number` (from 0) of a frame, `row` as it lies there."""
    return Letter(
        reason=reason,
        sqlstate=sqlstate,
        message=message[:MESSAGE_MAX_CHARACTERS],
        event_id=str(UUID(bytes=event_id(row).ljust(16, b"\0"))),  # of a tuple that is none, it may be cut
        occurred_at_us=occurred_at_us(row),
        received_at_us=received_at_us(row),
        incarnation=incarnation,
        sequence=frame.sequence,
        index=number,
        schema=frame.schema,
        flags=frame.flags,
        tuple=encoded(row),
    )


def encoded(row: bytes) -> str:
    """A tuple for `Letter.tuple`."""
    return b64encode(row).decode()


def decoded(text: str) -> bytes:
    """The tuple of a letter; the inverse of `encoded`. Raises ValueError."""
    return b64decode(text, validate=True)
