"""DATA/run/<reader>.json: how a drain is and where it stands, written by it every second, read by everybody else.

Replaced by a plain rename, so a reader of the file sees one whole status or the one before; not fsynced, because
after a crash of the system it is worth nothing.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog
from msgspec import Struct

log: Any = structlog.get_logger()

DIRECTORY = "run"

DrainState = Literal["running", "waiting", "red", "rebuild_needed"]
"""running: delivers · waiting: the store does not answer, tried again with backoff · red: an engineer is needed,
tried again every ten seconds · rebuild_needed: a derivable store lost its state and stays off until it is rebuilt."""


class ReaderStatus(Struct, frozen=True):
    """One drain, at one moment."""

    reader: str
    state: DrainState
    reason: str
    """Why it is not running; empty while it is."""
    pid: int
    at_us: int
    """When it was written, microseconds since 1970 UTC. After a few seconds without a new one its process is dead."""
    positions: dict[str, int]
    """Incarnation (32 hex digits) → sequence of the next frame, as the store holds it; empty until it was opened."""
    delivered_events: int = 0
    """By this process."""
    last_success_us: int | None = None
    last_error: str | None = None
    lag_frames: int = 0
    lag_s: float = 0.0

    def behind_s(self, now_us: int) -> float:
        """How far behind the spool's end it may be at `now_us`: its lag when it told, and what passed since."""
        return (now_us - self.at_us) / 1e6 + self.lag_s


def write(data_dir: Path, status: ReaderStatus) -> None:
    """Replace the status. Never raises: a full disk must not stop a drain."""
    path = data_dir / DIRECTORY / f"{status.reader}.json"
    draft = path.with_name(f"{path.name}.{status.pid}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.encode(status) + b"\n")
        draft.rename(path)
    except OSError as error:
        log.warning("reader_status_not_written", reader=status.reader, error=str(error))


def read(data_dir: Path, reader: str) -> ReaderStatus | None:
    """The last status, None when there is none or it is not readable."""
    try:
        data = (data_dir / DIRECTORY / f"{reader}.json").read_bytes()
        return msgspec.json.decode(data, type=ReaderStatus)
    except (OSError, msgspec.DecodeError):
        return None


def last_positions(data_dir: Path, reader: str) -> dict[str, int]:
    """Where the reader's store stood when it was last told; empty when nobody did."""
    last = read(data_dir, reader)
    return last.positions if last is not None else {}
