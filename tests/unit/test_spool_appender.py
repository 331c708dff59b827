"""Many requests share an fsync; an answer is a promise; a disk that fails costs nothing that was acknowledged."""

import asyncio
import threading

import pytest
import structlog

from config.limits import FRAME_SIZE_MAX_BYTES
from ingest.spool import appender as appender_module
from ingest.spool.appender import Appender
from ingest.spool.disk import FileDisk
from ingest.spool.ending import ENDED, read_ending
from ingest.spool.recovery import incarnations
from tests.appending import an_appender, append, appended, everything, in_groups, rows, running
from tests.incarnations import (
    FailingDisk,
    a_frame_body,
    open_descriptors,
    segments,
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(appender_module, "REOPEN_INTERVAL_S", 0.01)
    with structlog.testing.capture_logs() as logs:
        yield logs


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
        appender.note(2, 1, {0: 1})  # all of it refused: nothing to wait for
        await append(appender, [a_frame_body([b"a", b"b"])], 1, 2, {4: 1})
        return []

    running(tmp_path / "spool", FileDisk(), doing)
    ((found,),) = (one.frames for one in everything(tmp_path / "spool").values())
    assert found.totals == (10, 2, 0, 4, 4) and found.rejected_by_code == (1, 0, 0, 0, 3)


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


def test_a_body_too_large_for_a_frame_moves_no_totals(tmp_path):
    async def doing(appender: Appender) -> list[str | None]:
        with pytest.raises((AssertionError, ValueError)):
            await append(appender, [a_frame_body([bytes(FRAME_SIZE_MAX_BYTES)])])
        return [await appended(appender, "row")]

    assert running(tmp_path / "spool", FileDisk(), doing) == ["row"]
    ((found,),) = (one.frames for one in everything(tmp_path / "spool").values())
    assert found.sequence == 0 and found.totals.received == 1
