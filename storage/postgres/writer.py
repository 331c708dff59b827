"""The PostgreSQL sink: rows and positions of a batch in one transaction.

    look at others' repairs ─▶ sort ─▶ BEGIN ─▶ COPY what is unsuspected ─▶ settle broken clocks
                 ─▶ staging of the rest ─▶ merge of ad events ─▶ dead letters (fsync) ─▶ positions (compare-and-set)
                 ─▶ COMMIT

What is met on the way decides how the batch is tried again: a duplicate nobody suspected and a row the database
refuses send all of it through staging, a month that vanished is made anew. Everything else is an outage, and the
drain opens again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from config.settings import DeadLetterSettings, DoorSettings, PostgresSettings
from ingest import tuple as tuples
from ingest.batch import FLAG_CLOCK_BROKEN, MONTH_AD
from ingest.clock import Clock
from ingest.spool.disk import Disk
from storage import metrics
from storage.dead_letter.letter import Letter, letter_of
from storage.dead_letter.writer import DeadLetters
from storage.postgres import clock_repair, playback_store, positions, totals
from storage.postgres.ad_statement import STATEMENTS as AD_STATEMENTS
from storage.postgres.ads import Ads
from storage.postgres.batch import COLUMNS, Batch, Placed, Row, Stretch, rows_of, sort
from storage.postgres.connection import check_registration, connect
from storage.postgres.copy import copy
from storage.postgres.fingerprint import Fingerprints
from storage.postgres.months import Months
from storage.postgres.outcome import Outcome
from storage.postgres.partition import TABLE
from storage.postgres.refusal import Refusal, refusal, translated, words
from storage.postgres.staging import adopt
from storage.postgres.statement import STATEMENTS
from storage.postgres.totals import Booking, Books
from storage.sink import SinkFenced, SinkUnavailable, Slice

log: Any = structlog.get_logger()

ATTEMPTS_MAX = 5
"""Of one batch in one `write`: as planned, through staging, and after months that were dropped meanwhile."""
CLOSE_TIMEOUT_S = 2.0
MONTH_DROPPED = "month_dropped"


class RowsRefused(Exception):
    """The rows cannot be stored the way they were tried; `kind` says how to try next."""

    def __init__(self, kind: Refusal) -> None:
        super().__init__(kind.name)
        self.kind = kind


class PostgresSink:
    """An EventSink. After an error of `write` nothing is stored, or (SinkUnavailable) that is unknown: open again."""

    reader = "postgres"

    def __init__(
        self,
        url: str,
        data_dir: Path,
        settings: PostgresSettings,
        door: DoorSettings,
        dead_letters: DeadLetterSettings,
        clock: Clock,
        disk: Disk,
        *,
        keeps_playback: bool = True,
    ) -> None:
        """`keeps_playback`: rows of playback events are this store's; else another required reader's."""
        self._url = url
        self._door = door
        self._keeps_playback = keeps_playback
        self._fingerprints = Fingerprints(settings.fingerprints_max if keeps_playback else 2)
        self._lookout = clock_repair.Lookout(door, settings.fingerprints_max, clock)
        self._months = Months(clock, door.past_s)
        self._dead = DeadLetters(data_dir, self.reader, disk, clock, dead_letters.quota_bytes)
        self._connection: asyncpg.Connection | None = None
        self._positions: dict[str, int] = {}
        self._books: dict[str, Books] = {}
        self._refused = 0
        """Rows since the last one that the table took."""
        self._ads: Ads | None = None
        self._ads_refused = 0
        """The same of ad events."""

    async def open(self) -> dict[str, int]:
        """Connect; where every incarnation stands. Raises SinkUnavailable, SinkLost, SinkRefused."""
        await self.close()
        with translated():
            connection = await connect(self._url)
            try:
                await check_registration(connection, self.reader)
                await playback_store.settle(connection, is_ours=self._keeps_playback)
                await connection.execute(STATEMENTS["make_staging"])
                await connection.execute(AD_STATEMENTS["make_staged_ads"])
                await self._months.load(connection)
                if self._keeps_playback:
                    await self._lookout.begin(connection, self._fingerprints)
                self._positions, self._books = await positions.read(connection, self.reader)
            except BaseException:
                connection.terminate()
                raise
        self._connection, self._ads = connection, Ads(connection)
        return dict(self._positions)

    async def write(self, slices: Sequence[Slice]) -> None:
        """Store the frames and move the positions; without slices, see whether the server answers.

        Raises SinkUnavailable, SinkFenced, SinkRefused; then open again.
        """
        connection = self._connection
        if connection is None:
            raise SinkUnavailable("It is not open.")
        try:
            with translated():
                if not slices:  # only whether it is there
                    await connection.execute("SELECT 1")
                    return
                if self._keeps_playback:
                    await self._lookout.go_on(connection, self._fingerprints, slices)
                outcome = await self._write(connection, slices)
        except BaseException:
            self._fingerprints.forget()
            self._connection = None
            connection.terminate()  # a transaction that is still open there ends with it
            raise
        self._fingerprints.keep()
        self._fingerprints.always([
            tuples.event_id(row.data) for row in outcome.repaired
            if self._lookout.watches(tuples.occurred_at_us(row.sent))
        ])  # fmt: skip
        self._books.update(outcome.books)
        self._positions.update((one.incarnation, one.state.sequence) for one in slices)
        self._refused = 0 if outcome.taken else self._refused + outcome.refused
        self._ads_refused = 0 if outcome.ads.taken else self._ads_refused + len(outcome.ads.refused)
        outcome.count()

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        connection, self._connection = self._connection, None
        self._dead.close()
        if connection is None:
            return
        try:
            await connection.close(timeout=CLOSE_TIMEOUT_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            connection.terminate()

    async def _write(self, connection: asyncpg.Connection, slices: Sequence[Slice]) -> Outcome:
        if any(one.begin != self._positions.get(one.incarnation, 0) for one in slices):
            raise SinkFenced("This batch does not begin where the last one ended.")
        batch = sort(slices, self._fingerprints)
        if not self._keeps_playback:
            batch = batch.without_playback()
        for _ in range(ATTEMPTS_MAX):
            try:
                return await self._transaction(connection, slices, batch)
            except RowsRefused as refused:
                await connection.execute("ROLLBACK")
                log.info("batch_tried_again", reason=refused.kind.name, detail=words(refused.__cause__))
                if refused.kind is Refusal.NO_PARTITION:
                    await self._months.load(connection)
                    continue
                if refused.kind is Refusal.DUPLICATE:
                    metrics.STORE_MISSED.inc()
                batch = batch.staged()
        raise SinkUnavailable(f"A batch was refused {ATTEMPTS_MAX} times: is something else making or dropping months?")

    async def _transaction(self, connection: asyncpg.Connection, slices: Sequence[Slice], batch: Batch) -> Outcome:
        """One attempt. Raises RowsRefused, SinkFenced and the driver's errors."""
        bookings = [Booking() for _ in slices]
        outcome = Outcome()
        letters: list[Letter] = []

        def bury(row: Row, reason: str, sqlstate: str = "", message: str = "") -> None:
            bookings[row.owner].bury(reason)
            outcome.dead[reason] = outcome.dead.get(reason, 0) + 1
            letters.append(
                letter_of(slices[row.owner].incarnation, row.frame, row.number, row.sent, reason, sqlstate, message)
            )

        plain = await self._plain_in_a_month(connection, batch.plain, bury)
        suspected = await self._in_a_month(connection, batch.suspected, bury)
        await connection.execute("BEGIN")
        rows = [row for placed in suspected for row in rows_of(placed)]
        try:
            for schema in {stretch.schema for stretch in plain}:
                stretches = [stretch for stretch in plain if stretch.schema == schema]
                pieces = (piece for stretch in stretches for piece in stretch.pieces())
                count = sum(stretch.count for stretch in stretches)
                await copy(connection, TABLE, COLUMNS[schema], pieces, count)
            if batch.broken:
                for row in await clock_repair.settle(connection, batch.broken, self._door):
                    if await self._months.can_hold(connection, row.month):
                        rows.append(row)
                    else:
                        bury(row, MONTH_DROPPED)
            adopted = await adopt(connection, rows, self._refused)
        except asyncpg.PostgresError as error:
            kind = refusal(error)
            if kind is Refusal.ELSE:
                raise
            raise RowsRefused(kind) from error

        assert self._ads is not None
        outcome.ads = ads = await self._ads.merge(batch.ads, self._ads_refused)  # late: others wait for their turn

        for owner, count in batch.staged_lines.items():
            bookings[owner].staged += count
        for owner, count in batch.elsewhere.items():
            bookings[owner].elsewhere += count
        for stretch in plain:
            for month, (count, rows_hash) in stretch.months.items():
                bookings[stretch.owner].store(month, count, rows_hash)
        for row in adopted.stored:
            bookings[row.owner].store(row.month, 1, tuples.row_hash(row.data))
        for row in ads.stored:
            bookings[row.owner].store(MONTH_AD, 1, 0)
        for row in adopted.duplicate + ads.duplicate:
            bookings[row.owner].duplicate += 1
        for row, sqlstate, message in adopted.refused + ads.refused:
            bury(row, f"sqlstate_{sqlstate}", sqlstate, message)
        outcome.staged, outcome.refused = len(rows), len(adopted.refused)
        outcome.taken = adopted.taken or bool(plain)
        outcome.repaired = [
            row for row in adopted.stored if row.frame.flags & FLAG_CLOCK_BROKEN and row.data != row.sent
        ]
        self._dead.keep(letters)
        for one, booking in zip(slices, bookings, strict=True):
            before = self._books.get(one.incarnation, Books())
            after = outcome.books[one.incarnation] = totals.moved(before, one.state, one.lost, booking)
            outcome.unaccounted += after.unaccounted - before.unaccounted
            outcome.stored += booking.stored
            outcome.duplicate += booking.duplicate
        await self._move_positions(connection, slices, outcome.books)
        await connection.execute("COMMIT")
        return outcome

    async def _plain_in_a_month(
        self, connection: asyncpg.Connection, stretches: list[Stretch], bury: Any
    ) -> list[Stretch]:
        """As `_in_a_month`."""
        gone = await self._gone(connection, {month for stretch in stretches for month in stretch.months})
        if not gone:
            return stretches
        kept = []
        for stretch in stretches:
            frames = [placed.frame for placed in self._in(stretch.placed(), gone, bury)]
            if frames:
                kept.append(Stretch(stretch.owner, stretch.schema, frames))
        return kept

    async def _in_a_month(self, connection: asyncpg.Connection, frames: list[Placed], bury: Any) -> list[Placed]:
        """Those whose month is there, made if need be; the rows of the others are buried."""
        return self._in(frames, await self._gone(connection, {placed.frame.month for placed in frames}), bury)

    async def _gone(self, connection: asyncpg.Connection, months: set[int]) -> set[int]:
        return {month for month in months if not await self._months.can_hold(connection, month)}

    @staticmethod
    def _in(frames: list[Placed], gone: set[int], bury: Any) -> list[Placed]:
        """Those of other months; the rows of the `gone` ones are buried."""
        for placed in frames:
            if placed.frame.month in gone:
                for row in rows_of(placed):
                    bury(row, MONTH_DROPPED)
        return [placed for placed in frames if placed.frame.month not in gone]

    async def _move_positions(
        self, connection: asyncpg.Connection, slices: Sequence[Slice], books: dict[str, Books]
    ) -> None:
        """Raises SinkFenced when one is not where it was left: the transaction is rolled back then."""
        moved = await positions.move(connection, self.reader, slices, self._positions, books)
        if moved != len(slices):
            await connection.execute("ROLLBACK")
            raise SinkFenced(f"{moved} of {len(slices)} positions were where this drain left them.")
