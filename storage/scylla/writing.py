"""One write of the sink: its rows sorted and on their way, and what became of them. And what one connection needs."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import structlog

from config.scylla import ScyllaSettings
from config.settings import DoorSettings
from ingest import tuple as tuples
from ingest.batch import FLAG_CLOCK_BROKEN, KIND_AD, KIND_CMCD, KIND_PLAYBACK, KIND_SIGNAL
from ingest.clock import Clock
from ingest.core import chosen
from ingest.spool.frame import Frame
from storage import metrics
from storage.dead_letter.letter import Letter, letter_of
from storage.feed import KNOWN
from storage.postgres.totals import Booking, Books
from storage.scylla.clock_repair import ClockRepairs, Row
from storage.scylla.content_buckets import ContentBuckets
from storage.scylla.delivery import Delivery, Size, write_of
from storage.scylla.driver import CqlInvalid, Driver
from storage.scylla.placing import Placing
from storage.scylla.requests import Need, Requests, Statements, Step
from storage.sink import SinkRefused, Slice

log: Any = structlog.get_logger()

WATCHED_MAX: Final = 1_000_000
"""Repaired events whose resends are known by their id, some 100 bytes each; of more, by a filter."""


class Session:
    """What one connection needs."""

    def __init__(self, driver: Driver, settings: ScyllaSettings, door: DoorSettings, clock: Clock, size: Size) -> None:
        self.driver = driver
        self.statements = Statements(driver)
        self.buckets = ContentBuckets(driver, settings)
        self.repairs = ClockRepairs(driver, door, WATCHED_MAX, clock)
        self.requests = Requests(driver.forms, settings, self.statements, self.buckets.days)
        self.placing: Placing | None = None
        """Where the Rust core is there, and the driver takes uuids as text."""
        self.delivery = Delivery(driver, settings.inflight_max, size, self._meet)
        self._size_max_bytes = settings.request_max_bytes

    async def begin(self) -> None:
        """Raises CqlError."""
        await self.statements.open()
        await self.repairs.begin()
        if chosen.rust is not None and self.driver.forms["uuid"] is not None:
            self.placing = Placing(
                chosen.rust, self._size_max_bytes, self.statements, self.buckets.days, self.requests
            )  # fmt: skip

    async def _meet(self, need: Need) -> None:
        if need.day is not None:
            await self.buckets.open_day(need.day)
        if need.mask is not None:
            await self.statements.make(need.mask)


class Writing:
    """One write: its rows on their way, and what became of them."""

    def __init__(self, slices: Sequence[Slice], session: Session) -> None:
        self._slices = slices
        self._session = session
        self.bookings = [Booking() for _ in slices]
        self.broken: list[Row] = []
        self.suspected: list[Row] = []
        self._settled: list[Row] = []
        self._dead: dict[str, int] = {}

    def sane(self) -> Iterator[Step]:
        """Steps of all frames of sane clocks. What else there is, is sorted on the way. Raises SinkRefused."""
        placing, repairs = self._session.placing, self._session.repairs
        if not repairs.watched.is_exact:
            placing = None  # it knows them one by one
        if placing is not None:
            placing.watch(repairs.fresh())
        for owner, one in enumerate(self._slices):
            for run in one.runs:
                divided = None if placing is None else placing.divide(run)
                if placing is None or divided is None:
                    yield from self._frames(owner, run.frames)
                    continue
                booking = self.bookings[owner]
                for month, rows, rows_hash in divided.plain.sums():
                    booking.store(month, rows, rows_hash)
                booking.elsewhere += divided.ads
                booking.staged += divided.lines
                yield from placing.of(divided.plain, self._session.delivery.size.rows_max)
                yield from self._frames(owner, [*divided.watched, *divided.broken])
        yield from self._session.requests.left()
        if placing is not None:
            yield from placing.left()

    def _frames(self, owner: int, frames: Sequence[Frame]) -> Iterator[Step]:
        """Steps of these, one by one."""
        for frame in frames:
            rows = self._sorted(owner, self._slices[owner].incarnation, frame)
            if rows:
                yield from self._session.requests.of(rows, self._session.delivery.size.rows_max)

    def settled(self, rows: list[Row]) -> Iterator[Step]:
        """Steps of rows whose time was looked up."""
        requests = self._session.requests
        for row in rows:
            self.bookings[row.owner].store(row.month, 1, row.hash)
        self._settled = rows
        yield from requests.of([row.data for row in rows], self._session.delivery.size.rows_max)
        yield from requests.left()

    def bury(self) -> list[Letter]:
        """Letters of the events that the cluster refused, which are taken out of what was stored."""
        letters = []
        for row, code, message in self._refused():
            reason = f"cql_{code}"
            self.bookings[row.owner].store(row.month, -1, -row.hash)
            self.bookings[row.owner].bury(reason)
            self._dead[reason] = self._dead.get(reason, 0) + 1
            incarnation = self._slices[row.owner].incarnation
            letters.append(letter_of(incarnation, row.frame, row.number, row.sent, reason, code, message))
        return letters

    def count(self, before: dict[str, Books], after: dict[str, Books]) -> None:
        """Hand it to the metrics."""
        metrics.STORE_ROWS.inc(sum(booking.stored for booking in self.bookings))
        metrics.STORE_REPAIRED.inc(sum(row.was_repaired for row in self._settled))
        for reason, count in self._dead.items():
            metrics.STORE_DEAD.labels(reason).inc(count)
        unaccounted = sum(books.unaccounted - before.get(name, Books()).unaccounted for name, books in after.items())
        metrics.STORE_UNACCOUNTED.inc(unaccounted)
        if unaccounted:
            log.error("rows_unaccounted", rows=unaccounted)

    def _sorted(self, owner: int, incarnation: str, frame: Frame) -> list[bytes]:
        """Its rows that go out as they are."""
        if (frame.kind, frame.schema, frame.flags) not in KNOWN:
            raise SinkRefused(
                f"Frame {incarnation}/{frame.sequence} is of kind {frame.kind}, schema {frame.schema}, flags "
                f"{frame.flags}, which this release does not know; it stays in the spool."
            )
        booking = self.bookings[owner]
        if frame.kind == KIND_CMCD:
            booking.staged += frame.count
        elif frame.kind == KIND_AD:
            booking.elsewhere += frame.count
        if frame.kind != KIND_PLAYBACK:
            assert frame.kind in (KIND_SIGNAL, KIND_CMCD, KIND_AD)
            return []
        if frame.flags & FLAG_CLOCK_BROKEN:
            self.broken += [Row(owner, frame, number, row, row) for number, row in enumerate(frame.tuples())]
            return []
        repairs, rows = self._session.repairs, frame.tuples()
        suspected = [Row(owner, frame, number, row, row) for number, row in enumerate(rows) if repairs.suspects(row)]
        if not suspected:
            booking.store(frame.month, frame.count, frame.rows_hash)
            return rows
        self.suspected += suspected
        plain = [row for row in rows if not repairs.suspects(row)]
        for row in plain:
            booking.store(frame.month, 1, tuples.row_hash(row))
        return plain

    def _refused(self) -> Iterator[tuple[Row, str, str]]:
        """Each row, and the error's code and words. Of what came more than once, every one."""
        forms = self._session.driver.forms
        keys: dict[tuple[bytes, int], CqlInvalid] = {}
        for request, error in self._session.delivery.refused:
            _, values = write_of(request)
            names = request.table.always
            identity, time_us = values[names.index("event_id")], values[names.index("occurred_at_us")]
            if forms["uuid"] is not None:
                identity = bytes.fromhex(identity.decode().replace("-", ""))
            if forms["bigint"] is None:
                time_us = int.from_bytes(time_us, "big", signed=True)
            keys.setdefault((identity, time_us), error)
        malformed = dict(self._session.requests.malformed)
        if not keys and not malformed:
            return
        for row in self._rows():
            if row.data in malformed:
                yield row, "client", malformed[row.data]
            elif (found := keys.get(_key(row.data))) is not None:
                yield row, found.code, found.message

    def _rows(self) -> Iterator[Row]:
        """All of this write, as they were stored."""
        settled = {(row.owner, row.frame.sequence, row.number) for row in self._settled}
        yield from self._settled
        for owner, one in enumerate(self._slices):
            for frame in one.frames:
                if frame.kind == KIND_PLAYBACK:
                    for number, data in enumerate(frame.tuples()):
                        if (owner, frame.sequence, number) not in settled:
                            yield Row(owner, frame, number, data, data)


def _key(row: bytes) -> tuple[bytes, int]:
    return tuples.event_id(row), tuples.occurred_at_us(row)
