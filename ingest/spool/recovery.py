"""What a start does with incarnations whose collector is gone: cut the torn tail, seal, end.

It never appends and never drops a valid frame.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from config.limits import SEGMENT_SIZE_BYTES
from ingest.clock import Clock
from ingest.spool import quarantine, segment
from ingest.spool.disk import Disk, remove_if_there
from ingest.spool.ending import ENDED, DamagedEnding, Ending, NewerEnding, read_ending, write_ending
from ingest.spool.frame import HEAD_BYTES, TornFrame
from ingest.spool.incarnation import LOCK, NEW, WATERMARK
from ingest.spool.shortfall import Shortfall, note
from ingest.spool.state import State
from ingest.spool.window import Window, segment_window

log: Any = structlog.get_logger()

IDENTITY = re.compile("[0-9a-f]{32}")
DEAD = ".dead"
"""Suffix of a directory whose incarnation has its tombstone; what is in it is nobody's."""
MISSING_MAX = SEGMENT_SIZE_BYTES // HEAD_BYTES
"""Frames that a watermark may promise beyond those there are and be believed: a segment's. Power cuts tear watermarks,
too, and what is left of one is any number."""


def incarnations(disk: Disk, root: Path) -> list[str]:
    """Names of the incarnations in the spool, in no particular order."""
    return [name for name in disk.list(root) if IDENTITY.fullmatch(name)]


def recover(disk: Disk, root: Path, clock: Clock) -> list[str]:
    """End every incarnation that nobody holds and that has no ending. Returns those still held by a living process.

    May be called at any time, beside living collectors, and again: what the disk refuses is logged and stays for the
    next call. Raises OSError when the spool's directory cannot be listed.
    """
    held = []
    incarnation_names = set(incarnations(disk, root))
    for name in disk.list(root):
        directory = root / name
        try:
            if name.endswith(DEAD):
                clear(disk, directory)
            elif name.endswith(NEW):
                _clear_unborn(disk, directory)
            elif name in incarnation_names and not _recover_one(disk, directory, clock):
                held.append(name)
        except (OSError, segment.UnknownVersion, NewerEnding) as error:
            log.error("spool_not_recovered", incarnation=name, error=str(error) or type(error).__name__)
    return held


def clear(disk: Disk, directory: Path) -> None:
    """Remove a directory and its files; gone already is fine. Raises OSError."""
    disk.fsync_directory(directory.parent)  # its new name is on disk before the first of its files is gone
    for name in disk.list(directory):
        remove_if_there(disk, directory / name)
    try:
        disk.remove_directory(directory)
    except FileNotFoundError:
        return
    disk.fsync_directory(directory.parent)


def _clear_unborn(disk: Disk, directory: Path) -> None:
    descriptor = disk.lock(directory / LOCK)
    if descriptor is not None:  # else its collector is about to finish it
        try:
            clear(disk, directory)
        finally:
            disk.close(descriptor)


def _is_ended(disk: Disk, directory: Path) -> bool:
    """It has an ending that can be believed, and no segment that looks as if it were still written."""
    try:
        ended = read_ending(disk, directory / ENDED) is not None
    except NewerEnding:
        raise
    except DamagedEnding as error:
        log.error("spool_ending_damaged", incarnation=directory.name, error=str(error))
        return False
    return ended and not any(name.endswith(segment.OPEN) for name in disk.list(directory))


def _recover_one(disk: Disk, directory: Path, clock: Clock) -> bool:
    """False: a living process holds it."""
    if _is_ended(disk, directory):
        return True
    descriptor = disk.lock(directory / LOCK)
    if descriptor is None:
        return False
    try:
        if not _is_ended(disk, directory):  # it may have ended while we were about to lock it
            _end(disk, directory, clock)
    finally:
        disk.close(descriptor)
    return True


def _end(disk: Disk, directory: Path, clock: Clock) -> None:
    try:
        ending = read_ending(disk, directory / ENDED)
    except DamagedEnding:
        ending = None
    found = _survey(disk, directory)
    if ending is None and found.shortfall is not None:
        _tell(disk, directory, found, found.shortfall)
    for path in found.segments[:-1]:
        _seal(disk, path)  # its rename was lost; a segment followed by another one was whole
    if found.segments:
        path = found.segments[-1]
        if path.suffix == segment.OPEN:
            torn_bytes = disk.size(path) - found.valid_bytes
            if ending is None and not found.acknowledged_bytes and not found.valid_bytes:
                disk.unlink(path)  # not even its header was written, so nothing in it was promised
                disk.fsync_directory(directory)
            else:
                if ending is None:
                    if torn_bytes and not found.acknowledged_bytes:
                        disk.truncate(path, found.valid_bytes)
                    disk.rewrite(path, found.trusted_bytes)  # what was on its way becomes a promise now
                _seal(disk, path)
            log.info("spool_recovered", incarnation=directory.name, segment=path.name, torn_bytes=torn_bytes,
                     sequence=found.state.sequence)  # fmt: skip
    if ending is None:
        state = found.state
        ending = Ending(state.sequence, state.totals, state.months, state.rejected_by_code, clock.now_us())
        write_ending(disk, directory / ENDED, ending)


