"""The disk under the whole data directory, stores included, filled to its last byte by somebody else, and freed."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from loadtests.faults.fault import Fault, Scenery, Unexpected
from loadtests.faults.stage import RECOVERY_S, Stage

SMALL: Final = Scenery(
    (("INGEST_SPOOL_DISK_RESERVE_BYTES", str(8 * 2**20)), ("INGEST_SPOOL_KEPT_S", "86400")),
    disk_size_bytes=320 * 2**20,
)
PIECE_BYTES: Final = 2**20
REFUSED_MIN: Final = 5


async def fill_disk(seconds: float, stage: Stage, rng: Random) -> float:
    """503 with Retry-After while it is full; when there is room again, everything goes on by itself."""
    await asyncio.sleep(rng.uniform(0, 1))
    ballast = stage.data_dir.parent / "ballast"
    before = stage.refusals()
    try:
        await asyncio.to_thread(fill, ballast)
        held_until_s = time.monotonic() + seconds
        await stage.until(lambda: stage.refusals() >= before + REFUSED_MIN, RECOVERY_S, "503")
        while time.monotonic() < held_until_s:
            await asyncio.to_thread(fill, ballast)  # whatever was let go meanwhile
            await asyncio.sleep(0.2)
        if stage.product.ended():
            raise Unexpected(f"the gateway ended on a full disk\n{stage.product.log_tail()}")
    finally:
        ballast.unlink(missing_ok=True)
    blow_us, since_s = time.time_ns() // 1_000, time.monotonic()
    await stage.recovered(blow_us)
    return time.monotonic() - since_s


def fill(path: Path) -> None:
    """Let `path` grow until the disk has no byte left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    piece_bytes = PIECE_BYTES
    try:
        while piece_bytes:
            try:
                os.write(descriptor, bytes(piece_bytes))
            except OSError as full:
                if full.errno != errno.ENOSPC:
                    raise
                piece_bytes //= 16
    finally:
        os.close(descriptor)


def full_disk(seconds: float) -> Fault:
    """The fault; the disk stays full for `seconds`."""
    strike = partial(fill_disk, seconds)
    return Fault("full-disk", f"a disk without a free byte for {seconds:.0f} s, stores and all", strike, SMALL)
