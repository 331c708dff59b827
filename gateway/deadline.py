"""How the time between SIGTERM and the exit is shared out, and who keeps it when everything else hangs."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from config.settings import ShutdownSettings

log: Any = structlog.get_logger()


class Deadlines(NamedTuple):
    """In seconds from the moment when collectors are told to go. Pure."""

    requests_s: float
    """Requests under way are answered until then."""
    collectors_s: float
    """Then what collectors there are is killed: what they acknowledged is on disk."""
    delivery_s: float
    """Readers deliver what is left until then; the rest stays in the spool."""
    readers_s: float
    """Then they are killed, in the middle of a transaction if need be."""
    stores_s: float
    """Embedded stores have ended by then."""
    exit_s: float
    """The process is gone."""

    @classmethod
    def of(cls, settings: ShutdownSettings) -> "Deadlines":
        left_s = settings.timeout_s - settings.delay_s
        return cls(*(share * left_s for share in (0.4, 0.5, 0.65, 0.7, 0.9, 0.98)))


def exit_at_the_latest(after_s: float, pids: Callable[[], list[int]]) -> None:
    """In a thread of its own: after `after_s` kill `pids` and end this process with 0, whatever it hangs in.

    The exit code is that of an orderly end: what was promised is on disk, and who waits for us has waited long enough.
    """

    def end() -> None:
        log.error("shutdown_overdue", killed=pids())
        for pid in pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        os._exit(0)

    watch = threading.Timer(after_s, end)
    watch.daemon = True
    watch.start()
