"""What a running gateway writes of itself, its pid and where its parts are, as soon as the disk takes it.

A full disk ends no start, and an embedded store that could not be started has no address until it can.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import structlog

from gateway.layout import DataDir

log: Any = structlog.get_logger()

INTERVAL_S = 5.0
PID_BYTES = 12


def write_pid(data: DataDir) -> bool:
    """Whether run/pid says who we are; why not is logged."""
    try:
        # in place, in one write of one length: whole whenever a restart looks, and a full disk takes it
        descriptor = os.open(data.run / "pid", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, f"{os.getpid():<{PID_BYTES - 1}}\n".encode(), 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        log.error("pid_not_written", error=str(error))
        return False
    return True


class Published:
    """endpoints.json, as `endpoints` says it."""

    def __init__(self, data: DataDir, endpoints: Callable[[], dict[str, str]]) -> None:
        self._data = data
        self._endpoints = endpoints
        self._written: dict[str, str] | None = None

    def write(self) -> None:
        """Unless it is written already; why it cannot be is logged."""
        endpoints = self._endpoints()
        if endpoints != self._written and write_pid(self._data):
            try:
                self._data.publish(endpoints)
            except OSError as error:
                log.error("endpoints_not_written", error=str(error))
            else:
                self._written = endpoints

    async def keep(self) -> None:
        """Write it anew when it has changed, or could not be written. Never returns."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.write()
