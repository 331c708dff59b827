"""Requests to the cluster, bounded in flight, until each is acknowledged or one cannot be.

What came back decides what is done next:

    timeout, unavailable,   the same request again, RETRIES times, with jitter: it is idempotent. Where the cluster is
    overloaded, gone        slow, in halves, and the ones to come are smaller for a while
    invalid                 halves, until one row stands alone: that row is refused. A table that refuses REFUSED_MAX
                            in a row, or takes none of what events_by_session took, is itself what is wrong: an engineer
    refused, missing        nothing more is tried: an engineer decides
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from time import monotonic
from typing import Any, Final

from storage import metrics
from storage.backoff import delay_s
from storage.scylla.columns import BY_SESSION
from storage.scylla.driver import (
    CqlError,
    CqlGone,
    CqlInvalid,
    CqlMissing,
    CqlOverloaded,
    CqlRefused,
    CqlTimeout,
    CqlUnavailable,
    Driver,
    Write,
)
from storage.scylla.requests import Need, Request, Step
from storage.sink import SinkLost, SinkRefused, SinkUnavailable, StoreError

RETRIES: Final = 3
"""Of one request within a write; then the drain backs off, and the spool waits."""
PATIENCE_S: Final = 10.0
"""Without any answer; past it the next failure ends the write."""
GROW_AFTER: Final = 200
"""Requests acknowledged in a row until they may hold twice as many rows again."""
REFUSED_MAX: Final = 32
"""Rows that one table refuses with none taken in between: then it is not the rows."""

_PASSING: Final = (CqlTimeout, CqlUnavailable, CqlOverloaded, CqlGone)
_SLOW: Final = (CqlTimeout, CqlOverloaded)


class Size:
    """How many rows a request may hold: fewer while the cluster is slow. It outlives a connection."""

    def __init__(self, rows_most: int) -> None:
        self._most = rows_most
        self._in_a_row = 0
        self.rows_max = rows_most

    def answered(self) -> None:
        """A request was acknowledged."""
        self._in_a_row += 1
        if self._in_a_row % GROW_AFTER == 0 and self.rows_max < self._most:
            self.rows_max = min(2 * self.rows_max, self._most)

    def failed(self, rows: int, *, slow: bool) -> None:
        """One of so many rows was not; `slow`: a smaller one might have been."""
        self._in_a_row = 0
        if slow and rows > 1:  # of one row there is no smaller; single rows instead of requests are more work, not less
            self.rows_max = min(self.rows_max, rows // 2)


class Delivery:
    """The way of one sink's requests to the cluster, on one connection."""

    def __init__(
        self,
        driver: Driver,
        inflight_max: int,
        size: Size,
        meet: Callable[[Need], Awaitable[None]],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`meet`: finds out what a step needs."""
        self._driver = driver
        self._inflight_max = inflight_max
        self._meet = meet
        self._meeting = asyncio.Lock()
        self._chance = chance
        self._answered_s = 0.0
        """When a request was last acknowledged, or the first one sent."""
        self._refused_in_a_row: dict[str, int] = {}
        """By table."""
        self._took: set[str] = set()
        """Tables that took a row on this connection."""
        self.size = size
        self.refused: list[tuple[Request, CqlInvalid]] = []
        """Rows that the cluster will never take, one a request, since this list was taken away."""

    async def run(self, steps: Iterator[Step]) -> None:
        """Return when every request was acknowledged, or its row refused.

        Raises SinkUnavailable, SinkLost, SinkRefused; then nothing more is sent, and what was may be done or not.
        """
        self._answered_s = monotonic()
        workers = [asyncio.ensure_future(self._work(steps)) for _ in range(self._inflight_max)]
        try:
            await asyncio.gather(*workers)
        except CqlError as error:
            raise translated(error) from error
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        self._judge()

    async def tried(self, work: Callable[[], Awaitable[None]]) -> None:
        """Something else that may be repeated, as often as a request is. Raises CqlError."""
        for attempt in range(RETRIES):
            try:
                await work()
            except _PASSING as passing:
                metrics.STORE_RETRIES.labels(type(passing).__name__).inc()
                await asyncio.sleep(delay_s(attempt, self._chance))
            else:
                return
        await work()

    async def _work(self, steps: Iterator[Step]) -> None:
        for step in steps:
            if step is None:
                await asyncio.sleep(0)
            elif isinstance(step, Need):
                async with self._meeting:
                    await self._meet(step)
            else:
                try:
                    await self._driver.write(step.writes)
                except CqlError as error:
                    await self._deliver(step, error)
                else:
                    self._answered(step)

    async def _deliver(self, request: Request, error: CqlError) -> None:
        """One that was sent, and came back with an error."""
        parts: list[tuple[Request, CqlError | None]] = [(request, error)]
        while parts:
            part, came_back = parts.pop()
            try:
                parts += [(half, None) for half in await self._send(part, came_back)]
            except CqlInvalid as invalid:
                if len(part.writes) > 1:
                    parts += [(half, None) for half in _halves(part)]
                else:
                    self._refuse(part, invalid)

    async def _send(self, request: Request, error: CqlError | None) -> Sequence[Request]:
        """Nothing when it is done, its halves when it shall go on as these. Raises CqlError."""
        tries, rows = 0, len(request.writes)
        while True:
            try:
                if error is not None:
                    raise error
                await self._driver.write(request.writes)
            except _PASSING as passing:
                error = None
                metrics.STORE_RETRIES.labels(type(passing).__name__).inc()
                slow = isinstance(passing, _SLOW)
                self.size.failed(rows, slow=slow)
                splits = slow and rows > 1 and tries
                if (tries >= RETRIES and not splits) or monotonic() > self._answered_s + PATIENCE_S:
                    raise
                await asyncio.sleep(delay_s(tries, self._chance))
                if splits:
                    return _halves(request)
                tries += 1
            else:
                self._answered(request)
                return ()

    def _answered(self, request: Request) -> None:
        self._answered_s = monotonic()
        self._refused_in_a_row[request.table.name] = 0
        self._took.add(request.table.name)
        self.size.answered()

    def _refuse(self, request: Request, error: CqlInvalid) -> None:
        name = request.table.name
        self._refused_in_a_row[name] = self._refused_in_a_row.get(name, 0) + 1
        if self._refused_in_a_row[name] > REFUSED_MAX:
            raise _takes_no_row(request, error)
        self.refused.append((request, error))

    def _judge(self) -> None:
        """A few rows, then: of tables that have taken none yet. What the table of record took is no bad row."""
        bad = {_identity(request) for request, _ in self.refused if request.table is BY_SESSION}
        for request, error in self.refused:
            if request.table.name not in self._took and _identity(request) not in bad:
                raise _takes_no_row(request, error)


def _halves(request: Request) -> list[Request]:
    middle = len(request.writes) // 2
    return [request._replace(writes=request.writes[:middle]), request._replace(writes=request.writes[middle:])]


def _takes_no_row(request: Request, error: CqlInvalid) -> SinkRefused:
    return SinkRefused(f"The table {request.table.name} takes no row: {error.code} {error.message}")


def _identity(request: Request) -> tuple[Any, Any]:
    """Of the only event that it writes."""
    _, values = write_of(request)
    names = request.table.always
    return values[names.index("event_id")], values[names.index("occurred_at_us")]


def translated(error: CqlError) -> StoreError:
    """As an error of the port."""
    if isinstance(error, CqlMissing):
        return SinkLost(f"{error} Is this the cluster, and was it migrated (streamverse-ingest migrate up)?")
    if isinstance(error, CqlRefused | CqlInvalid):
        return SinkRefused(str(error))
    return SinkUnavailable(str(error))


def write_of(request: Request) -> Write:
    """Its only one."""
    (write,) = request.writes
    return write