def _tell(disk: Disk, directory: Path, found: "_Survey", shortfall: Shortfall) -> None:
    """Before anything is cut: what is left of frames that were promised goes to the quarantine."""
    kept = quarantine.beside(directory.parent)
    note(disk, kept, shortfall)
    if found.segments:
        path, at = found.segments[-1], found.valid_bytes
        window = segment_window(disk, directory, segment.base_of(path.name) or 0)
        if disk.size(path) > at:
            quarantine.put(disk, kept, quarantine.piece_name(path, at), window.pieces(at, None))


def _seal(disk: Disk, path: Path) -> None:
    if path.suffix == segment.OPEN:
        disk.fsync(path)
        disk.rename(path, path.with_suffix(segment.SEALED))
        disk.fsync_directory(path.parent)


class _Survey(NamedTuple):
    """What is left of an incarnation."""

    segments: list[Path]
    """In order."""
    state: State
    """Where it ended."""
    valid_bytes: int
    """Of the last segment, up to the end of its last valid frame; 0 when not even its header is whole."""
    trusted_bytes: int
    """Of the last segment, up to the end of the last frame that was on disk for certain."""
    acknowledged_bytes: bool
    """Whether what follows them was promised: then it is damage, and kept; otherwise it is a torn tail."""
    shortfall: Shortfall | None = None
    """More was promised than these bytes can have held, by a watermark that can be believed."""


def _survey(disk: Disk, directory: Path) -> _Survey:
    """Read from the last segment with a whole header on. Raises OSError, UnknownVersion."""
    files = sorted(name for name in disk.list(directory) if segment.base_of(name) is not None)
    paths = [directory / name for name in files]
    bases = [base for base in map(segment.base_of, files) if base is not None]
    windows = [segment_window(disk, directory, base) for base in bases]
    mark = watermark_of(disk, directory)
    state, at, first, trusted = State(bases[0] if bases else 0), 0, 0, 0
    for index in reversed(range(len(windows))):
        try:
            head, at = windows[index].segment_head()
        except segment.TornSegment:
            continue
        state, first = State(head.base_sequence, head.totals, head.months, head.rejected_by_code), index
        break
    for index in range(first, len(windows)):
        if state.sequence < bases[index]:  # its name says how many frames came before, also of what nobody can read
            state, at = _by_heads(windows[index - 1], state, at, bases[index]), 0
        state, at, trusted = scan(windows[index], state, at if index == first else 0, mark)
    if mark <= state.sequence:
        return _Survey(paths, state, at, trusted, False)
    rest_bytes = disk.size(paths[-1]) - at if paths else 0
    if mark > state.sequence + rest_bytes // HEAD_BYTES:
        log.error("spool_watermark_impossible", incarnation=directory.name, watermark=mark, sequence=state.sequence)
        shortfall = Shortfall(directory.name, state.sequence, mark) if mark - state.sequence <= MISSING_MAX else None
        return _Survey(paths, state, at, trusted, False, shortfall)
    log.error("spool_acknowledged_damaged", incarnation=directory.name, watermark=mark, sequence=state.sequence)
    return _Survey(paths, _by_heads(windows[-1], state, at, mark), at, trusted, True)


def scan(window: Window, state: State, at: int, mark: int) -> tuple[State, int, int]:
    """The state behind a segment's last valid frame, where that frame ends, and where the last one below `mark` does.

    `state` and `at` when there is none. Damage with valid frames behind it is passed over; the reader deals with it.
    Raises OSError.
    """
    valid_bytes = trusted_bytes = at
    while True:
        try:
            found, after = window.frame(at)
        except TornFrame:
            following = window.find_frame(at, state.sequence)
            if following is None:
                return state, valid_bytes, trusted_bytes
            at = following
            continue
        if found.sequence >= state.sequence:
            state = state.behind(found)
        at = valid_bytes = after
        if found.sequence < mark:
            trusted_bytes = after


def _by_heads(window: Window, state: State, at: int, mark: int) -> State:
    """At `mark`, with what the heads of the frames at `at` say, whose payloads are damaged."""
    try:
        while True:
            found, at = window.frame_head(at)
            if not state.sequence <= found.sequence < mark:
                break
            state = state.behind(found)
    except TornFrame:
        pass
    return state._replace(sequence=mark)


def watermark_of(disk: Disk, directory: Path) -> int:
    """How many frames an incarnation says are on disk; 0 when it does not. Never ahead of what was."""
    try:
        watermark = disk.watermark(directory / WATERMARK)
    except (FileNotFoundError, ValueError):
        return 0
    try:
        return watermark.sequence
    finally:
        watermark.close()
