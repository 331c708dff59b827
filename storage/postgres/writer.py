"""The PostgreSQL sink: rows and positions of a batch in one transaction.

    sort ─▶ BEGIN ─▶ COPY the unsuspected ─▶ settle broken clocks ─▶ staging ─▶ dead letters (fsync) ─▶ positions ─▶
    COMMIT

What is met on the way decides how the batch is tried again: a duplicate nobody suspected and a row the database
refuses send all of it through staging, a month that vanished is made anew. Everything else is an outage, and the
drain opens again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import structlog

from config.settings import DeadLetterSettings, DoorSettings, PostgresSettings
from ingest import tuple as tuples
from ingest.batch import FLAG_CLOCK_BROKEN
from ingest.clock import Clock
from ingest.spool.disk import Disk
from storage import metrics
from storage.dead_letter import MESSAGE_MAX_CHARACTERS, DeadLetters, Letter, encoded
from storage.postgres import clock_repair, totals
from storage.postgres.batch import COLUMNS, Batch, Placed, Row, rows_of, sort
from storage.postgres.connection import check_registration, connect
from storage.postgres.copy import copy
from storage.postgres.fingerprint import Fingerprints
from storage.postgres.months import Months
from storage.postgres.partition import TABLE
from storage.postgres.refusal import Refusal, refusal, translated, words
from storage.postgres.staging import adopt
from storage.postgres.statement import STATEMENTS
from storage.postgres.totals import Booking, Books
from storage.sink import SinkFenced, SinkRefused, SinkUnavailable, Slice

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


@dataclass(slots=True)
class Outcome:
    """What one transaction did, to be counted once it is committed."""

    books: dict[str, Books] = field(default_factory=dict)
    stored: int = 0
    duplicate: int = 0
    staged: int = 0
    repaired: list[Row] = field(default_factory=list)
    dead: dict[str, int] = field(default_factory=dict)
    unkept: int = 0
    unaccounted: int = 0


class PostgresSink:
    """An EventSink. After an error of `write` nothing of it is stored, or (SinkUnavailable) that is unknown: open
    again."""

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
    ) -> None:
        self._url = url
        self._door = door
        self._fingerprints_max = settings.fingerprints_max
        self._fingerprints = Fingerprints(settings.fingerprints_max)
        self._months = Months(clock, door.past_s)
        self._dead = DeadLetters(data_dir, self.reader, disk, clock, dead_letters.quota_bytes)
        self._connection: asyncpg.Connection | None = None
        self._positions: dict[str, int] = {}
        self._books: dict[str, Books] = {}

    async def open(self) -> dict[str, int]:
        """Connect; where every incarnation stands. Raises SinkUnavailable, SinkLost, SinkRefused."""
        await self.close()
        with translated():
            connection = await connect(self._url)
            try:
                await check_registration(connection, self.reader)
                await connection.execute(STATEMENTS["make_staging"])
                await self._months.load(connection)
                self._fingerprints.always(
                    await clock_repair.repaired_lately(connection, self._door, self._fingerprints_max)
                )
                found = await connection.fetch(STATEMENTS["positions"], self.reader)
                self._books = _books(found)
            except BaseException:
                connection.terminate()
                raise
        self._connection = connection
        self._positions = {row["incarnation"].hex: row["sequence"] for row in found}
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
                outcome = await self._write(connection, slices)
        except BaseException:
            self._fingerprints.forget()
            self._connection = None
            connection.terminate()  # a transaction that is still open there ends with it
            raise
        self._fingerprints.keep()
        self._fingerprints.always([
            tuples.event_id(row.data) for row in outcome.repaired
            if clock_repair.comes_true(_raw_us(row), tuples.occurred_at_us(row.data), self._door)
        ])  # fmt: skip
        self._books.update(outcome.books)
        self._positions.update((one.incarnation, one.state.sequence) for one in slices)
        _count(outcome)

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
                batch = Batch([], batch.plain + batch.suspected, batch.broken)
        raise SinkUnavailable(f"A batch was refused {ATTEMPTS_MAX} times: is something else making or dropping months?")

    async def _transaction(self, connection: asyncpg.Connection, slices: Sequence[Slice], batch: Batch) -> Outcome:
        """One attempt. Raises RowsRefused, SinkFenced and the driver's errors."""
        bookings = [Booking() for _ in slices]
        outcome = Outcome()
        letters: list[Letter] = []

        def bury(row: Row, reason: str, sqlstate: str = "", message: str = "") -> None:
            bookings[row.owner].bury(reason)
            outcome.dead[reason] = outcome.dead.get(reason, 0) + 1
            letters.append(_letter(slices[row.owner].incarnation, row, reason, sqlstate, message))

        plain = await self._in_a_month(connection, batch.plain, bury)
        suspected = await self._in_a_month(connection, batch.suspected, bury)
        await connection.execute("BEGIN")
        rows = [row for placed in suspected for row in rows_of(placed)]
        try:
            for schema in {placed.frame.schema for placed in plain}:
                frames = [placed.frame for placed in plain if placed.frame.schema == schema]
                count = sum(frame.count for frame in frames)
                await copy(connection, TABLE, COLUMNS[schema], (frame.rows for frame in frames), count)
            if batch.broken:
                for row in await clock_repair.settle(connection, batch.broken, self._door):
                    if await self._months.can_hold(connection, row.month):
                        rows.append(row)
                    else:
                        bury(row, MONTH_DROPPED)
            adopted = await adopt(connection, rows)
        except asyncpg.PostgresError as error:
            kind = refusal(error)
            if kind is Refusal.ELSE:
                raise
            raise RowsRefused(kind) from error

        for placed in plain:
            bookings[placed.owner].store(placed.frame.month, placed.frame.count, placed.frame.rows_hash)
        for row in adopted.stored:
            bookings[row.owner].store(row.month, 1, tuples.row_hash(row.data))
        for row in adopted.duplicate:
            bookings[row.owner].duplicate += 1
        for row, sqlstate, message in adopted.refused:
            bury(row, f"sqlstate_{sqlstate}", sqlstate, message)
        outcome.staged = len(rows)
        outcome.repaired = [
            row for row in adopted.stored if row.frame.flags & FLAG_CLOCK_BROKEN and row.data[66:74] != _raw(row)
        ]
        outcome.unkept = self._dead.keep(letters)
        for one, booking in zip(slices, bookings, strict=True):
            before = self._books.get(one.incarnation, Books())
            after = outcome.books[one.incarnation] = totals.moved(before, one.state, one.lost, booking)
            outcome.unaccounted += after.unaccounted - before.unaccounted
            outcome.stored += booking.stored
            outcome.duplicate += booking.duplicate
        await self._move_positions(connection, slices, outcome.books)
        await connection.execute("COMMIT")
        return outcome

    async def _in_a_month(self, connection: asyncpg.Connection, frames: list[Placed], bury: Any) -> list[Placed]:
        """Those whose month is there, made if need be; the rows of the others are buried."""
        months = {placed.frame.month for placed in frames}
        gone = {month for month in months if not await self._months.can_hold(connection, month)}
        if not gone:
            return frames
        for placed in frames:
            if placed.frame.month in gone:
                for row in rows_of(placed):
                    bury(row, MONTH_DROPPED)
        return [placed for placed in frames if placed.frame.month not in gone]

    async def _move_positions(
        self, connection: asyncpg.Connection, slices: Sequence[Slice], books: dict[str, Books]
    ) -> None:
        """Compare-and-set them all. Raises SinkFenced when one is not where it was left; the caller's transaction
        must end."""
        begun = [one for one in slices if one.incarnation not in self._positions]
        known = [one for one in slices if one.incarnation in self._positions]
        moved = 0
        if begun:
            status = await connection.execute(
                STATEMENTS["begin_positions"], self.reader, *_columns(begun, books, False)
            )
            moved += int(status.split()[-1])
        if known:
            status = await connection.execute(STATEMENTS["move_positions"], self.reader, *_columns(known, books, True))
            moved += int(status.split()[-1])
        if moved != len(slices):
            await connection.execute("ROLLBACK")
            raise SinkFenced(f"{moved} of {len(slices)} positions were where this drain left them.")


