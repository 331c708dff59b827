"""The thread that does an appender's work on the disk: one call after the other, each answered in the event loop.

An executor of the standard library does the same with a second future, its lock and a semaphore for every call, which
costs a third more CPU than the way there and back.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Work = tuple["asyncio.Future[Any]", Callable[[], Any]]


class CommitThread:
    """Begins with its first call."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """What `work` returns or raises, once it was its turn. From the event loop; not after `shutdown`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
            self._thread.start()
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.put((outcome, work))
        return outcome

    def shutdown(self) -> None:
        """Returns when all that was called for is done."""
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (one := self._waiting.get()) is not None:
            outcome, work = one
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:  # noqa: BLE001  it is the caller's
                error = raised
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                outcome.get_loop().call_soon_threadsafe(_settle, outcome, result, error)
            del one, outcome, work, result, error  # what they hold is not held until the next one comes


def _settle(outcome: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if outcome.done():  # cancelled
        return
    if error is None:
        outcome.set_result(result)
    else:
        outcome.set_exception(error)
