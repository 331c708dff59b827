"""A process of the machine: its disk, its tasks, and its death, at which no line of its code runs any more."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.disk import SimDisk, Stop
from tests.simulation.platter import Platter


class Process:
    """`on_death` is called once, when it has been killed or a call to the disk was its last."""

    def __init__(self, name: str, platter: Platter) -> None:
        self.name = name
        self.alive = True
        self.disk = SimDisk(platter, self._stopped_within_a_call)
        self.on_death: list[Callable[[], None]] = []
        self.last_call: Callable[[], None] = lambda: None
        """What happens at once when it stops in the middle of a call: the power went, perhaps."""
        self._running = asyncio.Event()
        self._running.set()
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Until it ends or the process does. What it raises is kept for `end`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    def pause(self) -> None:
        """SIGSTOP: it goes no further than its next word with a store."""
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    async def not_paused(self) -> None:
        if not self._running.is_set():
            await self._running.wait()

    def kill(self) -> None:
        """SIGKILL, or the power."""
        if not self.alive:
            return
        self.alive = False
        self.disk.stop()
        self._running.set()
        for task in self._tasks:
            task.cancel()
        for told in self.on_death:
            told()

    def ended(self) -> bool:
        """All that it was to do is done, or failed."""
        return all(task.done() for task in self._tasks)

    async def end(self) -> None:
        """Wait for its tasks; raises what only a programmer can have broken."""
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, BaseException):
                _raise_mistakes(ended, dead=not self.alive)
        self._tasks.clear()

    def _stopped_within_a_call(self) -> None:
        self.last_call()
        asyncio.get_running_loop().call_soon(self.kill)


def _raise_mistakes(ended: BaseException, *, dead: bool) -> None:
    """All but what a death brings with it."""
    if isinstance(ended, BaseExceptionGroup):
        for one in ended.exceptions:
            _raise_mistakes(one, dead=dead)
    elif not (dead and isinstance(ended, asyncio.CancelledError | Stop)):
        raise ended
