"""Commits by the Rust core's thread: on disk when told, failed with the disk's own error, nothing left at the end."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from ingest.clock import SystemClock
from ingest.core import chosen
from ingest.spool.disk import FileDisk
from ingest.spool.incarnation import WATERMARK, Group, Incarnation
from ingest.spool.rust_commit import RustCommit
from tests.spooled import a_frame_of, rows_of

pytestmark = pytest.mark.usefixtures("rust_core")


def an_incarnation(root: Path) -> Incarnation:
    return Incarnation.begin(root / "spool", FileDisk(), SystemClock(), bytes(range(16)))


def a_group(incarnation: Incarnation) -> Group:
    incarnation.framing.add(a_frame_of(rows_of(3)), 1)
    return incarnation.close_group()


def promised(incarnation: Incarnation) -> int:
    """Frames."""
    return int.from_bytes((incarnation.directory / WATERMARK).read_bytes(), "little")


def a_commit() -> RustCommit:
    assert chosen.rust is not None
    return RustCommit(chosen.rust)


def test_a_group_is_in_its_segment_and_below_the_watermark_when_it_is_told(tmp_path):
    async def run() -> None:
        incarnation, commit = an_incarnation(tmp_path), a_commit()
        for sequence in range(1, 4):
            group = a_group(incarnation)
            await commit.commit(incarnation, group)
            assert incarnation.segment.read_bytes().endswith(b"".join(group.chunks))
            assert promised(incarnation) == sequence
        commit.shutdown()

    asyncio.run(run())


def test_the_next_segment_gets_what_comes_behind_a_roll(tmp_path):
    async def run() -> None:
        incarnation, commit = an_incarnation(tmp_path), a_commit()
        await commit.commit(incarnation, a_group(incarnation))
        first = incarnation.segment
        incarnation.roll()
        group = a_group(incarnation)
        await commit.commit(incarnation, group)
        assert incarnation.segment != first
        assert incarnation.segment.read_bytes().endswith(b"".join(group.chunks))
        commit.shutdown()

    asyncio.run(run())


@pytest.mark.parametrize("target, number", [("/dev/full", errno.ENOSPC), ("/nowhere/at/all", errno.ENOENT)])
def test_what_the_disk_says_is_raised_and_nothing_is_promised(tmp_path, target, number):
    async def run() -> None:
        incarnation, commit = an_incarnation(tmp_path), a_commit()
        segment, incarnation._segment = incarnation.segment, Path(target)
        with pytest.raises(OSError, match=os.strerror(number)) as raised:
            await commit.commit(incarnation, a_group(incarnation))
        assert raised.value.errno == number
        assert promised(incarnation) == 0
        incarnation._segment = segment
        commit.shutdown()

    asyncio.run(run())


def test_at_the_end_what_was_begun_is_done_also_when_nobody_waits_for_it(tmp_path):
    async def run() -> None:
        incarnation, commit = an_incarnation(tmp_path), a_commit()
        outcome = commit.commit(incarnation, a_group(incarnation))
        outcome.cancel()
        commit.shutdown()
        assert promised(incarnation) == 1

    asyncio.run(run())


def test_one_that_never_committed_ends():
    a_commit().shutdown()


def test_a_thread_that_could_not_be_begun_fails_its_commit_and_is_begun_with_the_next_one(tmp_path):
    class OutOfDescriptors:
        """Once."""

        tried = 0

        def Committing(self):
            self.tried += 1
            if self.tried == 1:
                raise OSError(errno.EMFILE, "Too many open files")
            assert chosen.rust is not None
            return chosen.rust.Committing()

    async def run() -> None:
        incarnation, commit = an_incarnation(tmp_path), RustCommit(OutOfDescriptors())  # type: ignore[arg-type]
        group = a_group(incarnation)
        with pytest.raises(OSError, match="Too many"):
            await commit.commit(incarnation, group)
        await commit.commit(incarnation, group)
        assert promised(incarnation) == 1
        commit.shutdown()

    asyncio.run(run())
