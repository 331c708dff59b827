"""Many requests, one fsync: frames wait for company for a moment, go to disk together, and only then are promised."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from config.limits import SEGMENT_SIZE_BYTES
from config.settings import SpoolSettings
from ingest import metrics
from ingest.batch import KIND_AD, KIND_CMCD, MONTH_AD, MONTH_CMCD, SCHEMA_AD, SCHEMA_CMCD, FrameBody
from ingest.clock import Clock
from ingest.core import DoorLimits
from ingest.spool.commit_thread import CommitThread
from ingest.spool.disk import Disk
from ingest.spool.incarnation import Group, Incarnation
from ingest.spool.together import Together

log: Any = structlog.get_logger()

T = TypeVar("T")

TURNS = 4
"""Of the event loop, from the first request of a group to its fsync: who stands at the door is read, decoded and
comes along. It costs no time of its own, and a request a tenth to a fifth less CPU."""
REOPEN_INTERVAL_S = 1.0
"""After a failed write: how long until a new incarnation is tried."""
ABANDONED_MAX = 8
"""Incarnations waiting for their end to be written; each holds a lock, and with so many another one is no help."""


class SpoolUnavailable(Exception):
    """The spool took nothing of this request for certain; the same events may be sent again."""


Told = Callable[[SpoolUnavailable | None], None]
"""What a request is told once: None when all of it is on disk. It must not raise."""


class Thread(Protocol):
    """Does the disk's work, one call at a time."""

    def call(self, work: Callable[[], T]) -> "asyncio.Future[T]": ...
    def shutdown(self) -> None: ...


class Committer(Protocol):
    """Puts a group on disk as `Incarnation.commit` does, or the future raises OSError."""

    def commit(self, incarnation: Incarnation, group: Group) -> "asyncio.Future[None]": ...
    def shutdown(self) -> None: ...


