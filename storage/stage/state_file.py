"""DATA/stage/state.db: streams, positions, books and the frames of the last turn, moved together.

Not a log with snapshots, as the spool's other state is: the streams of 35 days have to be found by name, one at a time,
without being in memory. SQLite is in the standard library, and its commit is one fsync.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ingest.batch import KIND_SIGNAL, FrameBody
from storage.postgres.statement import parse
from storage.stage.aliases import Alias
from storage.stage.books import Books
from storage.stage.stream import Stream

NAME: Final = "state.db"
VERSION: Final = 1
ALIASES_MAX: Final = 100_000
"""Kept, the latest; the others are in `content_alias` since long, or somebody makes them up."""
STATEMENTS: Final = parse((Path(__file__).parent / "queries.sql").read_text("utf-8"))
SCHEMA: Final = (Path(__file__).parent / "schema.sql").read_text("utf-8")


class Damaged(Exception):
    """The file is not whole, or not of this release."""


class Position(NamedTuple):
    """Of one incarnation."""

    sequence: int
    """Of the next frame that is to be judged."""
    lines: int = 0
    lost: int = 0


class Outbox(NamedTuple):
    """Frames, and where they begin."""

    incarnation: str
    sequence: int
    bodies: list[FrameBody]


class Log(NamedTuple):
    """Of the stage's own: what was written to it."""

    frames: int
    rows: int
    signals: int

    @classmethod
    def of(cls, bodies: Sequence[FrameBody]) -> "Log":
        """With these alone."""
        signals = sum(body.count for body in bodies if body.kind == KIND_SIGNAL)
        return cls(len(bodies), sum(body.count for body in bodies) - signals, signals)


class Turn(NamedTuple):
    """What one transaction writes."""

    positions: dict[str, Position]
    """Moved ones: the new sequence; lines and lost ones since the old one."""
    opened: dict[bytes, Stream] = {}  # noqa: RUF012  never changed
    kept: dict[bytes, Stream] = {}  # noqa: RUF012
    ended: dict[bytes, Stream] = {}  # noqa: RUF012
    books: Books = Books()
    outbox: Outbox | None = None
    unwritten: Outbox | None = None
    """Of an earlier turn, what its log does not have: it is in `outbox` now."""
    aliases: Sequence[Alias] = ()


