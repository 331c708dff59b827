"""Events that come alone share frames with those that are committed together, and each is answered truly."""

import asyncio
from pathlib import Path

import pytest
import structlog

from ingest.batch import KIND_AD, KIND_CMCD, KIND_PLAYBACK, MONTH_AD, MONTH_CMCD, SCHEMA_AD, SCHEMA_CMCD
from ingest.spool import appender as appender_module
from ingest.spool.appender import Appender, SpoolUnavailable
from ingest.spool.disk import FileDisk
from tests.appending import an_appender, append_lines, append_row, appended, everything, running, until_writable
from tests.incarnations import ALTERING, FailingDisk

pytestmark = pytest.mark.usefixtures("each_core")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(appender_module, "REOPEN_INTERVAL_S", 0.01)
    with structlog.testing.capture_logs() as logs:
        yield logs


async def alone(appender: Appender, name: str) -> str | None:
    """`name`, acknowledged; None when it was refused."""
    try:
        await asyncio.wait_for(append_row(appender, name.encode()), 10)
    except SpoolUnavailable:
        return None
    return name


async def groups(appender: Appender) -> list[str | None]:
    """Three, of events that came alone and of requests."""
    acknowledged = []
    for group in range(3):
        await until_writable(appender)
        names = [f"{group}.{number}" for number in range(6)]
        coming = [(appended if number % 3 == 2 else alone)(appender, name) for number, name in enumerate(names)]
        acknowledged += await asyncio.gather(*coming)
    return acknowledged


def on_disk(root: Path) -> list[str]:
    return [row.decode() for one in everything(root).values() for row in one.tuples]


def test_those_of_one_commit_are_one_frame(tmp_path):
    acknowledged = running(tmp_path / "spool", FileDisk(), groups)
    assert len(acknowledged) == 18
    assert sorted(on_disk(tmp_path / "spool")) == sorted(acknowledged)
    (one,) = everything(tmp_path / "spool").values()
    frames = [frame for frame in one.frames if frame.kind == KIND_AD]
    assert [(frame.schema, frame.month, frame.flags, frame.count) for frame in frames] == [
        (SCHEMA_AD, MONTH_AD, 0, 4)
    ] * 3
    assert len([frame for frame in one.frames if frame.kind == KIND_PLAYBACK]) == 6
    assert one.state.totals.received == one.state.totals.rows == 18
    assert one.state.months[MONTH_AD].rows == 12


def test_lines_of_reports_of_one_commit_are_one_frame_and_what_was_refused_is_in_the_books(tmp_path):
    async def reports(appender: Appender) -> list[str | None]:
        await asyncio.gather(
            *(append_lines(appender, [b"%d" % number, b"%d, too" % number], {23: number}) for number in range(4)),
            append_row(appender, b"an ad event"),
        )
        return []

    running(tmp_path / "spool", FileDisk(), reports)
    (one,) = everything(tmp_path / "spool").values()
    lines = [frame for frame in one.frames if frame.kind == KIND_CMCD]
    assert [(frame.schema, frame.month, frame.flags, frame.count) for frame in lines] == [
        (SCHEMA_CMCD, MONTH_CMCD, 0, 8)
    ]
    assert [frame.count for frame in one.frames if frame.kind == KIND_AD] == [1]
    assert (one.state.totals.received, one.state.totals.rows, one.state.rejected_by_code[23]) == (15, 9, 6)


def test_a_frame_holds_so_many_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.spool.together.ROWS_TOGETHER_MAX", 3)
    assert len(running(tmp_path / "spool", FileDisk(), groups)) == 18
    (one,) = everything(tmp_path / "spool").values()
    assert [frame.count for frame in one.frames if frame.kind == KIND_AD] == [3, 1] * 3


@pytest.mark.parametrize("broken", [False, True])
def test_whichever_call_of_the_disk_fails_what_was_acknowledged_is_there_once(tmp_path, broken):
    root = tmp_path / "whole"
    disk = FailingDisk()
    running(root, disk, groups)
    for nth in range(len(disk.made)):
        root = tmp_path / f"{nth}"
        failing = FailingDisk(nth, calls=ALTERING - {"lock"})

        async def doing(appender: Appender, disk: FailingDisk = failing) -> list[str | None]:
            disk.broken = broken
            first = await asyncio.gather(*(alone(appender, f"a{number}") for number in range(4)))
            disk.broken = False
            return [*first, *await groups(appender)]

        acknowledged = running(root, failing, doing)
        found = on_disk(root)
        assert len(found) == len(set(found)), nth
        assert set(acknowledged) <= set(found), nth
        assert len(acknowledged) >= 12, nth


def test_nobody_comes_alone_before_the_start_and_after_the_close(tmp_path):
    async def run() -> None:
        appender = an_appender(tmp_path / "spool", FileDisk())
        answers = [await alone(appender, "early")]
        appender.start()
        appender.close()
        answers.append(await alone(appender, "late"))
        assert answers == [None, None]
        await appender.run()

    asyncio.run(run())
    assert on_disk(tmp_path / "spool") == []
