"""An appender at work: what it acknowledged, and what is on disk afterwards."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from config.settings import SpoolSettings
from ingest.batch import FrameBody
from ingest.clock import SystemClock
from ingest.spool.appender import Appender, SpoolUnavailable, Told
from ingest.spool.disk import FileDisk
from ingest.spool.recovery import incarnations, recover
from tests.incarnations import (
    Delivered,
    StillClock,
    UnsyncedDisk,
    a_frame_body,
    delivered,
)


def an_appender(root: Path, disk: FileDisk, interval_ms: int = 0, segment_size_bytes: int = 700) -> Appender:
    return Appender(
        root, disk, SystemClock(), SpoolSettings(commit_interval_ms=interval_ms), segment_size_bytes=segment_size_bytes
    )


async def append(
    appender: Appender,
    bodies: list[FrameBody],
    received_at_us: int = 1,
    duplicates: int = 0,
    rejected_by_code: dict[int, int] | None = None,
) -> None:
    """Returns once all is on disk. Raises SpoolUnavailable."""
    told, outcome = _told()
    appender.append(bodies, received_at_us, duplicates, rejected_by_code or {}, told)
    await outcome


async def append_row(appender: Appender, row: bytes) -> None:
    """The same of an event that came alone."""
    told, outcome = _told()
    appender.append_row(row, 1, told)
    await outcome


async def append_lines(appender: Appender, lines: list[bytes], rejected_by_code: dict[int, int] | None = None) -> None:
    """The same of lines of CMCD."""
    told, outcome = _told()
    appender.append_lines(lines, 1, rejected_by_code or {}, told)
    await outcome


def _told() -> tuple[Told, asyncio.Future[None]]:
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def told(failed: SpoolUnavailable | None) -> None:
        if outcome.done():  # given up
            return
        if failed is None:
            outcome.set_result(None)
        else:
            outcome.set_exception(failed)

    return told, outcome


async def appended(appender: Appender, name: str) -> str | None:
    """`name`, acknowledged; None when it was refused."""
    try:
        await asyncio.wait_for(append(appender, [a_frame_body([name.encode()])]), 10)
    except SpoolUnavailable:
        return None
    return name


async def until_writable(appender: Appender) -> None:
    async with asyncio.timeout(10):
        while not appender.writable:
            await asyncio.sleep(0.002)


def running(
    root: Path, disk: FileDisk, doing: Callable[[Appender], Awaitable[list[str | None]]], **of: int
) -> list[str]:
    """What was acknowledged."""

    async def run() -> list[str]:
        appender = an_appender(root, disk, **of)
        try:
            appender.start()
        except OSError:
            pass  # `run` tries again
        task = asyncio.create_task(appender.run())
        acknowledged = await doing(appender)
        appender.close()
        await asyncio.wait_for(task, 10)
        assert not appender.writable
        return [name for name in acknowledged if name is not None]

    return asyncio.run(run())


async def one_by_one(appender: Appender) -> list[str | None]:
    acknowledged = []
    for number in range(12):
        await until_writable(appender)
        acknowledged.append(await appended(appender, f"row {number}"))
    return acknowledged


async def in_groups(appender: Appender) -> list[str | None]:
    acknowledged = []
    for group in range(3):
        await until_writable(appender)
        names = [f"row {group}.{number}" for number in range(6)]
        acknowledged += await asyncio.gather(*(appended(appender, name) for name in names))
    return acknowledged


def everything(root: Path) -> dict[str, Delivered]:
    """Of every incarnation, recovered first."""
    assert recover(UnsyncedDisk(), root, StillClock()) == [], "nothing holds a lock any more"
    return {name: delivered(root / name) for name in incarnations(FileDisk(), root)}


def rows(root: Path) -> list[str]:
    found = everything(root)
    assert all(one.finished and one.lost == [] for one in found.values())
    for one in found.values():
        assert one.sequences == list(range(len(one.frames)))
    return [row.decode() for one in found.values() for row in one.tuples]
