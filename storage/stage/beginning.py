"""Where the stage begins when it has no state file: at the begin of everything, if nothing of it was read before."""

from collections.abc import Mapping
from pathlib import Path

from ingest.batch import MONTH_CMCD
from ingest.spool import segment
from ingest.spool.disk import Disk
from ingest.spool.ending import TOMBSTONES, DamagedEnding, read_ending
from ingest.spool.frame import MonthTotals
from ingest.spool.recovery import incarnations
from ingest.spool.window import segment_window


def beginnings(disk: Disk, root: Path) -> dict[str, tuple[int, int]]:
    """Incarnation → the sequence to begin with, where that is not 0, and how many lines of CMCD were before it: so many
    are removed already, and some stage must have read them. Raises OSError, UnknownVersion.
    """
    found = {}
    for name in incarnations(disk, root):
        base = min((base for base in map(segment.base_of, disk.list(root / name)) if base is not None), default=0)
        if base:
            found[name] = base, _lines_before(disk, root / name, base)
    for name in disk.list(root / TOMBSTONES):
        if len(name) != 32 or name in found:
            continue  # a draft of one
        try:
            ending = read_ending(disk, root / TOMBSTONES / name)
        except DamagedEnding:  # whoever reads on says so
            continue
        if ending is not None:
            found[name] = ending.sequence, _lines(ending.months)
    return found


def _lines_before(disk: Disk, directory: Path, base: int) -> int:
    try:
        head, _ = segment_window(disk, directory, base).segment_head()
    except segment.TornSegment:
        return 0
    return _lines(head.months)


def _lines(months: Mapping[int, MonthTotals]) -> int:
    return months.get(MONTH_CMCD, MonthTotals()).rows
