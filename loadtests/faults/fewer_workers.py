"""Four collectors fill the spool while both stores are away; one collector starts after them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random
from typing import Final

from loadtests.faults.failing_fsync import ended, incarnations
from loadtests.faults.fault import Fault, Scenery, Unexpected
from loadtests.faults.stage import RECOVERY_S, Stage
from loadtests.faults.stopping import stopped

WORKERS: Final = 4
QUOTA_BYTES: Final = 512 * 1024
BUSY_MIN: Final = 2  # connections fall to whoever is quickest to take them: one may go without
FRAMES_MIN_BYTES: Final = 4_096  # with less there may be no more than the heads of segments
CROWDED: Final = Scenery(
    (("INGEST_SPOOL_QUOTA_BYTES", str(QUOTA_BYTES)), ("INGEST_WORKERS", str(WORKERS))), viewers=300
)


async def fewer_workers(stage: Stage, rng: Random) -> float:
    """Killed with its spool full, started again with one collector: that one delivers what four have left."""
    product = stage.product
    postgres, valkey = [await asyncio.to_thread(stage.pid_of, role) for role in ("postgres", "redis")]
    with stopped(postgres, valkey):
        before = stage.refusals()
        await stage.until(lambda: stage.refusals() > before, RECOVERY_S, "the spool is full: 503")
        await asyncio.sleep(rng.uniform(0, 1))
        used = [log_bytes(incarnation) for incarnation in incarnations(stage) if not ended(incarnation)]
        if len(used) != WORKERS or sum(size_bytes >= FRAMES_MIN_BYTES for size_bytes in used) < BUSY_MIN:
            raise Unexpected(f"{WORKERS} collectors left no more than {used} bytes behind")
        await asyncio.to_thread(product.kill_everything)
    fewer = stage.recast({"INGEST_WORKERS": "1"})
    killed_us, since_s = time.time_ns() // 1_000, time.monotonic()
    fewer.start()
    await asyncio.to_thread(fewer.wait_ready)
    collectors = sum(process["role"] == "collector" for process in fewer.statusz()["processes"])
    if collectors != 1:
        raise Unexpected(f"{collectors} collectors, one was asked for")
    await stage.recovered(killed_us)
    return time.monotonic() - since_s


def log_bytes(incarnation: Path) -> int:
    """Size of its segments."""
    return sum(path.stat().st_size for suffix in ("open", "sealed") for path in incarnation.glob(f"*.{suffix}"))


FEWER_WORKERS: Final = Fault(
    "fewer-workers", f"{WORKERS} collectors with a full spool, killed; then one", fewer_workers, CROWDED
)
