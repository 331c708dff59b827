"""Composition of the session stage: lines of CMCD become events in a spool of its own."""

from collections.abc import Callable

from config.settings import Settings
from gateway.collecting import segment_size_bytes
from gateway.draining import turn
from gateway.layout import DataDir
from gateway.notice import Notice
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from storage.stage import staging
from storage.stage.store import Store


async def run(settings: Settings, data: DataDir, notice: Notice, ready: Callable[[], None]) -> None:
    """Until `notice`. What it holds then is not judged: it stays in the spool, for the next one."""
    disk, clock = FileDisk(), SystemClock()
    store = Store(
        data.root,
        disk,
        clock,
        segment_size_bytes=segment_size_bytes(settings),
        state_max_bytes=settings.stage.state_max_bytes,
    )
    ready()
    await turn(data, store.reader, notice)
    await staging.run(store, data.root, settings.door.past_s, clock, disk, notice.given)
