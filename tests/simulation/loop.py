"""An event loop whose time passes only when everybody waits: a second costs nothing, and the same seed is one run."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class SimLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while there is something to do, and then jumps to what is due next."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._now_s


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: SimLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and for nothing"
            self._loop._now_s += max(timeout, 0.0)
        return ready


class Inline(Executor):
    """The commit thread, taking no time."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  Stop too is the waiter's
            future.set_exception(error)
        return future
