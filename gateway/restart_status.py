"""DATA/run/restart.json: how the last restart is going, written by the supervisor, read by `restart`."""

import os
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog
from msgspec import Struct

log: Any = structlog.get_logger()

FILE = "restart.json"


class Replaced(Struct, frozen=True):
    """One place, and who held it."""

    role: str
    index: int
    before: int | None
    """Pid; None: the place is new."""
    now: int | None
    """None: the place is no more."""


class RestartStatus(Struct, frozen=True):
    """One restart, at one moment."""

    number: int
    """Counted from the gateway's start, from 1."""
    state: Literal["running", "done", "refused", "failed"]
    """refused: nothing was changed · failed: some places may be filled anew, the others go on as they were."""
    reason: str = ""
    replaced: tuple[Replaced, ...] = ()


def write(run: Path, status: RestartStatus) -> None:
    """Replace the status. Never raises: a full disk must not end a supervisor."""
    draft = run / f"{FILE}.{os.getpid()}.draft"
    try:
        draft.write_bytes(msgspec.json.encode(status))
        draft.rename(run / FILE)
    except OSError as error:
        log.warning("restart_status_not_written", error=str(error))


def read(run: Path) -> RestartStatus | None:
    """None when there was no restart, or what is there is not readable."""
    try:
        return msgspec.json.decode((run / FILE).read_bytes(), type=RestartStatus)
    except (OSError, msgspec.DecodeError):
        return None
