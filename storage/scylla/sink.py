"""The CQL sink: rows of playback events to every table, then the positions.

    is it still ours? ─▶ look at others' repairs ─▶ rows of sane clocks ─▶ settle broken clocks ─▶ their rows
                      ─▶ all acknowledged ─▶ dead letters (fsync) ─▶ the move counted in the cluster
                      ─▶ positions (fsync)

Whatever goes wrong on the way, the positions stay, and the same rows are written again under the same keys. Signals are
no rows, lines of CMCD are the session stage's, ad events are PostgreSQL's: they are counted and passed over.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from config.scylla import ScyllaSettings
from config.settings import DeadLetterSettings, DoorSettings
from ingest.clock import Clock
from ingest.spool.disk import Disk
from storage.dead_letter.writer import DeadLetters
from storage.postgres import totals
from storage.postgres.totals import Books
from storage.scylla import driver as drivers
from storage.scylla import keyspace, registration
from storage.scylla.delivery import Size, translated
from storage.scylla.driver import CqlError, Driver
from storage.scylla.positions import PositionFiles
from storage.scylla.writing import Session, Writing
from storage.sink import SinkFenced, SinkUnavailable, Slice

T = TypeVar("T")


class ScyllaSink:
    """An EventSink. After an error of `write` the positions stand where they were, and any of the rows may be written:
    open again."""

    reader = "scylla"

    def __init__(
        self,
        settings: ScyllaSettings,
        data_dir: Path,
        door: DoorSettings,
        dead_letters: DeadLetterSettings,
        clock: Clock,
        disk: Disk,
        connect: Callable[[ScyllaSettings], Awaitable[Driver]] = drivers.connected,
    ) -> None:
        self._settings = settings
        self._door = door
        self._clock = clock
        self._connect = connect
        self._files = PositionFiles(data_dir, disk)
        self._dead = DeadLetters(data_dir, self.reader, disk, clock, dead_letters.quota_bytes)
        self._size = Size(settings.rows_max)
        self._session: Session | None = None
        self._registration_id = ""
        self._positions: dict[str, int] = {}
        self._books: dict[str, Books] = {}

    async def open(self) -> dict[str, int]:
        """Connect; where every incarnation stands. Raises SinkUnavailable, SinkLost, SinkRefused."""
        await self.close()
        found = await _on_disk(self._files.read)
        driver = None
        try:
            driver = await self._connect(self._settings)
            session = Session(driver, self._settings, self._door, self._clock, self._size)
            await keyspace.check(driver, self._settings)
            if found.registration_id:
                moved = await registration.check(driver, found.registration_id, found.moved)
                positions = await _on_disk(lambda: self._files.take_over(moved))
            else:
                made = await registration.register(driver, self.reader)
                await _on_disk(lambda: self._files.register(made))
                found, positions = found._replace(registration_id=str(made)), {}
            await session.begin()
        except BaseException as error:
            if driver is not None:
                await driver.close()
            if isinstance(error, CqlError):
                raise translated(error) from error
            raise
        self._session, self._registration_id = session, found.registration_id
        self._positions = {name: position.sequence for name, position in positions.items()}
        self._books = {name: position.books for name, position in positions.items()}
        return dict(self._positions)

    async def write(self, slices: Sequence[Slice]) -> None:
        """Store the rows and move the positions; without slices, see whether the cluster answers.

        Raises SinkUnavailable, SinkFenced, SinkLost, SinkRefused; then open again.
        """
        session = self._session
        if session is None:
            raise SinkUnavailable("It is not open.")
        try:
            if not slices:
                await registration.check(session.driver, self._registration_id, self._files.moved)
                return
            with _uncollected():
                await self._write(session, slices)
        except BaseException as error:
            self._session = None
            session.requests.forget()
            await asyncio.shield(session.driver.close())
            if isinstance(error, CqlError):
                raise translated(error) from error
            raise

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        session, self._session = self._session, None
        self._dead.close()
        if session is not None:
            await session.driver.close()

    async def _write(self, session: Session, slices: Sequence[Slice]) -> None:
        if any(one.begin != self._positions.get(one.incarnation, 0) for one in slices):
            raise SinkFenced("This batch does not begin where the last one ended.")
        await _on_disk(self._files.check)
        await session.repairs.go_on(slices)
        session.delivery.refused, session.requests.malformed = [], []
        writing = Writing(slices, session)
        await session.delivery.run(writing.sane())
        settled = await session.repairs.settle(writing.broken, writing.suspected)
        if settled:
            await session.delivery.run(writing.settled(settled))
        letters = writing.bury()
        if letters:
            await _on_disk(lambda: self._dead.keep(letters))
        books = {
            one.incarnation: totals.moved(
                self._books.get(one.incarnation, Books()), one.state, one.lost, writing.bookings[owner]
            )
            for owner, one in enumerate(slices)
        }
        number = self._files.moved + 1
        await session.delivery.tried(lambda: registration.move(session.driver, self._registration_id, number))
        await _on_disk(lambda: self._files.move(slices, books, number))
        writing.count(self._books, books)
        self._books.update(books)
        self._positions.update((one.incarnation, one.state.sequence) for one in slices)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles, which would look at every value of a write again and again, and find nothing:
    half of the CPU of a row. What it is for is done between writes."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def _on_disk(work: Callable[[], T]) -> T:
    """In a thread: a disk may take its time, the event loop may not. An error of the disk is an outage."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise SinkUnavailable(f"The positions cannot be kept: {error}") from error