class StateFile:
    """The file, open. Every call may raise sqlite3.Error; then it is to be closed."""

    def __init__(self, path: Path, *, reads_only: bool = False) -> None:
        """Raises sqlite3.Error, Damaged; FileNotFoundError when there is none."""
        if not path.exists():
            raise FileNotFoundError(path)
        source = f"{path.absolute().as_uri()}?mode={'ro' if reads_only else 'rw'}"
        self._database = sqlite3.connect(source, uri=True, isolation_level=None, check_same_thread=False, timeout=1.0)
        try:
            for pragma in [] if reads_only else STATEMENTS["durability"].splitlines():
                self._database.execute(pragma)
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                raise Damaged(f"{path}: version {version}, this gateway reads {VERSION}")
            if reads_only:
                self._database.execute("BEGIN")  # one moment for all that is asked
            else:
                self._database.execute(STATEMENTS["make_aliases"])
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        self._database.close()

    def positions(self) -> dict[str, Position]:
        """Incarnation → where it is."""
        rows = self._database.execute(STATEMENTS["positions"])
        return {name: Position(sequence, lines, lost) for name, sequence, lines, lost in rows}

    def books(self) -> Books:
        return Books(*self._database.execute(STATEMENTS["books"]).fetchone())

    def open_streams(self) -> int:
        """Of which more is expected."""
        number: int = self._database.execute(STATEMENTS["open_streams"]).fetchone()[0]
        return number

    def logs(self) -> dict[str, Log]:
        """Incarnation → what was written to it."""
        return {name: Log(*log) for name, *log in self._database.execute(STATEMENTS["logs"])}

    def outbox(self) -> Outbox | None:
        """What may not be in the log yet."""
        found = self._database.execute(STATEMENTS["outbox"]).fetchone()
        if found is None:
            return None
        incarnation, sequence, frames = found
        return Outbox(incarnation, sequence, msgspec.msgpack.decode(frames, type=list[FrameBody]))

    def stream(self, stream_id: bytes) -> tuple[Stream, bool] | None:
        """It, and whether it had ended; None: it was never there, or is forgotten."""
        found = self._database.execute(STATEMENTS["stream"], (stream_id,)).fetchone()
        return None if found is None else (_DECODER.decode(found[0]), bool(found[1]))

    def silent(self, since_us: int, number_max: int) -> list[tuple[bytes, Stream]]:
        """Open ones of which nothing was received since, some of them."""
        rows = self._database.execute(STATEMENTS["silent_streams"], (since_us, number_max))
        return [(stream_id, _DECODER.decode(stream)) for stream_id, stream in rows]

    def forget(self, ended_before_us: int, number_max: int) -> int:
        """How many were forgotten; `number_max`: there are more."""
        return self._database.execute(STATEMENTS["forget_streams"], (ended_before_us, number_max)).rowcount

    def aliases(self, behind: int, number_max: int) -> list[tuple[int, Alias]]:
        """Names of contents in the order in which they were met first, each with its number, from behind one on."""
        rows = self._database.execute(STATEMENTS["aliases"], (behind, number_max))
        return [(number, Alias(*alias)) for number, *alias in rows]

    def used_bytes(self) -> int:
        """Of pages that hold something."""
        ask = self._database.execute
        pages, free, size_bytes = (
            int(ask(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size_bytes

    def write(self, turn: Turn) -> None:
        """All of it, or nothing; on disk when it returns."""
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            self._write(database, turn)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def _write(self, database: sqlite3.Connection, turn: Turn) -> None:
        for name, streams in (("open_stream", turn.opened), ("keep_stream", turn.kept), ("end_stream", turn.ended)):
            if streams:
                rows = [(one, stream.seen_us, _ENCODER.encode(stream)) for one, stream in streams.items()]
                database.executemany(STATEMENTS[name], rows)
        database.executemany(
            STATEMENTS["move_position"], [(name, *position) for name, position in turn.positions.items()]
        )
        if turn.aliases:
            database.executemany(STATEMENTS["keep_alias"], turn.aliases)
            database.execute(STATEMENTS["trim_aliases"], (ALIASES_MAX,))
        if turn.books.lines or turn.books.rows:
            database.execute(STATEMENTS["book"], turn.books)
        if turn.outbox is not None:
            database.execute(STATEMENTS["fill_outbox"], _packed(turn.outbox))
            database.execute(STATEMENTS["log"], (turn.outbox.incarnation, *Log.of(turn.outbox.bodies)))
        if turn.unwritten is not None:
            less = [-number for number in Log.of(turn.unwritten.bodies)]
            database.execute(STATEMENTS["log"], (turn.unwritten.incarnation, *less))

    def empty_outbox(self) -> None:
        """What was in it is in the log."""
        self._database.execute(STATEMENTS["empty_outbox"])

    def drop_positions(self, incarnations: Sequence[str]) -> None:
        """Nothing of these can be read any more."""
        self._database.executemany(STATEMENTS["drop_position"], [(name,) for name in incarnations])


def make(path: Path, positions: dict[str, Position]) -> None:
    """A new file, which holds nothing else. Raises sqlite3.Error; then there is none."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    database = sqlite3.connect(draft, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        database.executemany(STATEMENTS["move_position"], [(name, *position) for name, position in positions.items()])
    finally:
        database.close()
    draft.rename(path)


def _packed(outbox: Outbox) -> tuple[str, int, bytes]:
    return outbox.incarnation, outbox.sequence, msgspec.msgpack.encode(outbox.bodies)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Stream)
