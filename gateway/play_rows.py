"""Where a rebuild of the counters reads rows: PostgreSQL, or the CQL store where that keeps them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import accumulate, islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, Final, Protocol

from config.settings import Settings
from gateway.left_rebuild import LeftRebuild, framed
from ingest.clock import Clock, SystemClock
from ingest.spool.disk import FileDisk
from ingest.tuple import event_id, occurred_at_us, received_at_us, with_occurred_at
from storage.postgres.signs import ANY, PLAYS, SIGNS_MAX, Snapshot, Stand
from storage.redis.sign import PADDING_BYTES, STATES_BACK_S, Signs
from storage.scylla.stored_rows import StoredRows

Take = Callable[[Signs], Awaitable[None]]
Told = Callable[[str], Any]
PLAY: Final = b"\0\0\0\4play"
"""As the sixth column of a tuple."""
PIECES: Final = 32
"""Of all rows in CQL: what is read again by a rebuild that goes on."""
TOLD_TIMES: Final = 16
KEPT_IN_MEMORY_BYTES: Final = 16 * 1024 * 1024
"""Of states of a piece; more of them lie in a file without a name until it is whole."""

RawTimes = Mapping[tuple[bytes, int], int]
"""Event id and time of a row whose player's clock was broken → the time that it sent."""


class Counting(Protocol):
    """What becomes of the plays. Everything may raise what ends the reading."""

    stand: Stand | None
    """Where the store stood when the rebuild began with which this one goes on."""
    whole: frozenset[int]
    """Numbers of the pieces of all rows that were counted then."""

    @property
    def plays(self) -> int:
        """That were counted so far."""
        ...

    def stands(self, stand: Stand) -> None:
        """Where the store stands, before its rows are read."""
        ...

    async def take(self, signs: Signs) -> None:
        """Plays; the same ones may come again."""
        ...

    async def counted(self, piece: int) -> None:
        """All plays of this piece were taken."""
        ...


class PlayRows(Protocol):
    """Everything raises SinkUnavailable, SinkLost, SinkRefused."""

    store: str
    """Its name, for people."""
    pieces: int
    """In which its rows are counted."""

    async def identity(self) -> str:
        """Of whose rows these are, the same over restarts; empty: a reading that was ended cannot go on."""
        ...

    async def plays(self, since_us: int, counting: Counting, tell: Told) -> Stand:
        """Where the store stands; then every play received since then, and of what lies behind that some, except
        those of pieces that were counted whole. `tell` hears how it goes on."""
        ...

    async def states(self, since_us: int, take: Take) -> None:
        """After `plays`: what was received since then and says something of a viewer, if it was not long before."""
        ...


def play_rows(settings: Settings, postgres_url: str, data_dir: Path, left: LeftRebuild) -> PlayRows:
    """Of the store of the settings."""
    if settings.store == "scylla":
        return OfScylla(StoredRows(settings.scylla, data_dir, FileDisk()), left, SystemClock())
    return OfPostgres(postgres_url, settings.door.past_s)


class OfPostgres:
    """PlayRows in one snapshot each, month by month."""

    store = "PostgreSQL"
    pieces = 1

    def __init__(self, url: str, door_past_s: int) -> None:
        self._url = url
        self._door_past_s = door_past_s

    async def identity(self) -> str:
        """None: a snapshot ends with its connection."""
        return ""

    async def plays(self, since_us: int, counting: Counting, tell: Told) -> Stand:
        async with Snapshot(self._url) as store:
            stand = await store.stand()
            counting.stands(stand)
            for month in await store.months(since_us, self._door_past_s):
                before = counting.plays
                await store.signs(month, since_us, PLAYS, counting.take)
                tell(f"{month.year:04d}-{month.month:02d}  {counting.plays - before:>12,} plays")
        return stand

    async def states(self, since_us: int, take: Take) -> None:
        async with Snapshot(self._url) as store:
            for month in await store.months(since_us, self._door_past_s):
                await store.signs(month, since_us, ANY, take)


class OfScylla:
    """PlayRows piece by piece. Rows have no order of receipt there, so late states are kept aside when their piece is
    read: those behind the positions come to the counters by their frames."""

    store = "CQL"
    pieces = PIECES

    def __init__(self, rows: StoredRows, left: LeftRebuild, clock: Clock) -> None:
        self._rows = rows
        self._left = left
        self._clock = clock

    async def identity(self) -> str:
        return await self._rows.identity()

    async def plays(self, since_us: int, counting: Counting, tell: Told) -> Stand:
        books = await self._rows.books()
        stand = counting.stand or Stand.of(
            {one.incarnation: one.totals for one in books}, {one.incarnation: one.sequence for one in books}
        )
        counting.stands(stand)
        raw_us = {(one.event_id, one.occurred_us): one.raw_us for one in await self._rows.repairs()}
        for piece in range(PIECES):
            if piece not in counting.whole:
                await self._count(piece, since_us, raw_us, counting)
            if (piece + 1) * TOLD_TIMES % PIECES == 0:
                tell(f"{100 * (piece + 1) // PIECES:>3} %  {counting.plays:>12,} plays")
        return stand

    async def states(self, since_us: int, take: Take) -> None:
        for signs in _signs(row for row in self._left.states() if received_at_us(row) >= since_us):
            await take(signs)

    async def _count(self, piece: int, since_us: int, raw_us: RawTimes, counting: Counting) -> None:
        with SpooledTemporaryFile(KEPT_IN_MEMORY_BYTES) as states:

            async def divide(rows: list[bytes]) -> None:
                late_us = self._clock.now_us() - STATES_BACK_S * 1_000_000  # now: it is read behind the switch
                sent = [_as_sent(row, raw_us) for row in rows]
                for row in sent:
                    if received_at_us(row) >= late_us:
                        states.write(framed(row))
                for signs in _signs(row for row in sent if row[86:94] == PLAY):
                    await counting.take(signs)

            await self._rows.signs(since_us, divide, piece, PIECES)
            if states.tell():
                await asyncio.to_thread(self._left.keep_states, piece, states)
        await counting.counted(piece)


def _as_sent(row: bytes, raw_us: RawTimes) -> bytes:
    """Under the time that the player sent, where a broken clock's was repaired."""
    time_us = raw_us.get((event_id(row), occurred_at_us(row)))
    return row if time_us is None else with_occurred_at(row, time_us)


def _signs(rows: Iterable[bytes]) -> Iterator[Signs]:
    """As many at a time as one call of the counters' script takes."""
    rows = iter(rows)
    while some := list(islice(rows, SIGNS_MAX)):
        yield Signs(
            b"".join(some) + bytes(PADDING_BYTES), list(accumulate(map(len, some))), max(map(received_at_us, some))
        )
