"""Damaged bytes, set aside as they were found: for an engineer, and so that nothing disappears silently."""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import structlog

from ingest.spool.disk import Disk, write_whole

log: Any = structlog.get_logger()


def keep(disk: Disk, quarantine: Path, name: str, pieces: Iterable[bytes]) -> None:
    """Durably, once: every reader of a segment meets the same damage. If the disk refuses, delivery goes on without."""
    try:
        disk.make_directory(quarantine)
        if name not in disk.list(quarantine):
            draft_suffix = f".{threading.get_native_id()}.draft"  # readers may come at once
            write_whole(disk, quarantine / name, pieces, draft_suffix)
    except OSError as error:  # it is still in the segment
        log.error("quarantine_failed", name=name, error=str(error))
