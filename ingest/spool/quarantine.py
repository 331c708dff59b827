"""Damaged bytes, set aside as they were found: for an engineer, and so that nothing disappears silently."""

import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from ingest.spool.disk import Disk, found_there, write_whole

log: Any = structlog.get_logger()

PIECE = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})-([0-9]{10,})")
"""<incarnation>-<base sequence of the segment>-<offset in it>"""


class Held(NamedTuple):
    """What lies in the quarantine."""

    files: int
    """Damaged places."""
    size_bytes: int


def held(disk: Disk, quarantine: Path) -> Held:
    """As of now; nothing where there is no quarantine. Raises OSError."""
    files = size_bytes = 0
    for name in disk.list(quarantine):
        if PIECE.fullmatch(name):
            try:
                size_bytes += disk.size(quarantine / name)
            except FileNotFoundError:  # an engineer took it since it was listed
                continue
            files += 1
    return Held(files, size_bytes)


def beside(root: Path) -> Path:
    """Where the quarantine of the spool at `root` is."""
    return root.with_name("quarantine")


def piece_name(segment: Path, at: int) -> str:
    """Of the damaged bytes from `at` on."""
    return f"{segment.parent.name}-{segment.stem}-{at:010d}"


def put(disk: Disk, quarantine: Path, name: str, pieces: Iterable[bytes]) -> None:
    """Durably, once: whoever reads a segment meets the same damage. Raises OSError."""
    disk.make_directory(quarantine)
    if name not in disk.list(quarantine):
        draft_suffix = f".{threading.get_native_id()}.draft"  # readers may come at once
        write_whole(disk, quarantine / name, pieces, draft_suffix)
    found_there(disk, quarantine / name)


def keep(disk: Disk, quarantine: Path, name: str, pieces: Iterable[bytes]) -> None:
    """As `put`; if the disk refuses, delivery goes on without."""
    try:
        put(disk, quarantine, name, pieces)
    except OSError as error:  # it is still in the segment
        log.error("quarantine_failed", name=name, error=str(error))
