"""The sink `derived`: views and watch history in PostgreSQL, by a reader of their own, so that no row waits for them.

Effects and positions are one transaction. What it lacks it counts anew from the store's rows, when it is opened: at its
first start, on a database that has rows whose frames are gone, and whenever the spool had to go on without it. A view
is the earliest of its plays and a watch position the newest, so those met both ways are counted once.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import structlog

from ingest.clock import Clock
from ingest.spool.disk import Disk
from storage import metrics, watch
from storage.playback_rows import PlaybackRows
from storage.postgres import backfill, positions, views, watch_history
from storage.postgres.connection import check_registration, connect
from storage.postgres.refusal import translated
from storage.postgres.statement import STATEMENTS
from storage.postgres.totals import Books
from storage.redis.gap import first_gap
from storage.redis.key import counted_hours
from storage.redis.rebuild import rows_since_us
from storage.redis.sign import UnknownSchema, batches
from storage.sink import SinkFenced, SinkLost, SinkRefused, SinkUnavailable, Slice

log: Any = structlog.get_logger()

STORE: Final = "postgres"
"""The reader whose rows and positions a backfill goes by."""
BACKFILL_TIMEOUT_S: Final = 3_600.0
FORGET_INTERVAL_S: Final = 60.0
"""Between looks for views that may be forgotten; none while there are more."""
ADOPT_INTERVAL_S: Final = 60.0
"""Between looks whether the catalogue knows now what watch history waits for."""
CLOSE_TIMEOUT_S: Final = 2.0


class Derived:
    """An EventSink. `data_dir`: where the spool is; `memory_s`: how long a view is known after it was settled;
    `waiting_s`: how long watch history waits for its profile and content; `rows`: of another store, where PostgreSQL
    has none."""

    reader = "derived"

    def __init__(
        self,
        url: str,
        data_dir: Path,
        memory_s: int,
        waiting_s: int,
        disk: Disk,
        clock: Clock,
        rows: PlaybackRows | None = None,
    ) -> None:
        self._url = url
        self._rows = rows
        self._spool = data_dir / "spool"
        self._memory_s = memory_s
        self._waiting_s = waiting_s
        self._disk = disk
        self._clock = clock
        self._connection: asyncpg.Connection | None = None
        self._positions: dict[str, int] = {}
        self._forget_at_s = self._adopt_at_s = clock.monotonic_s()

    async def open(self) -> dict[str, int]:
        """Connect, count anew what is lacking; where every incarnation stands.

        Raises SinkUnavailable, SinkRefused, SinkLost (frames are gone that the store does not have either).
        """
        await self.close()
        with translated():
            connection = await connect(self._url)
            try:
                await check_registration(connection, STORE)
                known, _ = await positions.read(connection, self.reader)
                is_new = await connection.fetchval(STATEMENTS["registration"], self.reader) is None
                reason = first_gap(self._disk, self._spool, known)
                if self._rows is not None and await backfill.unfinished(connection, self._rows) is not None:
                    reason = "it was begun and not ended"
                if is_new or reason is not None:
                    await self._backfill(connection, "never counted" if is_new else str(reason), is_new)
                    known, _ = await positions.read(connection, self.reader)
            except BaseException:  # a backfill under way is rolled back whole; the spool and the rows are as they were
                connection.terminate()
                raise
        self._connection, self._positions = connection, known
        return dict(known)

    async def write(self, slices: Sequence[Slice]) -> None:
        """Views, watch history and positions, at once; without slices, see whether the server answers.

        Raises SinkUnavailable, SinkFenced, SinkRefused; then open again.
        """
        connection = self._connection
        if connection is None:
            raise SinkUnavailable("It is not open.")
        try:
            with translated():
                if slices:
                    await self._count(connection, slices)
                else:
                    await connection.execute("SELECT 1")
                await self._forget(connection)
                await self._adopt(connection)
        except BaseException:  # what was in hand is rolled back with its positions, and is read again
            self._connection = None
            connection.terminate()
            raise

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close(timeout=CLOSE_TIMEOUT_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            connection.terminate()

    async def _count(self, connection: asyncpg.Connection, slices: Sequence[Slice]) -> None:
        if any(one.begin != self._positions.get(one.incarnation, 0) for one in slices):
            raise SinkFenced("This batch does not begin where the last one ended.")
        now_us = self._clock.now_us()
        try:
            packed = b"".join([batch.views for batch in batches(slices, now_us, 0)])
            watched = watch.gathered(slices)
        except UnknownSchema as error:
            raise SinkRefused(f"The spool holds frames of a newer gateway: {error}") from error
        async with connection.transaction():
            await connection.execute(STATEMENTS["derived_session"])
            if packed:  # before watch history: who has its rows must not wait for a turn that waits for them
                await views.take_turn(connection)
                await views.count(connection, packed, counted_hours(now_us))
            if watched:
                await watch_history.apply(connection, watched)
            await self._move_positions(connection, slices)
        self._positions.update((one.incarnation, one.state.sequence) for one in slices)

    async def _move_positions(self, connection: asyncpg.Connection, slices: Sequence[Slice]) -> None:
        """Raises SinkFenced when one is not where it was left: the transaction is rolled back then."""
        books = {one.incarnation: Books() for one in slices}
        moved = await positions.move(connection, self.reader, slices, self._positions, books)
        if moved != len(slices):
            raise SinkFenced(f"{moved} of {len(slices)} positions were where this reader left them.")

    async def _backfill(self, connection: asyncpg.Connection, reason: str, is_new: bool) -> None:
        """From PostgreSQL's rows one transaction: killed in the middle it never was. From others' in pieces."""
        now_us = self._clock.now_us()
        log.info("derived_backfill_begins", reason=reason)
        if self._rows is not None:
            pieces = self._spool, self._disk, now_us, self._memory_s, BACKFILL_TIMEOUT_S
            counted, watched = await backfill.run(connection, self._rows, self.reader, *pieces)
            log.info("derived_backfilled", views=counted, watched=watched)
            return
        stored, _ = await positions.read(connection, STORE)
        gap = first_gap(self._disk, self._spool, stored)
        if gap is not None:
            raise SinkLost(f"rebuild_needed: the store lacks what the spool no longer has: {gap}")
        async with connection.transaction():
            await views.take_turn(connection)
            if is_new:  # another node may have been first: then there is nothing to forget
                is_new = await connection.fetchval(STATEMENTS["registration"], self.reader) is None
            if is_new:
                await connection.execute(STATEMENTS["forget_everything"])
            since_us = rows_since_us(now_us, self._memory_s)
            counted = await views.count_stored(connection, since_us, counted_hours(now_us), BACKFILL_TIMEOUT_S)
            # a later snapshot than that of the positions: what is in both is merged once more, to no effect
            watched = await watch_history.apply_stored(connection, since_us, BACKFILL_TIMEOUT_S)
            await connection.execute(STATEMENTS["register"], self.reader)
        log.info("derived_backfilled", views=counted, watched=watched)

    async def _forget(self, connection: asyncpg.Connection) -> None:
        if self._clock.monotonic_s() < self._forget_at_s:
            return
        before = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
            microseconds=self._clock.now_us() - self._memory_s * 1_000_000
        )
        self._forget_at_s = self._clock.monotonic_s() + FORGET_INTERVAL_S  # first: where it fails, delivery goes on
        if await views.forget(connection, before) == views.FORGOTTEN_MAX:
            self._forget_at_s = self._clock.monotonic_s()

    async def _adopt(self, connection: asyncpg.Connection) -> None:
        if self._clock.monotonic_s() < self._adopt_at_s:
            return
        self._adopt_at_s = self._clock.monotonic_s() + ADOPT_INTERVAL_S  # as above
        now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self._clock.now_us())
        adoption = await watch_history.adopt(connection, now, self._waiting_s)
        metrics.WATCH_ADOPTED.inc(adoption.adopted)
        metrics.WATCH_GIVEN_UP.inc(adoption.given_up)
        if adoption.given_up:
            log.warning("watch_history_given_up", positions=adoption.given_up, waiting_s=self._waiting_s)
