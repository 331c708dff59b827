"""A spool with lines of CMCD in it, the stage at work on it, and what it made of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL, FrameBody
from ingest.clock import SystemClock
from ingest.cmcd import CmcdLine
from ingest.spool.disk import Disk, FileDisk
from ingest.spool.frame import Frame
from ingest.spool.incarnation import Group
from ingest.spool.reader import Reader
from ingest.spool.recovery import incarnations
from ingest.tuple import Row, decode
from storage import reader_status
from storage.reader_status import ReaderStatus
from storage.stage import staging
from storage.stage.books import Books
from storage.stage.state_file import StateFile
from storage.stage.store import Store
from tests.cmcd_lines import NOW_US, body_of
from tests.spooled import Collector

PATIENCE_S = 20.0
PAST_S = 35 * 86_400


class SetClock(SystemClock):
    """A wall clock that is set; a minute behind NOW_US every line of a short viewing is ripe."""

    def __init__(self, at_us: int = NOW_US + 60_000_000) -> None:
        self.at_us = at_us

    def now_us(self) -> int:
        return self.at_us


def appended(collector: Collector, *requests: list[CmcdLine]) -> Collector:
    """A frame a request, on disk."""
    group = Group()
    for lines in requests:
        group.chunks.append(collector.incarnation.encode(body_of(lines), lines[0].received_at_us))
    group.after = collector.incarnation.state()
    collector.incarnation.commit(group)
    return collector


def appended_bodies(collector: Collector, *bodies: FrameBody) -> None:
    """These frames, received at NOW_US."""
    group = Group([collector.incarnation.encode(body, NOW_US) for body in bodies])
    group.after = collector.incarnation.state()
    collector.incarnation.commit(group)


@asynccontextmanager
async def at_work(
    data_dir: Path, clock: SystemClock | None = None, disk: Disk | None = None, state_max_bytes: int = 1 << 30
) -> AsyncIterator[asyncio.Event]:
    """The stage for the length of a block; it is stopped at the end, and has to end well."""
    clock, disk, stop = clock or SetClock(), disk or FileDisk(), asyncio.Event()
    store = Store(data_dir, disk, clock, segment_size_bytes=1 << 20, state_max_bytes=state_max_bytes)
    running = asyncio.create_task(staging.run(store, data_dir, PAST_S, clock, disk, stop))
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(running, PATIENCE_S)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


def status(data_dir: Path) -> ReaderStatus:
    """As the stage told last."""
    return reader_status.read(data_dir, "stage") or ReaderStatus("stage", "waiting", "", 0, 0, {})


def books(data_dir: Path) -> Books:
    """As they are in the state file."""
    file = StateFile(data_dir / "stage" / "state.db", reads_only=True)
    try:
        return file.books()
    finally:
        file.close()


def lines_judged(data_dir: Path) -> int:
    try:
        return books(data_dir).lines
    except FileNotFoundError:
        return 0


def frames(data_dir: Path, *kinds: int) -> list[Frame]:
    """Of these kinds, in all logs."""
    found = []
    for name in sorted(incarnations(FileDisk(), data_dir / "spool")):
        reader = Reader(data_dir / "spool" / name, FileDisk(), data_dir / "quarantine", 0)
        while reading := reader.read(1 << 24).frames:
            found += [one for one in reading if one.kind in kinds]
        reader.close()
    return found


def rows(data_dir: Path) -> list[bytes]:
    """Tuples of playback events, sorted."""
    return sorted(row for frame in frames(data_dir, KIND_PLAYBACK) for row in frame.tuples())


def signals(data_dir: Path) -> list[bytes]:
    """The same of signals."""
    return sorted(row for frame in frames(data_dir, KIND_SIGNAL) for row in frame.tuples())


def events(data_dir: Path) -> list[Row]:
    """Rows in the order of their time."""
    return sorted(map(decode, rows(data_dir)), key=lambda row: (row.session_id, row.occurred_at_us))
