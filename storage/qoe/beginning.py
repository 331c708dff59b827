"""Where a reader begins that holds nothing of the spool back, and to which being behind is no loss."""

from collections.abc import Mapping
from pathlib import Path

from ingest.spool import segment
from ingest.spool.disk import Disk
from ingest.spool.ending import TOMBSTONES, DamagedEnding, read_ending
from ingest.spool.recovery import incarnations


def beginnings(disk: Disk, root: Path, positions: Mapping[str, int], oldest_s: float) -> tuple[dict[str, int], bool]:
    """Incarnation → the sequence to read from, of everything in the spool at `root`; and whether something of what is
    behind `positions` (incarnation → next sequence) is gone, or is left out.

    Of an incarnation without a position, segments last written before `oldest_s` (seconds since 1970) are left out, but
    for the last one. Raises OSError.
    """
    result, lacks = {}, False
    for name in incarnations(disk, root):
        known = positions.get(name)
        bases = _bases(disk, root / name, None if known is not None else oldest_s)
        first = bases[0] if bases else 0
        result[name] = max(known or 0, first)
        lacks = lacks or first > (known or 0)
    for name in disk.list(root / TOMBSTONES):
        if len(name) != 32 or name in result:
            continue  # a draft of one
        known = positions.get(name, 0)
        try:
            ending = read_ending(disk, root / TOMBSTONES / name)
        except DamagedEnding:  # whether all of it was read will never be known; that some of it was has to do
            result[name] = max(known, 1)
        else:
            result[name] = max(known, ending.sequence if ending is not None else 0)
        lacks = lacks or (known > 0 and result[name] > known)
    return result, lacks


def _bases(disk: Disk, directory: Path, oldest_s: float | None) -> list[int]:
    """Where its segments begin, rising; without those that are too old."""
    bases = []
    for file in disk.list(directory):
        base = segment.base_of(file)
        if base is None:
            continue
        try:
            is_old = oldest_s is not None and disk.modified_s(directory / file) < oldest_s
        except FileNotFoundError:  # sealed or removed since it was listed
            is_old = False
        bases.append((base, is_old))
    bases.sort()
    fresh = [base for base, is_old in bases if not is_old]
    return fresh or [base for base, _ in bases[-1:]]
