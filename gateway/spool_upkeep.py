"""The spool beside the flow: incarnations of dead collectors are ended, delivered segments removed."""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from config.settings import Settings
from gateway import pin
from gateway.layout import DataDir
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from ingest.spool.recovery import recover
from ingest.spool.retention import Deliveries, removable, remove, sealed_segments, used_bytes
from storage.reader_status import ReaderStatus

log: Any = structlog.get_logger()

INTERVAL_S = 5.0
READERS = ("postgres", "stage", "redis", "derived")
"""Every reader holds segments back; a derivable one only until it is cut loose."""
REQUIRED = ("postgres", "stage")
SCYLLA = "scylla"
"""Before these, and required as they are, where it keeps the rows of playback events."""
DERIVABLE_SHARE = 0.8
"""Of the high mark: a spool that has grown so far goes on without its derivable readers, which say `rebuild_needed`,
and minds no rebuild, which says so and ends."""


def readers(settings: Settings) -> tuple[str, ...]:
    """All of this gateway."""
    return (SCYLLA, *READERS) if settings.store == "scylla" else READERS


def required(settings: Settings) -> tuple[str, ...]:
    """Those of them without which nothing goes."""
    return (SCYLLA, *REQUIRED) if settings.store == "scylla" else REQUIRED


async def recover_all(data: DataDir, patience_s: float) -> None:
    """End the incarnations of collectors that are gone; wait a while for those that are about to go."""
    disk, clock = FileDisk(), SystemClock()
    until_s = clock.monotonic_s() + patience_s
    while held := await asyncio.to_thread(recover, disk, data.spool, clock):
        if clock.monotonic_s() >= until_s:
            if patience_s:  # else they are those of living collectors
                log.warning("spool_incarnations_held", incarnations=held)
            return
        await asyncio.sleep(0.1)


async def keep(
    data: DataDir, settings: Callable[[], Settings], statuses: Callable[[], Mapping[str, ReaderStatus | None]]
) -> None:
    """End what died, remove what is delivered, for ever; what fails is logged and the next turn comes."""
    deliveries = Deliveries()
    while True:
        await asyncio.sleep(INTERVAL_S)
        try:
            await asyncio.to_thread(recover, FileDisk(), data.spool, SystemClock())
            await asyncio.to_thread(remove_delivered, data, settings(), statuses(), deliveries)
        except Exception as error:  # whatever it is, the door stays open
            unforeseen = not isinstance(error, (OSError, msgspec.DecodeError))
            log.error("spool_upkeep_failed", error=str(error) or type(error).__name__, exc_info=unforeseen)


def remove_delivered(
    data: DataDir, settings: Settings, statuses: Mapping[str, ReaderStatus | None], deliveries: Deliveries
) -> None:
    """One turn. Nothing goes while a required reader has not told where it is, and by age nothing while one does not
    run: its store may come back as an older one. Raises OSError, msgspec.DecodeError.
    """
    positions: dict[str, Mapping[str, int]] = {}
    needed = required(settings)
    for reader in readers(settings):
        status = statuses[reader]
        if status is None and reader in needed:
            return
        if status is None or status.state != "rebuild_needed":
            positions[reader] = status.positions if status else {}
    clock = SystemClock()
    now_us = clock.now_us()
    pinned = pin.read(data, now_us)
    if pinned is not None:
        positions["rebuild"] = pinned
    disk = FileDisk()
    quota_bytes, used = settings.spool.quota_bytes, used_bytes(disk, data.spool)
    # half of the quota: what is only kept for comfort must never bring the intake near its high mark
    excess_bytes = used - quota_bytes // 2
    segments = deliveries.aged(sealed_segments(disk, data.spool, now_us / 1e6), positions, clock.monotonic_s())
    running = all((status := statuses[reader]) is not None and status.state == "running" for reader in needed)
    chosen = removable(segments, positions, settings.spool.kept_s if running else math.inf, excess_bytes)
    beyond_bytes = used - int(quota_bytes * settings.spool.high_mark * DERIVABLE_SHARE)
    if beyond_bytes > sum(kept.size_bytes for kept in chosen):
        delivered = {reader: positions[reader] for reader in needed}
        cut = [kept for kept in removable(segments, delivered, math.inf, beyond_bytes) if kept not in chosen]
        if cut:
            log.error("derivable_readers_cut_loose", segments=len(cut), size_bytes=sum(kept.size_bytes for kept in cut))
            chosen += cut
    remove(disk, data.spool, chosen)
