"""How many letters were past the quota, counted and not kept: DATA/dead/<reader>.unkept, a line of JSON."""

from pathlib import Path
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from ingest.spool.disk import Disk, write_whole

log: Any = structlog.get_logger()

SUFFIX = ".unkept"


class Unkept(Struct, frozen=True):
    """Of one drain, since its data directory was made."""

    by_reason: dict[str, int]
    last_at_us: int
    """When the last one was counted, microseconds since 1970 UTC."""


def add(disk: Disk, path: Path, more: dict[str, int], at_us: int) -> None:
    """Durable on return. Never raises: a disk that takes no count must not stop the delivery of what can be stored."""
    try:
        before = read(disk, path)
        by_reason = dict(before.by_reason) if before else {}
        for reason, count in more.items():
            by_reason[reason] = by_reason.get(reason, 0) + count
        disk.make_directory(path.parent)
        write_whole(disk, path, msgspec.json.encode(Unkept(by_reason, at_us)) + b"\n")
    except OSError as error:
        log.error("dead_letters_uncounted", unkept=more, error=str(error))


def read(disk: Disk, path: Path) -> Unkept | None:
    """None where there is no count, or none that can be believed. Raises OSError."""
    try:
        return msgspec.json.decode(disk.read(path, 0, disk.size(path)), type=Unkept)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        log.warning("dead_letters_unkept_damaged", file=path.name)
        return None


def total(disk: Disk, directory: Path) -> dict[str, int]:
    """Of all drains, by reason. Raises OSError."""
    result: dict[str, int] = {}
    for name in disk.list(directory):
        if name.endswith(SUFFIX) and (one := read(disk, directory / name)) is not None:
            for reason, count in one.by_reason.items():
                result[reason] = result.get(reason, 0) + count
    return result
