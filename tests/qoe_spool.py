"""Sessions in a real spool, and the reader of quality of experience over it."""

import random
from pathlib import Path
from uuid import UUID

from config.settings import QoeSettings
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from ingest.spool.incarnation import Group
from ingest.tuple import Row, encode
from storage.feed import Feed
from storage.qoe.reader import Quality
from tests.signs import LEASES
from tests.spooled import Collector, a_frame_of

SECOND = 1_000_000
DISK, CLOCK = FileDisk(), SystemClock()


def play(collector: Collector, sessions: int, begun_us: int, chance: random.Random) -> None:
    """Sessions that start, stall for a tenth of what they watch, and stop; a frame each, received now."""
    group = Group()
    for _ in range(sessions):
        session_id = UUID(int=chance.getrandbits(128))
        story = [("play", 0, {"startup_ms": 0}), ("buffering", 10, {"buffer_duration_ms": 2_000}), ("stop", 20, {})]
        rows = [
            encode(
                Row(
                    UUID(int=chance.getrandbits(128)), UUID(int=1), session_id, begun_us + at_s * SECOND,
                    CLOCK.now_us(), kind, sequence=number, cdn_edge=f"edge-{chance.randrange(3)}", **more,  # type: ignore[arg-type]
                )
            )
            for number, (kind, at_s, more) in enumerate(story)
        ]  # fmt: skip
        group.chunks.append(collector.incarnation.encode(a_frame_of(rows), CLOCK.now_us()))
    group.after = collector.incarnation.state()
    collector.incarnation.commit(group)
    if collector.incarnation.full:
        collector.incarnation.roll()


def a_sink(data_dir: Path) -> Quality:
    return Quality(QoeSettings(), LEASES, data_dir, DISK, CLOCK)


async def read_on(sink: Quality, data_dir: Path) -> None:
    """What is new, and die: nothing is written, unless it was time to."""
    feed = Feed(data_dir, DISK)
    feed.seat(await sink.open())
    feed.refresh()
    while slices := feed.read(1 << 16):
        await sink.write(slices)
        feed.delivered(slices)
    feed.close()
