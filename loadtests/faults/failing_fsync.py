"""A disk whose fsync fails: what was in that group is refused, the incarnation given up, a new one begun."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from loadtests.faults.fault import Fault, Scenery, Unexpected
from loadtests.faults.stage import RECOVERY_S, Stage

SHIMMED: Final = Scenery((("INGEST_SPOOL_KEPT_S", "86400"),), fsync_shim=True)
NAME_LENGTH: Final = 32
"""Of an incarnation's directory."""


async def fail_fsync(times: int, stage: Stage, rng: Random) -> float:
    """`times` over: at once whole again, or only after a while. Each time a new incarnation; the slowest counts."""
    shim = stage.fsync
    assert shim is not None
    slowest_s = 0.0
    for _ in range(times):
        await stage.acknowledged_more(rng.uniform(0, 1))
        before, refused = incarnations(stage), stage.refusals()
        try:
            shim.fails.touch()
            await stage.until(lambda refused=refused: stage.refusals() > refused, RECOVERY_S, "503")  # type: ignore[misc]
            await asyncio.sleep(rng.choice((0, rng.uniform(1, 4))))
        finally:
            shim.fails.unlink(missing_ok=True)
        blow_us, since_s = time.time_ns() // 1_000, time.monotonic()
        await stage.recovered(blow_us)
        slowest_s = max(slowest_s, time.monotonic() - since_s)
        if not incarnations(stage) - before:
            raise Unexpected("after a failed fsync the log went on where it was: its pages are not to be trusted")
        await stage.until(lambda before=before: all(map(ended, before)), RECOVERY_S, "its end is written")  # type: ignore[misc]
    return slowest_s


def incarnations(stage: Stage) -> set[Path]:
    """Every incarnation of the log that is still there."""
    return {path for path in (stage.data_dir / "spool").iterdir() if len(path.name) == NAME_LENGTH}


def ended(incarnation: Path) -> bool:
    """Whether nothing will be added to it any more."""
    return not incarnation.exists() or (incarnation / "ended").exists()


def failing_fsync(times: int) -> Fault:
    """The fault, `times` in a row."""
    means = f"fsync of the log fails with EIO, {times} times, at once whole again or not"
    return Fault("failing-fsync", means, partial(fail_fsync, times), SHIMMED)
