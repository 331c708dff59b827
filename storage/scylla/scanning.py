"""A whole table, read by token ranges: the ring in pieces, some beside each other, each page by page.

A range that fails is read again from its begin, after a pause and in smaller pages, while the others go on; so what was
read of it until then has to be dropped, or harmless (Part). An outage is waited out, not forever.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple, Protocol

import structlog

from config.scylla import ScyllaSettings
from storage.backoff import delay_s
from storage.scylla import driver as cql
from storage.scylla.driver import CqlError, CqlInvalid, CqlMissing, CqlRefused, CqlTimeout, Driver, Row, Value
from storage.sink import SinkLost, SinkRefused, SinkUnavailable

log: Any = structlog.get_logger()

RANGES: Final = 256
"""Of a large table some gigabytes each: what is read again when one fails."""
PARALLEL: Final = 4
"""Ranges read at once: several nodes have work, and it stays a small part of theirs."""
PAGE_ROWS: Final = 1_000
"""Some 300 KB, and some ten milliseconds of this process."""
PAGE_ROWS_MIN: Final = 50
PATIENCE_S: Final = 600.0
"""Without a page of any range, until the scan gives up."""
RING_BEGIN, RING_END = -(2**63), 2**63 - 1
"""Of the Murmur3 partitioner; no token is RING_BEGIN itself."""


class Range(NamedTuple):
    """Tokens behind `begin`, up to and with `end`."""

    begin: int
    end: int


RING: Final = Range(RING_BEGIN, RING_END)


class Table(NamedTuple):
    """One that is read whole."""

    name: str
    partition: str
    """Columns of its partition key, by commas."""


BY_SESSION: Final = Table("events_by_session", "session_id, hour")
BY_CONTENT: Final = Table("events_by_content", "content_id, day, bucket")
BY_PROFILE: Final = Table("events_by_profile", "profile_id, day")
BY_EDGE: Final = Table("errors_by_edge", "cdn_edge, hour, bucket")
REPAIRS: Final = Table("clock_repairs", "event_id")


class Pages(Protocol):
    """What a scan asks of a driver."""

    def scan(self, cql: str, values: Sequence[Value] = (), *, page_rows: int = 1_000) -> AsyncIterator[list[Row]]:
        """As of Driver."""
        ...


class Part(Protocol):
    """What becomes of one try to read one range."""

    async def take(self, rows: list[Row]) -> None:
        """One page; never two of a scan at once."""
        ...

    def whole(self) -> None:
        """The range was read to its end. Without it, it is read again by another Part."""
        ...


def ranges(number: int = RANGES, within: Range = RING) -> list[Range]:
    """The ring, or what is within one of its ranges, in so many pieces, nearly equal."""
    size = within.end - within.begin
    ends = [within.begin + size * (piece + 1) // number for piece in range(number)]
    return [Range(begin, end) for begin, end in zip([within.begin, *ends[:-1]], ends, strict=True)]


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the driver become errors of the port."""
    try:
        yield
    except (CqlRefused, CqlInvalid) as error:
        raise SinkRefused(str(error)) from error
    except CqlMissing as error:
        raise SinkLost(str(error)) from error
    except CqlError as error:
        raise SinkUnavailable(str(error)) from error


@asynccontextmanager
async def connected(settings: ScyllaSettings) -> AsyncIterator[Driver]:
    """A connection for one piece of reading. Raises SinkUnavailable, SinkLost, SinkRefused, also for what is done
    with it."""
    with translated():
        driver = await cql.connected(settings)
        try:
            yield driver
        finally:
            await driver.close()


async def scan(
    driver: Pages,
    table: Table,
    columns: str,
    part: Callable[[], Part],
    *,
    told: Callable[[int, int], object] = lambda done, all_: None,
    within: Range = RING,
    pieces: int = RANGES,
    patience_s: float = PATIENCE_S,
) -> None:
    """Read `columns` of every row of a table, in no order. `told` hears how many ranges of how many are done;
    `within`: of rows with tokens in this one alone.

    What is written meanwhile may be among it. Raises CqlError, and what a Part raises.
    """
    reading = _Scan(driver, table, columns, part, patience_s)
    waiting = ranges(pieces, within)[::-1]
    done = 0

    async def read() -> None:
        nonlocal done
        while waiting:
            await reading.read_through(waiting.pop())
            done += 1
            told(done, pieces)

    workers = [asyncio.ensure_future(read()) for _ in range(PARALLEL)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


class _Scan:
    """The state of one `scan`."""

    def __init__(self, driver: Pages, table: Table, columns: str, part: Callable[[], Part], patience_s: float) -> None:
        self._driver = driver
        self._table = table.name
        token = f"token({table.partition})"
        self._query = f"SELECT {columns} FROM {table.name} WHERE {token} > ? AND {token} <= ?"
        self._part = part
        self._patience_s = patience_s
        self._page_rows = PAGE_ROWS
        self._answered_s = time.monotonic()
        self._turn = asyncio.Lock()

    async def read_through(self, one: Range) -> None:
        """Until it was read whole."""
        attempt = 0
        while True:
            try:
                await self._read(one)
            except (CqlRefused, CqlInvalid, CqlMissing):
                raise
            except CqlError as error:
                if time.monotonic() - self._answered_s > self._patience_s:
                    raise
                if isinstance(error, CqlTimeout):
                    self._page_rows = max(self._page_rows // 2, PAGE_ROWS_MIN)
                log.warning("range_read_again", table=self._table, begin=one.begin, error=str(error))
                await asyncio.sleep(delay_s(attempt, random.random))
                attempt += 1
            else:
                return

    async def _read(self, one: Range) -> None:
        part = self._part()
        async with aclosing(self._driver.scan(self._query, [one.begin, one.end], page_rows=self._page_rows)) as pages:  # type: ignore[type-var]
            async for page in pages:
                self._answered_s = time.monotonic()
                if page:
                    async with self._turn:
                        await part.take(page)
                    self._answered_s = time.monotonic()
        part.whole()
