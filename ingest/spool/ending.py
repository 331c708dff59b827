"""How an incarnation ended: final sequence and totals: `ended` beside its segments and, these gone, its tombstone."""

from pathlib import Path

import msgspec
from msgspec import Struct
from xxhash import xxh3_64_hexdigest

from ingest.spool.disk import Disk, write_whole
from ingest.spool.frame import MonthTotals, Totals

ENDED = "ended"
TOMBSTONES = "tombstones"
VERSION = 1
"""Of the JSON; left out where it is 1."""


class DamagedEnding(msgspec.DecodeError):
    """This ending cannot be believed; the next recovery writes it anew from the segments."""


class NewerEnding(DamagedEnding):
    """This ending was written by a newer gateway; nobody here writes it anew."""


class Ending(Struct, frozen=True):
    """The end of an incarnation; nothing is added to it any more."""

    sequence: int
    """Frames it held: the sequence of the one that never came."""
    totals: Totals
    """Behind the last frame."""
    months: dict[int, MonthTotals]
    rejected_by_code: tuple[int, ...]
    at_us: int


def write_ending(disk: Disk, path: Path, ending: Ending) -> None:
    """Durably, replacing what is there: a line of JSON and a line with its checksum. Raises OSError."""
    ordered = msgspec.structs.replace(ending, months=dict(sorted(ending.months.items())))
    line = msgspec.json.encode(ordered)
    write_whole(disk, path, line + b"\n" + xxh3_64_hexdigest(line).encode() + b"\n")


def read_ending(disk: Disk, path: Path) -> Ending | None:
    """None when there is none. Raises OSError, DamagedEnding, NewerEnding."""
    try:
        size_bytes = disk.size(path)  # first: an idle reader asks often, and mostly there is none
        data = disk.read(path, 0, size_bytes)
    except FileNotFoundError:
        return None
    line, _, checksum = data.partition(b"\n")
    if checksum != xxh3_64_hexdigest(line).encode() + b"\n":
        raise DamagedEnding(f"{path}: checksum")
    try:
        version = msgspec.json.decode(line, type=_Versioned).version
        if version != VERSION:
            raise NewerEnding(f"{path}: version {version}, this gateway reads {VERSION}")
        return msgspec.json.decode(line, type=Ending)
    except msgspec.ValidationError as error:
        raise DamagedEnding(f"{path}: {error}") from error


class _Versioned(Struct):
    version: int = VERSION
