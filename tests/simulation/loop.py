"""An event loop whose time stands still while there is something to do, and then jumps to what is due next; and the
commit threads beside it."""

import asyncio
import selectors
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

COMMIT_TIME_MAX_S = 0.004
"""Until a commit thread has done what it was asked."""


TURNS_MAX = 1_000_000
"""Of one world's loop, a hundred times what it takes: one that stands still is ended."""


class SimLoop(asyncio.SelectorEventLoop):
    """Time begins at 0."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._now_s


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: SimLoop) -> None:
        super().__init__()
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns += 1
        assert self._turns < TURNS_MAX, "the world stands still"
        if timeout == 0:  # callbacks wait; what other threads have to say is looked at when none does
            return []
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and for nothing"
            self._loop._now_s += max(timeout, 0.0)
        return ready


class CommitThread:
    """A process's thread: it does one thing after the other, each a while later, or while another has the disk."""

    def __init__(self, loop: SimLoop, chance: Random) -> None:
        self._loop = loop
        self._chance = chance
        self._waiting: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._at_work = False

    def call(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        outcome: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append((outcome, work))
        self._loop.call_later(self._chance.random() * COMMIT_TIME_MAX_S, self.step)
        return outcome

    def step(self) -> None:
        """Do the next thing, unless there is none or it is in the middle of one."""
        if self._at_work or not self._waiting:
            return
        outcome, work = self._waiting.popleft()
        self._at_work = True
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001  Stop too is the waiter's
            error = raised
        finally:
            self._at_work = False
        if outcome.done():  # its waiter is gone
            return
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)

    def shutdown(self) -> None:
        """Nobody waits for what was not done."""
        self._waiting.clear()
