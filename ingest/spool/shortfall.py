"""A watermark that promised more frames than the disk holds, noted in the quarantine: so that it is not forgotten.

The frames are lost, or the watermark is damaged; the disk does not say which. The note is a file beside the damaged
bytes, its numbers are in its name: <incarnation>-<sequence at which it ended>-promised-<watermark>, 16 hex digits each.
It outlives its incarnation; an engineer who has dealt with it removes it.
"""

import re
from pathlib import Path
from typing import NamedTuple

from ingest.spool.disk import Disk, found_there, write_whole

NOTE = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})-promised-([0-9a-f]{16})")


class Shortfall(NamedTuple):
    """Of one incarnation."""

    incarnation: str
    sequence: int
    """At which it ended: frames that could be told."""
    watermark: int
    """Frames that it says were on disk; more than `sequence`."""

    @property
    def frames(self) -> int:
        """Promised and not there."""
        return self.watermark - self.sequence

    @property
    def name(self) -> str:
        """Of its note."""
        return f"{self.incarnation}-{self.sequence:016x}-promised-{self.watermark:016x}"

    def __str__(self) -> str:
        return (
            f"{self.incarnation}: its watermark promised {self.frames} frames more than the disk held when it was "
            f"ended at {self.sequence}: they are lost, or the watermark is damaged"
        )


def note(disk: Disk, quarantine: Path, shortfall: Shortfall) -> None:
    """Durably, once an incarnation: what was found first stays. Raises OSError."""
    for one in noted(disk, quarantine):
        if one.incarnation == shortfall.incarnation:
            found_there(disk, quarantine / one.name)
            return
    disk.make_directory(quarantine)
    write_whole(disk, quarantine / shortfall.name, f"{shortfall}\n".encode())
    found_there(disk, quarantine / shortfall.name)


def noted(disk: Disk, quarantine: Path) -> list[Shortfall]:
    """All there are, by name. Raises OSError."""
    found = map(NOTE.fullmatch, disk.list(quarantine))
    return [Shortfall(one[1], int(one[2], 16), int(one[3], 16)) for one in found if one is not None]
