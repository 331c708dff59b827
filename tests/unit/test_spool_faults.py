"""A disk that fails, once or for good, costs an incarnation and nothing that was acknowledged."""

import asyncio
import errno
import threading
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.spool import appender as appender_module
from ingest.spool.appender import ABANDONED_MAX, Appender
from ingest.spool.disk import FileDisk
from ingest.spool.ending import ENDED
from ingest.spool.recovery import incarnations
from tests.appending import appended, everything, in_groups, one_by_one, rows, running, until_writable
from tests.incarnations import (
    FailingDisk,
    UnsyncedDisk,
    open_descriptors,
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(appender_module, "REOPEN_INTERVAL_S", 0.01)
    with structlog.testing.capture_logs() as logs:
        yield logs


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
    for name in found:  # nor is what it left behind found again when the ending is lost
        (tmp_path / "spool" / name / ENDED).unlink()
    assert sorted(one.tuples for one in everything(tmp_path / "spool").values()) == [[b"after"], [b"before"]]


def test_requests_that_come_while_a_commit_fails_are_refused_and_leave_nothing_in_the_next_incarnation(tmp_path):
    class Failing(FileDisk):
        begun, may = threading.Event(), threading.Event()
        armed = False

        def fdatasync(self, descriptor: int) -> None:
            if self.armed:
                self.armed = False
                self.begun.set()
                assert self.may.wait(10)
                raise OSError(errno.EIO, "input/output error")
            super().fdatasync(descriptor)

    disk = Failing()

    async def doing(appender: Appender) -> list[str | None]:
        disk.armed = True
        early = asyncio.create_task(appended(appender, "early"))
        await asyncio.to_thread(disk.begun.wait, 10)
        late = [asyncio.create_task(appended(appender, f"late {number}")) for number in range(3)]
        await asyncio.sleep(0.01)
        disk.may.set()
        assert await asyncio.gather(early, *late) == [None] * 4
        await until_writable(appender)
        return [await appended(appender, "after")]

    assert running(tmp_path / "spool", disk, doing) == ["after"]
    assert rows(tmp_path / "spool") == ["after"] and not (tmp_path / "quarantine").exists()


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
