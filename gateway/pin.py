"""DATA/run/rebuild.pin: what a rebuild of the counters needs of the spool, told to the retention of the gateway.

It is written before the store is looked at, with no positions: then nothing goes. With the positions of the cut,
nothing behind them goes. It is good for a minute and renewed while its rebuild lives, so that a dead one holds nothing,
unless the next one can go on with it: then it is good until that is too old. Above the bound of derivable readers
nobody minds it (`spool_upkeep`): a rebuild never stops the intake.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from gateway.layout import DataDir
from ingest.clock import Clock

log: Any = structlog.get_logger()

GOOD_S = 60.0
RENEWED_S = 5.0
AFTERWARDS_S = 120.0
"""Behind a switch: until the reader has opened the new counts, which it tries every ten seconds at the least."""


class PinHeld(Exception):
    """Another rebuild is under way in this data directory."""


class Pinned(Struct, frozen=True):
    """The file's content."""

    positions: dict[str, int]
    """Incarnation → next sequence needed; of any other all is needed."""
    until_us: int
    """Microseconds since 1970."""


class Pin:
    """A pin in the making: `async with pinned(data, clock) as pin`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._positions: Mapping[str, int] = {}
        self._until_us = 0
        self.done = False
        """The counts are in force: the pin outlives its rebuild a while."""

    def move(self, positions: Mapping[str, int]) -> None:
        """From now on, all from `positions` on is needed. Raises OSError."""
        self._positions = positions
        self.write(GOOD_S)

    def outlive(self, until_us: int) -> None:
        """From now on it is good until then at the least, whatever becomes of its rebuild; 0: it is not. Raises
        OSError."""
        self._until_us = until_us
        self.write(GOOD_S)

    def write(self, good_s: float) -> None:
        """Raises OSError."""
        until_us = max(self._clock.now_us() + round(good_s * 1_000_000), self._until_us)
        pinned = Pinned(dict(self._positions), until_us)
        draft = self._path.with_name(self._path.name + ".draft")
        draft.write_bytes(msgspec.json.encode(pinned))
        draft.rename(self._path)

    async def renew(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(RENEWED_S)
            try:
                self.write(GOOD_S)
            except OSError as error:  # if it lasts, the rebuild finds the gap before it puts anything into force
                log.warning("pin_not_renewed", error=str(error))

    def end(self) -> None:
        """Raises OSError."""
        if self.done:
            self._until_us = 0
            self.write(AFTERWARDS_S)
        elif not self._until_us:
            self._path.unlink(missing_ok=True)


@asynccontextmanager
async def pinned(data: DataDir, clock: Clock) -> AsyncIterator[Pin]:
    """Hold the spool as it is, for one rebuild at a time. Raises PinHeld, OSError."""
    descriptor = os.open(data.run / "rebuild.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PinHeld(PinHeld.__doc__) from None
        pin = Pin(data.run / "rebuild.pin", clock)
        pin.write(GOOD_S)
        renewing = asyncio.create_task(pin.renew())
        try:
            yield pin
        finally:
            renewing.cancel()
            pin.end()
    finally:
        os.close(descriptor)


def read(data: DataDir, now_us: int) -> dict[str, int] | None:
    """The positions that are pinned now; None when nothing is. Raises OSError."""
    try:
        found = msgspec.json.decode((data.run / "rebuild.pin").read_bytes(), type=Pinned)
    except (FileNotFoundError, msgspec.DecodeError):  # it is not fsynced: whoever wrote that died with the machine
        return None
    return found.positions if now_us < found.until_us else None
