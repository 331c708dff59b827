"""Whether the spool still holds everything behind the positions; what it does not, only a rebuild can count."""

from collections.abc import Mapping
from pathlib import Path

from ingest.spool import segment
from ingest.spool.disk import Disk
from ingest.spool.ending import TOMBSTONES, DamagedEnding, NewerEnding, read_ending
from ingest.spool.recovery import incarnations


def first_gap(disk: Disk, root: Path, positions: Mapping[str, int]) -> str | None:
    """The first incarnation whose frames from its position on are not all in the spool at `root` any more, in words.

    `positions`: incarnation → next sequence; one without a position has to be read from 0. Raises OSError.
    """
    for name in incarnations(disk, root):
        bases = [base for base in map(segment.base_of, disk.list(root / name)) if base is not None]
        if bases and min(bases) > positions.get(name, 0):
            return f"{name} is read up to {positions.get(name, 0)}, the spool begins at {min(bases)}"
    # Tombstones last: one that is written while we look has left its directory's place by now.
    for name in disk.list(root / TOMBSTONES):
        if len(name) != 32:
            continue  # a draft of one
        try:
            ending = read_ending(disk, root / TOMBSTONES / name)
        except DamagedEnding as error:
            if positions.get(name, 0) and not isinstance(error, NewerEnding):
                continue  # that the store was given some of it has to do, as for a drain: nothing will mend the file
            return f"the tombstone of {name} is damaged: {error}"
        if ending is not None and ending.sequence > positions.get(name, 0):
            return f"{name} is read up to {positions.get(name, 0)}, it ended at {ending.sequence} and is gone"
    return None
