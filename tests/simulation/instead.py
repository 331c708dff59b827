"""What the worlds replace: the driver, the drains' status files, the upkeep's disk; and long waits by short ones."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog

from gateway import spool_upkeep
from ingest.spool.disk import Disk
from storage import drain, feed, reader_status
from storage.postgres import writer
from storage.reader_status import ReaderStatus
from tests.simulation.session import Session
from tests.simulation.wall import Wall

REQUIRED = ("postgres", "archive")
READERS = (*REQUIRED, "redis")


@contextmanager
def instead(
    *,
    connect: Callable[[str], Session],
    told: Callable[[ReaderStatus], None],
    upkeep_disk: Callable[[], Disk],
    wall: Wall,
    logged: Callable[[str], None] | None,
) -> Iterator[None]:
    """For the length of a block. `logged` gets what the gateway logs, a line each."""

    async def connected(url: str) -> Session:
        return connect(url)

    def write(_: Path, status: ReaderStatus) -> None:
        told(status)

    def log(_: Any, level: str, event: structlog.typing.EventDict) -> str:
        if logged is not None:
            logged(f"{level}: " + " ".join(f"{name}={value}" for name, value in event.items()))
        raise structlog.DropEvent

    replaced: list[tuple[Any, str, Any]] = [
        (writer, "connect", connected),
        (reader_status, "write", write),
        (spool_upkeep, "FileDisk", upkeep_disk),
        (spool_upkeep, "SystemClock", lambda: wall),
        (spool_upkeep, "REQUIRED", REQUIRED),
        (spool_upkeep, "READERS", READERS),
        (drain, "IDLE_S", 0.08),
        (drain, "RED_RETRY_S", 0.5),
        (drain, "STATUS_S", 0.4),
        (drain, "PROBE_S", 0.5),
        (feed, "SHARE_MIN_BYTES", 500),
    ]
    before = structlog.get_config()
    structlog.configure(processors=[log], cache_logger_on_first_use=False)
    try:
        with ExitStack() as patches:
            for module, name, value in replaced:
                patches.enter_context(patch.object(module, name, value))
            yield
    finally:
        structlog.configure(**before)