def _books(found: Sequence[Mapping[str, Any]]) -> dict[str, Books]:
    """Of each position. Raises SinkRefused for totals that are none: somebody else wrote them."""
    books = {}
    for row in found:
        try:
            books[row["incarnation"].hex] = totals.decode(row["totals"])
        except msgspec.DecodeError as error:
            raise SinkRefused(f"ingest_positions.totals of {row['incarnation'].hex} cannot be read: {error}") from error
    return books


def _columns(slices: Sequence[Slice], books: dict[str, Books], before: bool) -> list[list[Any]]:
    columns: list[list[Any]] = [[UUID(hex=one.incarnation) for one in slices]]
    if before:
        columns.append([one.begin for one in slices])
    columns.append([one.state.sequence for one in slices])
    columns.append([totals.encode(books[one.incarnation]) for one in slices])
    return columns


def _count(outcome: Outcome) -> None:
    metrics.STORE_ROWS.inc(outcome.stored)
    metrics.STORE_DUPLICATES.inc(outcome.duplicate)
    metrics.STORE_STAGED.inc(outcome.staged)
    metrics.STORE_REPAIRED.inc(len(outcome.repaired))
    for reason, count in outcome.dead.items():
        metrics.STORE_DEAD.labels(reason).inc(count)
    metrics.STORE_DEAD_UNKEPT.inc(outcome.unkept)
    metrics.STORE_UNACCOUNTED.inc(outcome.unaccounted)
    if outcome.unaccounted:
        log.error("rows_unaccounted", rows=outcome.unaccounted)


def _raw(row: Row) -> bytes:
    """occurred_at as sent: eight bytes of the tuple in the frame."""
    begin = row.frame.ends[row.number - 1] if row.number else 0
    return row.frame.rows[begin + 66 : begin + 74]


def _raw_us(row: Row) -> int:
    return int.from_bytes(_raw(row), "big", signed=True) + tuples.POSTGRES_EPOCH_US


def _letter(incarnation: str, row: Row, reason: str, sqlstate: str, message: str) -> Letter:
    begin = row.frame.ends[row.number - 1] if row.number else 0
    sent = row.frame.rows[begin : row.frame.ends[row.number]]
    return Letter(
        reason=reason,
        sqlstate=sqlstate,
        message=message[:MESSAGE_MAX_CHARACTERS],
        event_id=str(UUID(bytes=tuples.event_id(sent))),
        occurred_at_us=tuples.occurred_at_us(sent),
        received_at_us=tuples.received_at_us(sent),
        incarnation=incarnation,
        sequence=row.frame.sequence,
        index=row.number,
        schema=row.frame.schema,
        flags=row.frame.flags,
        tuple=encoded(sent),
    )
