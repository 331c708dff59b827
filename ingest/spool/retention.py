"""Which segments may go: delivered by every reader, kept for a while, oldest first. Pure but for `remove`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from ingest.spool import segment
from ingest.spool.disk import Disk, remove_if_there
from ingest.spool.ending import ENDED, TOMBSTONES, DamagedEnding, Ending, read_ending, write_ending
from ingest.spool.recovery import DEAD, clear, incarnations

log: Any = structlog.get_logger()


class Kept(NamedTuple):
    """A sealed segment on disk."""

    incarnation: str
    base: int
    until: int
    """Sequence behind its last frame: the base of the next segment, or where the incarnation ended."""
    size_bytes: int
    age_s: float
    """Since it was sealed, by the file's modification time; as `Deliveries` says it, since it was seen delivered."""


class Deliveries:
    """Since when each segment is delivered, as seen by one process, by a clock that nobody sets.

    A store that falls back does so from what it had, so the time that delivered segments are kept counts from there. A
    start forgets, and keeps longer.
    """

    def __init__(self) -> None:
        self._since_s: dict[tuple[str, int], float] = {}

    def aged(self, segments: list[Kept], positions: Mapping[str, Mapping[str, int]], monotonic_s: float) -> list[Kept]:
        """The same segments, `age_s` counted from when all readers of `positions` were first seen behind each."""
        before, self._since_s, aged = self._since_s, {}, []
        for kept in segments:
            key, since_s = (kept.incarnation, kept.base), monotonic_s
            if _is_delivered(kept, positions):
                since_s = self._since_s[key] = before.get(key, monotonic_s)
            aged.append(kept._replace(age_s=monotonic_s - since_s))
        return aged


def _is_delivered(kept: Kept, positions: Mapping[str, Mapping[str, int]]) -> bool:
    return all(read.get(kept.incarnation, 0) >= kept.until for read in positions.values())


def removable(
    segments: list[Kept], positions: Mapping[str, Mapping[str, int]], kept_s: float, excess_bytes: int
) -> list[Kept]:
    """Segments that every reader has behind it and that are old enough; younger ones, oldest first, while
    `excess_bytes` stay.

    `positions`: reader → incarnation → next sequence; a reader without a position for an incarnation has read nothing
    of it, and without any reader nothing goes. Of an incarnation the beginning goes first, whatever the files' times
    say: a hole in the middle would look like damage.
    """
    if not positions:
        return []
    delivered = []
    age_s: dict[str, float] = {}
    for kept in sorted(segments):
        if _is_delivered(kept, positions):
            age_s[kept.incarnation] = min(kept.age_s, age_s.get(kept.incarnation, kept.age_s))
            delivered.append((-age_s[kept.incarnation], kept))
    result = []
    for negative_age_s, kept in sorted(delivered):
        if -negative_age_s >= kept_s or excess_bytes > 0:
            result.append(kept)
            excess_bytes -= kept.size_bytes
    return result


def sealed_segments(disk: Disk, root: Path, now_s: float) -> list[Kept]:
    """Every sealed segment of the spool; `now_s` is seconds since 1970. Raises OSError."""
    result = []
    for name in incarnations(disk, root):
        directory = root / name
        files = disk.list(directory)
        bases = _bases(files)
        ending = _ending(disk, directory)
        untils: list[int | None] = [*bases[1:], ending.sequence if ending else None]
        for base, until in zip(bases, untils, strict=False):  # without segments there is nothing to pair
            file = segment.name(base, segment.SEALED)
            if until is None or file not in files:
                continue
            path = directory / file
            try:
                result.append(Kept(name, base, until, disk.size(path), now_s - disk.modified_s(path)))
            except FileNotFoundError:  # removed between the listing and now
                continue
    return result


def used_bytes(disk: Disk, root: Path) -> int:
    """Size of all segments, the open ones included. Raises OSError."""
    total = 0
    for name in incarnations(disk, root):
        for file in disk.list(root / name):
            if segment.base_of(file) is not None:
                try:
                    total += disk.size(root / name / file)
                except FileNotFoundError:  # sealed or removed between the listing and now
                    continue
    return total


def remove(disk: Disk, root: Path, segments: list[Kept]) -> None:
    """Unlink them; an ended incarnation left without segments is buried. Raises OSError.

    Also puts away what an interrupted removal left behind.
    """
    for name in disk.list(root):
        if name.endswith(DEAD):
            clear(disk, root / name)
    for kept in segments:
        directory = root / kept.incarnation
        if _bases(disk.list(directory)) == [kept.base] and (ending := _ending(disk, directory)) is not None:
            bury(disk, directory, ending)
        else:
            remove_if_there(disk, directory / segment.name(kept.base, segment.SEALED))
        log.info("spool_segment_removed", incarnation=kept.incarnation, base=kept.base, size_bytes=kept.size_bytes)
    for name in incarnations(disk, root):
        if not _bases(disk.list(root / name)) and (ending := _ending(disk, root / name)) is not None:
            bury(disk, root / name, ending)


def bury(disk: Disk, directory: Path, ending: Ending) -> None:
    """It leaves its tombstone, then goes at once, by a rename: a crash leaves all of it or none. Raises OSError."""
    tombstones = directory.parent / TOMBSTONES
    disk.make_directory(tombstones)
    write_ending(disk, tombstones / directory.name, ending)
    dead = directory.with_suffix(DEAD)
    disk.rename(directory, dead)
    clear(disk, dead)


def _bases(files: list[str]) -> list[int]:
    return sorted(base for base in map(segment.base_of, files) if base is not None)


def _ending(disk: Disk, directory: Path) -> Ending | None:
    try:
        return read_ending(disk, directory / ENDED)
    except DamagedEnding as error:  # recovery writes it anew; until then the last segment stays
        log.error("spool_ending_damaged", incarnation=directory.name, error=str(error))
        return None
