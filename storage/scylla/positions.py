"""Where every incarnation stands, in files behind the effects: rows may be written twice, so no transaction is needed.

    DATA/scylla/registration     the id under which this data directory is registered in the cluster, and nothing else
    DATA/scylla/positions.json   the token of the sink that opened last; positions and books that moved since
    DATA/scylla/before.json      those of before: an incarnation that has ended is not written again and again

Each file is replaced whole and fsynced. Who opens takes over by a token of its own, under a lock; who was there before
finds another token before it moves anything. The registration is a row of the cluster, too, written first: one without
the other means that something was lost. The moves are counted, here and, before each, there: a keyspace that knows of
fewer is an older one. Where both are missing all begins at 0; that nothing older is missing, the spool's tombstones
say. Where something is, `cql begin-anew` is the way on (anew.py).
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct

from ingest.spool.disk import Disk, found_there, write_whole
from storage.postgres.totals import Books
from storage.scylla.registration import WAY_OUT
from storage.sink import SinkFenced, SinkLost, SinkRefused, SinkUnavailable, Slice

DIRECTORY: Final = "scylla"
LOCK_PATIENCE_S: Final = 2.0
LOCK_POLL_S: Final = 0.01

T = TypeVar("T", bound=Struct)


class Position(Struct, frozen=True):
    """Of one incarnation."""

    sequence: int
    """Of the next frame to deliver."""
    books: Books


class Registration(Struct, frozen=True):
    """Content of the file of this name."""

    registration_id: str


class Moved(Struct, frozen=True):
    """Content of positions.json; of before.json without an owner."""

    owner: str
    positions: dict[str, Position]
    moved: int = 0
    """How often positions were moved, ever."""


class Found(NamedTuple):
    """What the files say."""

    registration_id: str
    """Empty: this directory was never registered."""
    owner: str
    positions: dict[str, Position]
    moved: int = 0


class PositionFiles:
    """Of one data directory, for one sink. Every method may raise OSError, and blocks: call it in a thread."""

    def __init__(self, data_dir: Path, disk: Disk) -> None:
        self._directory = data_dir / DIRECTORY
        self._disk = disk
        self._owner = ""
        self._moved: dict[str, Position] = {}
        self.moved = 0
        """The number of the last move."""

    def read(self) -> Found:
        """Without taking over. Raises SinkRefused for a file that cannot be read, SinkLost for one that is missing."""
        registration = self._decoded("registration", Registration)
        moved, before = self._decoded("positions.json", Moved), self._decoded("before.json", Moved)
        if registration is None:
            if (before is not None and before.positions) or (moved is not None and moved.positions):
                raise SinkLost(f"{self._directory} holds positions and no registration: put the file back.")
            return Found("", "", {})
        if moved is None:
            raise SinkLost(
                f"{self._directory}/positions.json is missing. {WAY_OUT} The same rows are written again under the "
                "same keys."
            )
        if before is None:
            raise SinkLost(f"{self._directory}/before.json is missing. {WAY_OUT}")
        positions = dict(before.positions)
        for name, position in moved.positions.items():
            if name not in positions or position.sequence >= positions[name].sequence:
                positions[name] = position
        return Found(registration.registration_id, moved.owner, positions, moved.moved)

    def register(self, registration_id: UUID) -> None:
        """The cluster knows this directory by this id now."""
        self._disk.make_directory(self._directory)
        with self._locked():
            if self._decoded("registration", Registration) is not None:
                raise SinkFenced("Another sink registered this directory at the same time.")
            self._begin(registration_id, {})

    def begin_anew(self, registration_id: UUID, positions: dict[str, Position]) -> None:
        """As `register`, from these positions on, whatever is there. Who was there before is left behind."""
        self._disk.make_directory(self._directory)
        with self._locked():
            self._begin(registration_id, positions)

    def take_over(self, moved: int) -> dict[str, Position]:
        """Every position; from now on they are this sink's to move. `moved`: the last move the cluster knows of."""
        with self._locked():
            found = self.read()
            found_there(self._disk, self._directory / "positions.json")
            self._owner = uuid4().hex
            self._moved = {}
            self.moved = max(moved, found.moved)
            self._write("before.json", Moved("", found.positions))  # first: what is in both is the same
            self._write("positions.json", Moved(self._owner, {}, self.moved))
        return found.positions

    def check(self) -> None:
        """Raises SinkFenced when another sink has taken over."""
        moved = self._decoded("positions.json", Moved)
        if moved is None or moved.owner != self._owner:
            raise SinkFenced("Another one has opened this store.")

    def move(self, slices: Sequence[Slice], books: Mapping[str, Books], number: int) -> None:
        """To behind these slices, durably; the `number`th move. Raises SinkFenced."""
        positions = {one.incarnation: Position(one.state.sequence, books[one.incarnation]) for one in slices}
        with self._locked():
            self.check()
            moved = {**self._moved, **positions}
            self._write("positions.json", Moved(self._owner, moved, number))
            self._moved, self.moved = moved, number

    def _begin(self, registration_id: UUID, positions: dict[str, Position]) -> None:
        self._owner, self._moved, self.moved = uuid4().hex, {}, 0
        self._write("before.json", Moved("", positions))
        self._write("positions.json", Moved(self._owner, {}))  # first: a registration has positions, if none yet
        self._write("registration", Registration(str(registration_id)))

    def _write(self, name: str, content: Struct) -> None:
        write_whole(self._disk, self._directory / name, msgspec.json.encode(content))

    def _decoded(self, name: str, kind: type[T]) -> T | None:
        path = self._directory / name
        try:
            data = self._disk.read(path, 0, self._disk.size(path))
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SinkRefused(f"{path} cannot be read: {error}") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        until_s = time.monotonic() + LOCK_PATIENCE_S
        while (descriptor := self._disk.lock(self._directory / "lock")) is None:
            if time.monotonic() > until_s:
                raise SinkUnavailable(f"{self._directory} is locked by another process.")
            time.sleep(LOCK_POLL_S)
        try:
            yield
        finally:
            os.close(descriptor)


def read(data_dir: Path, disk: Disk) -> dict[str, Position]:
    """Every position and its books, for who only looks. Raises SinkLost, SinkRefused, OSError."""
    return PositionFiles(data_dir, disk).read().positions
