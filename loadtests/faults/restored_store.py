"""PostgreSQL set back to an earlier state: a copy of its files, taken while it was down, put in their place later."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from random import Random
from typing import Final

from loadtests.faults.failing_fsync import ended, incarnations
from loadtests.faults.fault import FORGETFUL, Fault, Unexpected
from loadtests.faults.stage import RECOVERY_S, Stage

PLAYED_S: Final = 2.0
SAID: Final = '"SinkLost"'
RED_METRICS: Final = ('ingest_reader_up{reader="postgres"} 0.0', 'ingest_store_up{reader="postgres"} 0.0')


async def restore_postgres(stage: Stage, rng: Random) -> float:
    """Within what the spool keeps: everything that the copy lacks is delivered again."""
    earlier = await _copied(stage, rng)
    await stage.acknowledged_more(PLAYED_S)
    await stage.until(lambda: _delivered(stage) > 0, RECOVERY_S, "something that the copy will lack")
    missed = await asyncio.to_thread(_delivered, stage)
    await asyncio.to_thread(stage.product.stop)
    shutil.rmtree(postgres(stage))
    earlier.rename(postgres(stage))
    restored_us, since_s = time.time_ns() // 1_000, time.monotonic()
    await _start(stage)
    await stage.until(lambda: _delivered(stage) >= missed, RECOVERY_S, f"{missed} events are delivered again")
    await stage.recovered(restored_us)
    return time.monotonic() - since_s


async def restore_old_postgres(stage: Stage, rng: Random) -> float:
    """Older than what the spool keeps: the drain turns red and says so by status, metric and log, and delivers nothing
    over the gap; the door stays open. With the newer state back in its place it is as if nothing had been."""
    earlier = await _copied(stage, rng)
    await stage.acknowledged_more(PLAYED_S)
    graves = stage.data_dir / "spool" / "tombstones"
    lacking = {incarnation.name for incarnation in incarnations(stage) if not ended(incarnation)}
    await asyncio.to_thread(stage.product.stop)  # what the copy lacks ends …
    await _start(stage)
    await stage.until(lambda: all((graves / name).exists() for name in lacking), RECOVERY_S, "… and is let go")
    await asyncio.to_thread(stage.product.stop)
    newer = stage.directory / "postgres.newer"
    postgres(stage).rename(newer)
    earlier.rename(postgres(stage))
    said = stage.product.log.read_text().count(SAID)
    await _start(stage)
    await stage.until(lambda: stage.reader("postgres")["state"] == "red", RECOVERY_S, "red")
    if not stage.reader("postgres")["reason"]:
        raise Unexpected("red, and no reason")
    await stage.until(lambda: all(line in metrics(stage) for line in RED_METRICS), RECOVERY_S, "its metrics are 0")
    if stage.product.log.read_text().count(SAID) <= said:
        raise Unexpected("red, and not a word in the log")
    if (await stage.command("verify"))[0] != 1:
        raise Unexpected("verify finds nothing wrong with a store that lost its past")
    await stage.acknowledged_more(PLAYED_S)
    await asyncio.to_thread(stage.product.stop)
    shutil.rmtree(postgres(stage))
    newer.rename(postgres(stage))
    back_us, since_s = time.time_ns() // 1_000, time.monotonic()
    await _start(stage)
    await stage.recovered(back_us)
    return time.monotonic() - since_s


def postgres(stage: Stage) -> Path:
    """Its files."""
    return stage.data_dir / "postgres"


def metrics(stage: Stage) -> str:
    """The exposition of all processes. Raises OSError."""
    with urllib.request.urlopen(stage.gateway.endpoints["admin"] + "/metrics", timeout=5) as answer:  # noqa: S310
        return str(answer.read().decode())


async def _copied(stage: Stage, rng: Random) -> Path:
    """Stop, copy and start again; where the copy is."""
    await asyncio.sleep(rng.uniform(0, 1))
    copy = stage.directory / "postgres.earlier"
    await asyncio.to_thread(stage.product.stop)
    # -a, and so not by Python: the files may belong to the account that PostgreSQL runs under
    await asyncio.to_thread(subprocess.run, ["cp", "-a", str(postgres(stage)), str(copy)], check=True)
    await _start(stage)
    return copy


async def _start(stage: Stage) -> None:
    stage.product.start()
    await asyncio.to_thread(stage.product.wait_ready)


def _delivered(stage: Stage) -> int:
    """Events that the drain that runs now has delivered."""
    return int(stage.reader("postgres").get("delivered_events", 0))


RESTORES: Final = (
    Fault("restore-postgres", "PostgreSQL set back to a copy; the spool still has what it lacks", restore_postgres),
    Fault(
        "restore-old-postgres",
        "PostgreSQL set back to before what the spool keeps: red, until it has its newer state again",
        restore_old_postgres,
        FORGETFUL,
    ),
)
