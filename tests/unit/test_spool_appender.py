"""Many requests share an fsync; an answer is a promise; a disk that fails costs nothing that was acknowledged."""

import asyncio
import errno
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import SpoolSettings
from ingest.clock import SystemClock
from ingest.spool import appender as appender_module
from ingest.spool import frame
from ingest.spool.appender import ABANDONED_MAX, Appender, SpoolUnavailable
from ingest.spool.disk import FileDisk
from ingest.spool.ending import ENDED, read_ending
from ingest.spool.recovery import incarnations, recover
from tests.incarnations import (
    Delivered,
    FailingDisk,
    StillClock,
    UnsyncedDisk,
    a_frame_body,
    delivered,
    open_descriptors,
    segments,
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(appender_module, "REOPEN_INTERVAL_S", 0.01)
    with structlog.testing.capture_logs() as logs:
        yield logs


def an_appender(root: Path, disk: FileDisk, interval_ms: int = 0, segment_size_bytes: int = 700) -> Appender:
    return Appender(
        root, disk, SystemClock(), SpoolSettings(commit_interval_ms=interval_ms), segment_size_bytes=segment_size_bytes
    )


async def appended(appender: Appender, name: str) -> str | None:
    """`name`, acknowledged; None when it was refused."""
    try:
        await asyncio.wait_for(appender.append([a_frame_body([name.encode()])], 1, 0, {}), 10)
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


def test_what_was_appended_is_on_disk_and_the_end_is_told(tmp_path):
    acknowledged = running(tmp_path / "spool", FileDisk(), in_groups)
    assert len(acknowledged) == 18 and rows(tmp_path / "spool") == acknowledged
    (name,) = incarnations(FileDisk(), tmp_path / "spool")
    directory = tmp_path / "spool" / name
    assert read_ending(FileDisk(), directory / ENDED) is not None
    assert len(segments(directory)) > 2 and all(path.suffix == ".sealed" for path in segments(directory))


def test_an_answer_comes_after_the_fsync_and_not_before(tmp_path):
    class Held(FileDisk):
        may, begun = threading.Event(), threading.Event()

        def fdatasync(self, descriptor: int) -> None:
            self.begun.set()
            assert self.may.wait(10)
            super().fdatasync(descriptor)

    disk = Held()
    disk.may.set()

    async def doing(appender: Appender) -> list[str | None]:
        disk.may.clear()
        disk.begun.clear()
        waiting = asyncio.create_task(appended(appender, "row"))
        await asyncio.to_thread(disk.begun.wait, 10)
        await asyncio.sleep(0.02)
        assert not waiting.done()
        disk.may.set()
        return [await waiting]

    assert running(tmp_path / "spool", disk, doing) == ["row"]


def test_requests_that_come_together_share_one_fsync(tmp_path):
    disk = FailingDisk()

    async def doing(appender: Appender) -> list[str | None]:
        before = disk.made.count("fdatasync")
        names = [f"row {number}" for number in range(200)]
        got = list(await asyncio.gather(*(appended(appender, name) for name in names)))
        assert disk.made.count("fdatasync") - before <= 3
        return got

    assert len(running(tmp_path / "spool", disk, doing, segment_size_bytes=10**9, interval_ms=2)) == 200


def test_the_counts_of_requests_are_in_the_next_frame(tmp_path):
    async def doing(appender: Appender) -> list[str | None]:
        appender.note(3, 1, {4: 2})
        await appender.append([], 1, 1, {0: 1})  # all of it refused: nothing to wait for
        await appender.append([a_frame_body([b"a", b"b"])], 1, 2, {4: 1})
        return []

    running(tmp_path / "spool", FileDisk(), doing)
    ((found,),) = (one.frames for one in everything(tmp_path / "spool").values())
    assert found.totals == (10, 2, 0, 4, 4) and found.rejected_by_code == (1, 0, 0, 0, 3)


@pytest.mark.parametrize("doing", [one_by_one, in_groups])
def test_whatever_call_to_the_disk_fails_nothing_acknowledged_is_lost_and_appending_goes_on(tmp_path, doing):
    counting = FailingDisk()
    total = len(running(tmp_path / "counted", counting, doing))
    before = open_descriptors()
    for nth, call in enumerate(counting.made):
        root = tmp_path / str(nth)
        acknowledged = running(root, FailingDisk(nth, errno.EIO), doing)
        found = rows(root)
        assert sorted(set(found)) == sorted(found), f"{call} {nth}: twice"
        assert set(acknowledged) <= set(found), f"{call} {nth}: lost"
        assert set(found) == set(acknowledged), f"{call} {nth}: what was refused was cut away"
        assert len(acknowledged) >= total - 6, f"{call} {nth}: appending went on"
    assert open_descriptors() == before


def test_a_failed_fsync_is_never_followed_by_another_write_of_that_incarnation(tmp_path):
    """Its pages are clean and not on disk: a second fsync would lie."""

    class Watching(FileDisk):
        failed: int | None = None
        writes_after = 0

        def fdatasync(self, descriptor: int) -> None:
            if self.failed is None and self.armed:
                self.failed = descriptor
                raise OSError(errno.EIO, "input/output error")
            assert descriptor != self.failed
            super().fdatasync(descriptor)

        def close(self, descriptor: int) -> None:
            if descriptor == self.failed:
                self.failed = -1
            super().close(descriptor)

        armed = False

    disk = Watching()

    async def doing(appender: Appender) -> list[str | None]:
        first = await appended(appender, "before")
        disk.armed = True
        refused = await asyncio.gather(*(appended(appender, f"refused {number}") for number in range(5)))
        assert refused == [None] * 5
        await until_writable(appender)
        return [first, await appended(appender, "after")]

    assert running(tmp_path / "spool", disk, doing) == ["before", "after"]
    found = everything(tmp_path / "spool")
    assert sorted(one.tuples for one in found.values()) == [[b"after"], [b"before"]]
    assert all(one.finished for one in found.values())


@pytest.mark.parametrize("from_call", range(0, 30, 3))
def test_a_disk_that_stays_broken_refuses_and_piles_nothing_up(tmp_path, from_call):
    disk, root = FailingDisk(from_call), tmp_path / "spool"
    disk.broken = True
    before = open_descriptors()

    async def doing(appender: Appender) -> list[str | None]:
        acknowledged = [await appended(appender, f"row {number}") for number in range(10)]
        await asyncio.sleep(0.15)  # some fifteen attempts to begin anew
        assert not appender.writable
        assert len(FileDisk().list(root)) <= 2
        disk.broken = False
        await until_writable(appender)
        acknowledged.append(await appended(appender, "again"))
        return acknowledged

    acknowledged = running(root, disk, doing)
    assert acknowledged[-1] == "again" and rows_unordered(root) == sorted(acknowledged)
    assert open_descriptors() == before


def rows_unordered(root: Path) -> list[str]:
    return sorted(rows(root))


def test_incarnations_that_cannot_be_ended_are_bounded(tmp_path):
    disk = FailingDisk(0, calls=frozenset({"fdatasync", "truncate"}))

    async def doing(appender: Appender) -> list[str | None]:
        disk.broken = True
        disk.failing = frozenset({"truncate"})
        for _ in range(3 * ABANDONED_MAX):
            if appender.writable:
                disk.failing = frozenset({"truncate", "fdatasync"})
                assert await appended(appender, "row") is None
                disk.failing = frozenset({"truncate"})
            await asyncio.sleep(0.02)
        assert len(incarnations(FileDisk(), tmp_path / "spool")) == ABANDONED_MAX
        disk.broken = False
        disk.failing = frozenset()
        await until_writable(appender)
        return [await appended(appender, "again")]

    disk.failing = frozenset()
    assert running(tmp_path / "spool", disk, doing) == ["again"]
    assert rows(tmp_path / "spool") == ["again"]


def test_a_busy_door_does_not_hurry_the_attempts_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(appender_module, "REOPEN_INTERVAL_S", 0.2)
    disk = FailingDisk(-1, calls=frozenset())

    async def doing(appender: Appender) -> list[str | None]:
        disk.nth, disk.broken, disk.failing = 0, True, frozenset({"fdatasync"})
        assert await appended(appender, "refused") is None
        disk.failing = frozenset({"truncate"})
        disk.made.clear()
        await until_writable(appender)
        got = [await appended(appender, f"row {number}") for number in range(100)]
        assert len(disk.made) <= 3
        disk.failing = frozenset()
        return got

    assert len(running(tmp_path / "spool", disk, doing, segment_size_bytes=10**9)) == 100


def test_a_request_that_goes_away_harms_no_other(tmp_path):
    async def doing(appender: Appender) -> list[str | None]:
        names = [f"row {number}" for number in range(30)]
        tasks = {name: asyncio.create_task(appended(appender, name)) for name in names}
        await asyncio.sleep(0)
        for name in names[::3]:
            tasks[name].cancel()
        return [await task for name, task in tasks.items() if name not in names[::3]]

    acknowledged = running(tmp_path / "spool", FileDisk(), doing)
    assert len(acknowledged) == 20 and set(acknowledged) <= set(rows(tmp_path / "spool"))


def test_all_requests_of_a_group_may_go_away(tmp_path):
    async def doing(appender: Appender) -> list[str | None]:
        task = asyncio.create_task(appended(appender, "gone"))
        await asyncio.sleep(0)
        task.cancel()
        return [await appended(appender, "here")]

    assert running(tmp_path / "spool", FileDisk(), doing) == ["here"]
    assert rows(tmp_path / "spool") == ["gone", "here"]


def test_closing_while_requests_come_answers_every_one_truly(tmp_path):
    async def doing(appender: Appender) -> list[str | None]:
        names = [f"row {number}" for number in range(60)]
        tasks = []
        for number, name in enumerate(names):
            tasks.append(asyncio.create_task(appended(appender, name)))
            if number % 7 == 0:
                await asyncio.sleep(0.001)
            if number == 40:
                appender.close()
        return [await task for task in tasks]

    acknowledged = running(tmp_path / "spool", FileDisk(), doing)
    assert 20 < len(acknowledged) <= 41 and rows(tmp_path / "spool") == acknowledged


def test_nothing_is_taken_before_the_start_and_after_the_close(tmp_path):
    async def run() -> None:
        appender = an_appender(tmp_path / "spool", FileDisk())
        writable, answers = [appender.writable], [await appended(appender, "early")]
        appender.start()
        writable.append(appender.writable)
        appender.close()
        writable.append(appender.writable)
        answers.append(await appended(appender, "late"))
        assert writable == [False, True, False] and answers == [None, None]
        await appender.run()

    asyncio.run(run())
    assert rows(tmp_path / "spool") == []


def test_a_run_that_is_cancelled_leaves_nobody_waiting_and_no_descriptor(tmp_path):
    before = open_descriptors()

    async def run() -> None:
        appender = an_appender(tmp_path / "spool", FileDisk())
        appender.start()
        task = asyncio.create_task(appender.run())
        assert await appended(appender, "first") == "first"
        waiting = [asyncio.create_task(appended(appender, f"row {number}")) for number in range(5)]
        await asyncio.sleep(0)
        task.cancel()
        answers = await asyncio.wait_for(asyncio.gather(*waiting), 5)
        assert not appender.writable and set(answers) <= {None} | {f"row {number}" for number in range(5)}
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert open_descriptors() <= before
    assert rows(tmp_path / "spool")[0] == "first"


def test_a_mistake_of_ours_in_the_commit_leaves_nobody_waiting(tmp_path):
    class Mistaken(FileDisk):
        mistaken = False

        def write(self, descriptor, chunks):
            if self.mistaken:
                raise TypeError("ours")
            return super().write(descriptor, chunks)

    disk = Mistaken()

    async def run() -> None:
        appender = an_appender(tmp_path / "spool", disk)
        appender.start()
        disk.mistaken = True
        task = asyncio.create_task(appender.run())
        assert await appended(appender, "row") is None
        with pytest.raises(TypeError):
            await task

    asyncio.run(run())


def test_a_body_too_large_for_a_frame_moves_no_totals(tmp_path, monkeypatch):
    async def doing(appender: Appender) -> list[str | None]:
        monkeypatch.setattr(frame, "FRAME_SIZE_MAX_BYTES", 100)
        with pytest.raises(AssertionError):
            await appender.append([a_frame_body([bytes(200)])], 1, 0, {})
        return [await appended(appender, "row")]

    assert running(tmp_path / "spool", FileDisk(), doing) == ["row"]
    ((found,),) = (one.frames for one in everything(tmp_path / "spool").values())
    assert found.sequence == 0 and found.totals.received == 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=4), st.integers(0, 3))
def test_disks_that_fail_again_and_again_lose_nothing_acknowledged(tmp_path_factory, failures, interval_ms):
    class Unreliable(UnsyncedDisk):
        left = iter(sorted(failures))
        calls, next_at = 0, -1

        def _count(self) -> None:
            if self.next_at < self.calls:
                self.next_at = next(self.left, 10**9)
            self.calls += 1
            if self.calls - 1 == self.next_at:
                raise OSError(errno.EIO, "input/output error")

        def write(self, descriptor, chunks):
            self._count()
            return super().write(descriptor, chunks)

        def fdatasync(self, descriptor):
            self._count()

        def rename(self, path, target):
            self._count()
            super().rename(path, target)

    root = tmp_path_factory.mktemp("data") / "spool"
    acknowledged = running(root, Unreliable(), in_groups, interval_ms=interval_ms)
    found = rows(root)
    assert len(set(found)) == len(found) and set(acknowledged) <= set(found)
