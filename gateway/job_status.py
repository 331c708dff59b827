"""DATA/run/jobs.json: how each job's last turn in this gateway ended. Worth nothing after a crash of the system."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

log: Any = structlog.get_logger()

FILE: Final = "jobs.json"


class JobStatus(Struct, frozen=True):
    """The last turn of one job that was this gateway's."""

    job: str
    outcome: str
    """done or failed."""
    detail: str
    """What it did, or why it could not."""
    at_us: int
    """When it ended, microseconds since 1970 UTC."""
    took_s: float


def write(run: Path, statuses: Iterable[JobStatus]) -> None:
    """Replace them all. Never raises: a full disk must stop no job."""
    draft = run / f"{FILE}.draft"
    try:
        draft.write_bytes(msgspec.json.encode(list(statuses)) + b"\n")
        draft.rename(run / FILE)
    except OSError as error:
        log.warning("job_status_not_written", error=str(error))


def read(run: Path) -> list[JobStatus]:
    """The last ones; none before the first turn."""
    try:
        return msgspec.json.decode((run / FILE).read_bytes(), type=list[JobStatus])
    except (OSError, msgspec.DecodeError):
        return []
