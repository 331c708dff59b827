"""DATA/run/door-<index>.json: whether a collector can take events, written by it every second, read for /readyz."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import structlog
from msgspec import Struct

log: Any = structlog.get_logger()


class DoorStatus(Struct, frozen=True):
    """One collector, at one moment."""

    writable: bool
    """The spool takes frames."""
    spool_full: bool
    at_us: int
    """Microseconds since 1970 UTC."""


def write(run: Path, index: int, *, writable: bool, spool_full: bool) -> None:
    """Replace the status. Never raises: a disk that is full of everything must not end a collector."""
    path = run / f"door-{index}.json"
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    try:
        draft.write_bytes(msgspec.json.encode(DoorStatus(writable, spool_full, time.time_ns() // 1_000)))
        draft.rename(path)
    except OSError as error:
        log.warning("door_status_not_written", error=str(error))


def read(run: Path, index: int) -> DoorStatus | None:
    """The last status; None when there is none, or it is not readable."""
    try:
        return msgspec.json.decode((run / f"door-{index}.json").read_bytes(), type=DoorStatus)
    except (OSError, msgspec.DecodeError):
        return None
