"""What a rebuild of the counters reads of the store, all of it as it stood at one moment: positions, and signs.

Signs come as tuples that `storage.redis.sign` reads as it reads those of frames, so one code decides what they count
for. Of an event that was sent again the store has kept one try alone: with a broken clock, another try's corrected time
may be earlier by what the network took, and near a full hour the view another hour's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, NamedTuple

import asyncpg

from ingest.tuple import received_at_us
from storage.postgres import positions
from storage.postgres.audit import COPY_HEAD_BYTES
from storage.postgres.connection import CONNECT_TIMEOUT_S, check_registration
from storage.postgres.partition import Month
from storage.postgres.partition_keeper import existing_months
from storage.postgres.refusal import translated
from storage.postgres.statement import STATEMENTS
from storage.postgres.totals import Books
from storage.redis.sign import PADDING_BYTES, Signs

READER: Final = "postgres"
PLAYS: Final = "event.event_type = 'play'"
ANY: Final = "event.event_type <> 'error'"

SIGNS_MAX: Final = 500
"""Handed on at once: as many as one call of the counters' script takes."""
ANSWER_TIMEOUT_S: Final = 120.0
"""Until more rows come: a server that was stopped (SIGSTOP, a lost route) answers neither with an error nor a reset."""
CLOSE_TIMEOUT_S: Final = 2.0
MONTHS_BACK: Final = timedelta(days=1)
"""Of a month's end before the oldest time that the door took: for clocks."""

SESSION: Final = {
    "application_name": "streamverse-ingest rebuild",
    "timezone": "UTC",
    "jit": "off",
    "statement_timeout": "0",  # a month takes as long as it takes; that nothing comes any more is seen here
    "idle_in_transaction_session_timeout": "0",
}

Take = Callable[[Signs], Awaitable[None]]


class Stand(NamedTuple):
    """Where the store stands."""

    positions: dict[str, int]
    """Incarnation → next sequence."""
    rows: int
    """In the frames below them, duplicates and dead ones included, what damage took left out."""
    signals: int
    """The same, of heartbeats."""

    @classmethod
    def of(cls, books: Mapping[str, Books], sequences: Mapping[str, int]) -> "Stand":
        """As the positions of a store say it, by incarnation."""
        return cls(
            {name: sequence for name, sequence in sequences.items() if sequence},
            sum(one.rows - one.staged - one.elsewhere - one.quarantined.rows for one in books.values()),
            sum(one.signals - one.quarantined.signals for one in books.values()),
        )


class Snapshot:
    """`async with Snapshot(url) as store`: the store at one moment, read only, beside its drain.

    Everything raises SinkUnavailable, SinkLost, SinkRefused.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> "Snapshot":
        with translated():
            self._connection = await asyncpg.connect(self._url, timeout=CONNECT_TIMEOUT_S, server_settings=SESSION)
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await self._connection.transaction(isolation="repeatable_read", readonly=True).start()
                    await check_registration(self._connection, READER)
            except BaseException:
                self._connection.terminate()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._connection.terminate()
            return
        try:
            await self._connection.close(timeout=CLOSE_TIMEOUT_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            pass  # nothing was written, so there is nothing to end well

    async def stand(self) -> Stand:
        """Positions, and what lies below them."""
        with translated():
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                sequences, books = await positions.read(self._connection, READER)
        return Stand.of(books, sequences)

    async def months(self, since_us: int, door_past_s: int) -> list[Month]:
        """Those that may hold rows received since then, in order, where the door takes `door_past_s` old ones."""
        oldest = _moment(since_us) - timedelta(seconds=door_past_s) - MONTHS_BACK
        with translated():
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return sorted(month for month in await existing_months(self._connection) if month.end > oldest)

    async def signs(self, month: Month, since_us: int, which: str, take: Take) -> None:
        """Hand a month's signs that were received since then to `take`, some at a time, in no order; `which` is PLAYS
        or ANY. What `take` raises ends it."""
        query = STATEMENTS["signs"].format(table=month.table, which=which).rstrip(";")
        stream, loop = Stream(), asyncio.get_running_loop()

        async def receive(chunk: bytes) -> None:
            patience.reschedule(None)
            for signs in stream.feed(chunk):
                await take(signs)
            patience.reschedule(loop.time() + ANSWER_TIMEOUT_S)

        with translated():
            async with asyncio.timeout(ANSWER_TIMEOUT_S) as patience:
                await self._connection.copy_from_query(query, _moment(since_us), output=receive, format="binary")


class Stream:
    """What COPY sends, put together."""

    def __init__(self) -> None:
        self._rest = b""
        self._skip_bytes = COPY_HEAD_BYTES

    def feed(self, chunk: bytes, most: int = SIGNS_MAX) -> Iterator[Signs]:
        """The signs that are whole with this chunk, at most `most` at a time; to be read to its end."""
        data = self._rest + chunk
        if len(data) < self._skip_bytes:
            self._rest = data
            return
        data, self._skip_bytes = data[self._skip_bytes :], 0
        ends = split(data)
        self._rest = data[ends[-1] :] if ends else data
        begin = 0
        for first in range(0, len(ends), most):
            here = ends[first : first + most]
            received_us = max(received_at_us(data[at : at + 86]) for at in (begin, *here[:-1]))
            yield Signs(data[begin : here[-1]] + bytes(PADDING_BYTES), [end - begin for end in here], received_us)
            begin = here[-1]


def split(data: bytes) -> list[int]:
    """Where each whole sign at the begin of `data` ends; the trailer of COPY is none."""
    ends: list[int] = []
    at, size_bytes = 0, len(data)
    while at + 90 < size_bytes:
        end = at + 95 + data[at + 89]  # behind event_type, of at most 50 bytes, and test
        for _ in ("sent_at", "sequence"):
            end += 4 if data[end : end + 1] == b"\xff" else 12
        if end > size_bytes:
            break
        ends.append(end)
        at = end
    return ends


def _moment(epoch_us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=epoch_us)
