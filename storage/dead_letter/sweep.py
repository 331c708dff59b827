"""Handled letters leave the disk: files are written anew without them, or unlinked, but none that is in use.

What is lost by a crash on the way is the sweep, and the next one does it: a file is replaced at once or not at all, and
the name of a handled letter is forgotten last.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ingest.spool import segment
from ingest.spool.disk import Disk, remove_if_there, write_whole
from storage.dead_letter.box import DIRECTORY, is_cut
from storage.dead_letter.handled import DIRECTORY as HANDLED
from storage.dead_letter.handled import handled, handled_in
from storage.dead_letter.letter import DamagedLetter, Identity, parsed
from storage.dead_letter.line_file import SUFFIX, files, lines_of

LOCK = "lock"
DRAFT = ".draft"


class Swept(NamedTuple):
    """What one sweep did."""

    freed_bytes: int = 0
    in_use: int = 0
    """Files of living drains, left as they are."""
    damaged: int = 0
    """Damaged lines removed, when that was asked for."""


def sweep(disk: Disk, data_dir: Path, *, only: Path | None = None, damaged_too: bool = False) -> Swept | None:
    """All files of letters, or `only` one of them; None while another process sweeps. Raises OSError.

    `damaged_too`: lines that are no letters go as well.
    """
    directory = data_dir / DIRECTORY
    if not disk.list(directory):
        return Swept()
    lock = disk.lock(directory / LOCK)
    if lock is None:
        return None
    try:
        for name in disk.list(directory):
            if name.endswith(SUFFIX + DRAFT):  # and no other's, such as a count that a drain is writing
                remove_if_there(disk, directory / name)
        gone = set(handled(disk, data_dir))
        paths = files(disk, directory)
        swept = [_sweep_file(disk, path, gone, damaged_too) for path in paths if only is None or path == only]
        if only is None and gone:
            _forget(disk, data_dir)
        return Swept(*map(sum, zip(*swept, strict=True))) if swept else Swept()
    finally:
        disk.close(lock)


def _sweep_file(disk: Disk, path: Path, gone: set[Identity], damaged_too: bool) -> Swept:
    size_bytes = disk.size(path)
    if not size_bytes:  # its writer may be about to lock it
        return Swept()
    lock = disk.lock(path)
    if lock is None:
        return Swept(in_use=1)
    try:
        kept: list[bytes] = []
        damaged = left_out = 0
        for line in lines_of(path):
            try:
                stays = parsed(line).identity not in gone
            except DamagedLetter:
                cut = is_cut(line)  # nobody will end it any more
                damaged += damaged_too and not cut
                stays = not damaged_too and not cut
            left_out += not stays
            if stays:
                kept.append(line)
        if not left_out:
            return Swept()
        if kept:
            write_whole(disk, path, kept, DRAFT)
        else:
            disk.unlink(path)
            disk.fsync_directory(path.parent)
        return Swept(freed_bytes=size_bytes - sum(map(len, kept)), damaged=damaged)
    finally:
        disk.close(lock)


def _forget(disk: Disk, data_dir: Path) -> None:
    """Files of handled letters of which neither a letter nor the event is left."""
    oldest = _oldest_kept(disk, data_dir / "spool")
    present: set[Identity] = set()
    for path in files(disk, data_dir / DIRECTORY):
        for line in lines_of(path):
            try:
                present.add(parsed(line).identity)
            except DamagedLetter:
                continue
    for path in files(disk, data_dir / DIRECTORY / HANDLED):
        if not disk.size(path):
            continue
        lock = disk.lock(path)
        if lock is None:  # its command is at work
            continue
        try:
            if all(one.identity not in present and one.sequence < oldest(one.incarnation) for one in handled_in(path)):
                disk.unlink(path)
        finally:
            disk.close(lock)


def _oldest_kept(disk: Disk, spool: Path) -> Callable[[str], float]:
    """Incarnation → sequence of the oldest frame that the spool still holds; infinity where it holds none."""
    known: dict[str, float] = {}

    def oldest(incarnation: str) -> float:
        if incarnation not in known:
            bases = [base for base in map(segment.base_of, disk.list(spool / incarnation)) if base is not None]
            known[incarnation] = min(bases, default=float("inf"))
        return known[incarnation]

    return oldest
