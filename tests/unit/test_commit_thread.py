"""The commit thread: one call after the other, each answered in the loop that asked."""

import asyncio
import threading
from functools import partial

import pytest

from ingest.spool.commit_thread import CommitThread


def test_calls_are_done_one_after_the_other_and_answered_in_the_loop():
    async def run() -> None:
        thread, done = CommitThread(), []

        def work(number: int) -> tuple[int, str]:
            done.append(number)
            return number, threading.current_thread().name

        outcomes = [thread.call(partial(work, number)) for number in range(20)]
        assert await asyncio.gather(*outcomes) == [(number, "commit") for number in range(20)]
        assert done == list(range(20))
        thread.shutdown()

    asyncio.run(run())


@pytest.mark.parametrize("error", [OSError("full"), TypeError(), MemoryError()], ids=repr)
def test_what_a_call_raises_is_raised_where_it_is_waited_for_and_the_next_one_is_done(error):
    def fail() -> None:
        raise error

    async def run() -> None:
        thread = CommitThread()
        failing, after = thread.call(fail), thread.call(lambda: 1)
        assert await after == 1
        assert failing.exception() is error
        thread.shutdown()

    asyncio.run(run())


def test_a_call_that_nobody_waits_for_any_longer_is_done_all_the_same_before_the_end():
    async def run() -> None:
        thread, may, done = CommitThread(), threading.Event(), []
        first, second = thread.call(lambda: may.wait(10)), thread.call(lambda: done.append(1))
        second.cancel()
        may.set()
        thread.shutdown()
        assert done == [1] and not first.done(), "the loop has not turned"
        assert await first
        assert second.cancelled()

    asyncio.run(run())


def test_a_loop_that_is_gone_is_not_told():
    may, begun = threading.Event(), threading.Event()
    thread = CommitThread()

    def work() -> None:
        begun.set()
        may.wait(10)

    async def run() -> None:
        thread.call(work)
        begun.wait(10)

    asyncio.run(run())
    may.set()
    thread.shutdown()
    assert "commit" not in {one.name for one in threading.enumerate()}


def test_without_a_call_there_is_no_thread():
    thread = CommitThread()
    thread.shutdown()
    assert "commit" not in {one.name for one in threading.enumerate()}
