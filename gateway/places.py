"""Every place of the gateway that a child process fills: who fills it, and who is coming or going."""

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence

from config.settings import Store
from gateway.child import Child
from gateway.deadline import Deadlines
from gateway.handover import Running
from gateway.restart_status import Replaced

READY_TIMEOUT_S = 60.0
"""A new process takes a second or two to be ready; on a machine that is busy with restarting everything, longer."""
READY_POLL_S = 0.02
COLLECTOR = "collector"
STAGE = "stage"
SCYLLA_DRAIN = "scylla_drain"
READERS = (STAGE, SCYLLA_DRAIN, "postgres_drain", "readers")


class NotReady(Exception):
    """A new process did not come up; the one it was to replace goes on."""


def wanted(workers: int, store: Store = "postgres") -> list[tuple[str, int]]:
    """Role and index of every place, in the order of a rolling restart. Pure."""
    readers = [(role, 0) for role in READERS if role != SCYLLA_DRAIN or store == "scylla"]
    return [*((COLLECTOR, index) for index in range(workers)), *readers]


class Places:
    """`make` makes the child of a role and an index."""

    def __init__(self, make: Callable[[str, int], Child]) -> None:
        self.children: list[Child] = []
        self._make = make
        self._others: list[Child] = []
        """Not yet, or no more."""
        self._running: asyncio.TaskGroup | None = None

    def fill(
        self, running: asyncio.TaskGroup, places: Sequence[tuple[str, int]], adopted: Sequence[Running] = ()
    ) -> None:
        """Start these, in `running`; `adopted` run already."""
        self._running = running
        self.children = []
        known = {(one.role, one.index): one for one in adopted}
        for role, index in [*places, *(place for place in known if place not in places)]:
            child = self._make(role, index)
            if (one := known.get((role, index))) is not None:
                child.adopt(one.pid, one.restarts)
            self.children.append(child)
            running.create_task(child.run())

    def running(self) -> tuple[Running, ...]:
        """Who is to be adopted."""
        return tuple(
            Running(child.role, child.index, child.pid, child.restarts) for child in self.children if child.pid
        )

    def pids(self) -> list[int]:
        """Of every process there is, coming and going ones too."""
        return [child.pid for child in [*self.children, *self._others] if child.pid]

    def places(self) -> set[tuple[str, int]]:
        return {(child.role, child.index) for child in self.children}

    async def replace(self, role: str, index: int, leave_within_s: float) -> Replaced:
        """Fill a place anew: the new process is ready before the old one is told to go, and killed if it does not
        within `leave_within_s`. Raises NotReady: then nothing has changed.
        """
        assert self._running is not None
        old = next((child for child in self.children if (child.role, child.index) == (role, index)), None)
        new = self._make(role, index)
        new.restarts = old.restarts if old else 0
        self._others.append(new)
        self._running.create_task(new.run())
        try:
            await self._ready(new)
        except NotReady:
            await new.stop(signal.SIGTERM, asyncio.get_running_loop().time() + leave_within_s)
            self._others.remove(new)
            raise
        self._others.remove(new)
        if old is None:
            self.children.append(new)
            return Replaced(role, index, None, new.pid)
        self.children[self.children.index(old)] = new
        before = old.pid
        await self._let_go(old, leave_within_s)
        return Replaced(role, index, before, new.pid)

    async def give_up(self, role: str, index: int, leave_within_s: float) -> Replaced:
        """Empty a place."""
        (old,) = (child for child in self.children if (child.role, child.index) == (role, index))
        self.children.remove(old)
        before = old.pid
        await self._let_go(old, leave_within_s)
        return Replaced(role, index, before, None)

    async def stop(self, deadlines: Deadlines, begun_s: float) -> None:
        """End all of them, collectors first; what does not end in time is killed."""
        everyone = [*self.children, *self._others]
        await _all(
            child.stop(signal.SIGTERM, begun_s + deadlines.collectors_s)
            for child in everyone
            if child.role == COLLECTOR
        )
        await _all(
            child.stop(signal.SIGTERM, begun_s + deadlines.readers_s, begun_s + deadlines.delivery_s)
            for child in everyone
            if child.role != COLLECTOR
        )

    async def _let_go(self, old: Child, leave_within_s: float) -> None:
        self._others.append(old)
        await old.stop(signal.SIGHUP, asyncio.get_running_loop().time() + leave_within_s)
        self._others.remove(old)

    async def _ready(self, new: Child) -> None:
        """Raises NotReady."""
        loop, restarts = asyncio.get_running_loop(), new.restarts
        until_s = loop.time() + READY_TIMEOUT_S
        while not new.ready.is_set():
            if new.restarts > restarts:
                raise NotReady(f"the new {new.role} {new.index} ended before it was ready; the log says why")
            if loop.time() >= until_s:
                raise NotReady(f"the new {new.role} {new.index} was not ready within {READY_TIMEOUT_S:g} s")
            await asyncio.sleep(READY_POLL_S)


async def _all(ending: Iterable[object]) -> None:
    await asyncio.gather(*ending)  # type: ignore[call-overload]
