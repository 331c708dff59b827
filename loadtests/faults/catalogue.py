"""Every fault, in the order in which they strike: what ends a stage's use for others comes last."""

from __future__ import annotations

from loadtests.faults.failing_fsync import failing_fsync
from loadtests.faults.fault import Fault
from loadtests.faults.fewer_workers import FEWER_WORKERS
from loadtests.faults.full_disk import full_disk
from loadtests.faults.killing import KILLS
from loadtests.faults.lost_counters import LOSSES
from loadtests.faults.restored_store import RESTORES
from loadtests.faults.stopping import stops

FULL_S = 10.0
FSYNC_TIMES = 4


def every_fault(*, stop_s: float, full_s: float = FULL_S, fsync_times: int = FSYNC_TIMES) -> list[Fault]:
    """All of them; a store stands still for `stop_s`, a disk is full for `full_s`."""
    flush, wipe, lose = LOSSES
    return [
        *KILLS,
        *stops(stop_s),
        flush,
        wipe,
        *RESTORES,
        lose,
        failing_fsync(fsync_times),
        full_disk(full_s),
        FEWER_WORKERS,
    ]