class Appender:
    """The spool's writing end, one a collector.

    `run` must be running for `append` to be answered. `chance(n)` gives n random bytes.
    """

    def __init__(
        self,
        root: Path,
        disk: Disk,
        clock: Clock,
        settings: SpoolSettings,
        chance: Callable[[int], bytes] = os.urandom,
        *,
        segment_size_bytes: int = SEGMENT_SIZE_BYTES,
        thread: Thread | None = None,
        committer: Committer | None = None,
    ) -> None:
        """`committer`: by `thread`, too, when there is none."""
        self._root = root
        self._disk = disk
        self._clock = clock
        self._chance = chance
        self._segment_size_bytes = segment_size_bytes
        self._interval_s = settings.commit_interval_ms / 1_000
        self._thread: Thread = thread or CommitThread()
        self._committer = committer
        self._incarnation: Incarnation | None = None
        self._abandoned: list[Incarnation] = []
        self._reopen_at_s = 0.0
        self._waiters: list[Told] = []
        self._alone = False  # whether there are any rows in these
        self._ads, self._lines = Together(KIND_AD, MONTH_AD, SCHEMA_AD), Together(KIND_CMCD, MONTH_CMCD, SCHEMA_CMCD)
        self._wake = asyncio.Event()
        self._company = False
        self._closing = False

    def start(self) -> None:
        """Open an incarnation. Raises OSError; `run` then tries again, and until it succeeds nothing is writable."""
        self._incarnation = self._begin()

    @property
    def writable(self) -> bool:
        """Whether `append` can succeed now."""
        return self._incarnation is not None and not self._closing

    def note(self, received: int, duplicates: int, rejected_by_code: dict[int, int]) -> None:
        """Count a request of which nothing is kept; received = duplicates + sum of rejected_by_code."""
        if self._incarnation is not None:
            self._incarnation.note(received, duplicates, rejected_by_code)

    def append(
        self,
        bodies: list[FrameBody],
        received_at_us: int,
        duplicates: int,
        rejected_by_code: dict[int, int],
        told: Told,
    ) -> None:
        """Every body becomes one frame; `told` is called from the event loop, never from here, once all are on disk or
        nothing is certain. A callback and not a coroutine: a task a request would cost more than the frame.
        Raises SpoolUnavailable, and then `told` is never called. `bodies` is not empty.
        """
        incarnation = self._incarnation
        if incarnation is None or self._closing:
            raise SpoolUnavailable
        assert bodies
        if duplicates or rejected_by_code:
            incarnation.note(duplicates + sum(rejected_by_code.values()), duplicates, rejected_by_code)
        for body in bodies:
            incarnation.framing.add(body, received_at_us)
        self.wait(told)

    def append_row(self, row: bytes, received_at_us: int, told: Told) -> None:
        """An ad event that came alone. Else as `append`."""
        if self._incarnation is None or self._closing:
            raise SpoolUnavailable
        self._ads.add([row], received_at_us)
        self._alone = True
        self.wait(told)

    def append_lines(
        self, rows: list[bytes], received_at_us: int, rejected: dict[int, int], told: Told, flags: int = 0
    ) -> None:
        """Lines of CMCD, at least one, and what else their report held. `flags`: of their frame."""
        incarnation = self._incarnation
        if incarnation is None or self._closing:
            raise SpoolUnavailable
        if rejected:
            incarnation.note(sum(rejected.values()), 0, rejected)
        self._lines.add(rows, received_at_us, flags)
        self._alone = True
        self.wait(told)

    def take_in(
        self, door: DoorLimits, body: bytes, media_type: str, received_at_us: int, country: str | None
    ) -> tuple[int, int] | None:
        """A request's body straight into its frames, by the Rust core: events and repeats; `wait` is called next.
        None: nothing was added; decode it, and `append`.
        """
        incarnation = self._incarnation
        if incarnation is None or self._closing:
            return None
        return incarnation.framing.take_in(door, body, media_type, received_at_us, country)

    def wait(self, told: Told) -> None:
        """Of what was just added: see `append`."""
        self._waiters.append(told)
        if len(self._waiters) == 1:
            self._wake.set()

    async def run(self) -> None:
        """Commit groups until `close`; then end the incarnation."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._recover(loop)
                await self._woken()
                if self._waiters:
                    await self._commit()
                if self._closing and not self._waiters:
                    break
            await self._end()
        finally:  # nobody waits for a commit that will not come
            waiters, self._waiters, self._closing = self._waiters, [], True
            _tell(waiters, SpoolUnavailable("closed"))
            self._thread.shutdown()
            if self._committer is not None:
                self._committer.shutdown()
            for incarnation in [*self._abandoned, *([self._incarnation] if self._incarnation else [])]:
                incarnation.let_go()

    def close(self) -> None:
        """Refuse what comes from now on; `run` commits what was taken, ends the incarnation and returns."""
        self._closing = True
        self._wake.set()

    async def _woken(self) -> None:
        """A request waits, and its company is there; or there is something to reopen."""
        if self._closing:
            return
        if self._whole:
            await self._wake.wait()
        else:
            try:
                async with asyncio.timeout_at(self._reopen_at_s):
                    await self._wake.wait()
            except TimeoutError:
                return
        self._wake.clear()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if self._company and not self._closing and self._interval_s:
            await asyncio.sleep(self._interval_s)

    async def _commit(self) -> None:
        incarnation = self._incarnation
        assert incarnation is not None
        if self._alone:
            self._alone = False
            for together in (self._ads, self._lines):
                for body, received_at_us in together.bodies():
                    incarnation.framing.add(body, received_at_us)
        group, waiters = incarnation.close_group(), self._waiters
        self._waiters = []
        self._company = len(waiters) > 1  # who came alone once will hardly be met next time, and goes at once
        started_s = self._clock.monotonic_s()
        try:
            if self._committer is None:
                await self._thread.call(partial(incarnation.commit, group))
            else:
                await self._committer.commit(incarnation, group)
        except OSError as error:
            self._abandon(incarnation, waiters + self._waiters, error)
            return
        except BaseException:
            self._waiters = waiters + self._waiters  # `run` tells them
            raise
        metrics.COMMIT_SECONDS.observe(self._clock.monotonic_s() - started_s)
        metrics.COMMITTED_BYTES.inc(sum(map(len, group.chunks)))
        _tell(waiters, None)
        if incarnation.full:
            try:
                await self._thread.call(incarnation.roll)
            except OSError as error:
                self._abandon(incarnation, self._waiters, error)

    @property
    def _whole(self) -> bool:
        return self._incarnation is not None and not self._abandoned

    def _abandon(self, incarnation: Incarnation, waiters: list[Told], error: OSError) -> None:
        """After a failed write nothing beyond the watermark is trusted, not even by a second fsync."""
        log.error("spool_write_failed", incarnation=incarnation.identity.hex(), error=str(error), waiting=len(waiters))
        metrics.SPOOL_WRITE_FAILURES.inc()
        incarnation.framing.take_out()
        self._ads.clear()
        self._lines.clear()
        self._waiters = []
        self._incarnation = None
        self._abandoned.append(incarnation)
        _tell(waiters, SpoolUnavailable(str(error)))

    async def _recover(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what was abandoned, begin anew; at most once in REOPEN_INTERVAL_S, however busy the door is."""
        if self._whole or loop.time() < self._reopen_at_s:
            return
        self._reopen_at_s = loop.time() + REOPEN_INTERVAL_S
        await self._end_abandoned()
        if self._incarnation is None and not self._closing and len(self._abandoned) < ABANDONED_MAX:
            try:
                self._incarnation = await self._thread.call(self._begin)
            except OSError as error:
                log.error("spool_open_failed", error=str(error))

    async def _end_abandoned(self) -> None:
        for incarnation in list(self._abandoned):
            if await self._ended(incarnation, abandoned=True):
                self._abandoned.remove(incarnation)

    async def _end(self) -> None:
        """What cannot be ended now, the next start ends: all that was promised is on disk."""
        await self._end_abandoned()
        if self._incarnation is not None:
            await self._ended(self._incarnation, abandoned=False)

    async def _ended(self, incarnation: Incarnation, *, abandoned: bool) -> bool:
        try:
            await self._thread.call(partial(incarnation.end, abandoned=abandoned))
        except OSError as error:
            log.error("spool_end_failed", incarnation=incarnation.identity.hex(), error=str(error))
            return False
        return True

    def _begin(self) -> Incarnation:
        incarnation = Incarnation.begin(self._root, self._disk, self._clock, self._chance(16), self._segment_size_bytes)
        log.info("spool_incarnation", incarnation=incarnation.identity.hex())
        return incarnation


def _tell(waiters: list[Told], outcome: SpoolUnavailable | None) -> None:
    for told in waiters:
        told(outcome)
