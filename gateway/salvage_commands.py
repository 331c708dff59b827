"""`spool salvage`: every event that can still be told from segments and quarantined pieces, as lines for the front."""

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import click
import msgspec
from msgspec import Struct
from xxhash import xxh3_64_intdigest

from gateway.salvage import Stretch, is_of, stretches
from gateway.wire_event import NotAnEvent, event_of, row_of, sent_at_now
from ingest.batch import SCHEMA_PLAYBACK
from ingest.clock import Clock, SystemClock
from ingest.spool import frame, segment
from ingest.spool.quarantine import PIECE
from ingest.spool.recovery import IDENTITY
from ingest.spool.window import WINDOW_BYTES
from ingest.tuple import Row, clock_is_broken, event_key, row_hash

Echo = Callable[[str], None]


class NothingFound(Exception):
    """There is no file of a spool where one was to be."""


def salvage(paths: list[Path], output: str | None, uncertain: bool, incarnation: str | None) -> list[str]:
    """The names of files in which there was nothing. The report goes to the output, or, where the events go there, to
    the error output. Raises NothingFound, OSError; ValueError for what is no incarnation."""
    if incarnation is not None and not IDENTITY.fullmatch(incarnation):
        raise ValueError(f"{incarnation!r} is no incarnation: 32 hex digits")
    found = list(files(paths))  # before the output is made

    def echo(text: str) -> None:
        click.echo(text, err=output == "-")

    with ExitStack() as open_files:
        lines: IO[bytes] | None = None
        if output == "-":
            lines = sys.stdout.buffer
        elif output is not None:
            lines = open_files.enter_context(open(output, "xb"))  # never over another file
        run = Salvage(lines, SystemClock(), echo)
        for path in found:
            run.file(path, incarnation)
        run.end(uncertain_too=uncertain)
    return run.found_nothing


class Told(Struct):
    """What was found in one file; the fields are those of its line in the report."""

    file: str
    size_bytes: int
    incarnation: str | None = None
    known_by: str = "nothing"
    """header · damaged_header · name · directory · argument: whence the incarnation is known, and with it the seed."""
    frames: int = 0
    """Of which everything is certain."""
    events: int = 0
    """Certain ones, heartbeats included."""
    events_uncertain: int = 0
    events_lost: int = 0
    """Said to be there by a whole head, and not to be told from its bytes."""
    not_events: int = 0
    """Certain tuples that cannot be posted, such as those of another release."""
    damaged_bytes: int = 0
    frames_missing: int = 0
    """Between the first and the last sequence in the file, without even a head."""


class Salvage:
    """One run. `lines` gets the events that are certain as they come; the others are kept for `end`."""

    def __init__(self, lines: IO[bytes] | None, clock: Clock, echo: Echo) -> None:
        self._lines = lines
        self._clock = clock
        self._echo: Echo = echo
        self._frames: set[tuple[str, int]] = set()
        """Seen in full: a quarantined piece is also in its segment."""
        self._keys = array("Q")
        """Hashes of the keys of certain events."""
        self._uncertain: dict[int, bytes] = {}
        self.events = 0
        self.found_nothing: list[str] = []

    def file(self, path: Path, incarnation: str | None) -> None:
        """Look through one file. Raises OSError."""
        data = path.read_bytes()
        told = Told(str(path), len(data))
        whose = _incarnation(path, data, incarnation)
        if whose is not None:
            told.incarnation, told.known_by = whose
        begin = _begin(data)
        if isinstance(begin, str):  # another release's: its frames may mean something else
            self._echo(_line(file=str(path), size_bytes=len(data), not_read=begin))
            self.found_nothing.append(str(path))
            return
        last: int | None = None
        for found in stretches(data, begin, frame.seed_of(told.incarnation or "0" * 32)):
            if found.head is not None:
                told.frames_missing += max(found.head.sequence - last - 1, 0) if last is not None else 0
                last = found.head.sequence
            self._stretch(found, told)
        is_empty = told.known_by == "header" and begin == len(data)  # as every start leaves one that nothing came to
        if not is_empty and not told.events + told.events_uncertain + told.events_lost + told.not_events:
            self.found_nothing.append(str(path))
        self._echo(_line(**msgspec.structs.asdict(told)))

    def end(self, *, uncertain_too: bool) -> None:
        """Write the uncertain events, if that is wanted, and the last line of the report. Raises OSError."""
        written = 0
        if uncertain_too:
            keys = {xxh3_64_intdigest(event_key(row)) for row in self._uncertain.values()}
            keys.intersection_update(self._keys)
            for row in self._uncertain.values():
                if xxh3_64_intdigest(event_key(row)) not in keys:
                    written += self._write(row, SCHEMA_PLAYBACK)
        self._echo(_line(events=self.events, events_uncertain=len(self._uncertain), uncertain_written=written))

    def _stretch(self, found: Stretch, told: Told) -> None:
        schema = found.head.schema if found.head is not None else SCHEMA_PLAYBACK
        if found.certain:
            told.frames += 1
            identity = (told.incarnation or "", found.head.sequence if found.head is not None else -1 - found.at)
            new = identity not in self._frames
            self._frames.add(identity)
            for row in found.rows:
                if not _is_event(row, schema):
                    told.not_events += 1
                    continue
                told.events += 1
                if new:
                    self._keys.append(xxh3_64_intdigest(event_key(row)))
                    self.events += self._write(row, schema)
        else:
            told.events_uncertain += len(found.rows)
            told.events_lost += max(found.head.count - len(found.rows), 0) if found.head is not None else 0
            self._uncertain.update((row_hash(row), row) for row in found.rows)
        if found.what != "frame":
            told.damaged_bytes += found.end - found.at
            self._echo(
                _line(
                    file=told.file,
                    offset=found.at,
                    size_bytes=found.end - found.at,
                    what=found.what,
                    sequence=found.head.sequence if found.head is not None else None,
                    events_said=found.head.count if found.head is not None else None,
                    events=len(found.rows),
                    certain=found.certain,
                )
            )

    def _write(self, row: bytes, schema: int) -> bool:
        values = row_of(row, schema)
        event = event_of(values)
        event.pop("sent_at", None)  # of a clock that was right: by the time this is posted it would look broken
        if isinstance(values, Row) and clock_is_broken(values.sent_at_us, values.received_at_us):
            event["sent_at"] = sent_at_now(values, self._clock.now_us())
        if self._lines is not None:
            self._lines.write(msgspec.json.encode(event) + b"\n")
        return True


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files meant: those named, and in directories every segment and quarantined piece. Raises NothingFound."""
    for path in paths:
        if path.is_file():
            yield path
            continue
        if not path.is_dir():
            raise NothingFound(f"{path} is no file and no directory")
        found = [
            file
            for file in sorted(path.rglob("*"))
            if (segment.base_of(file.name) is not None or PIECE.fullmatch(file.name)) and file.is_file()
        ]
        if not found:
            raise NothingFound(f"neither segments nor quarantined pieces in {path}")
        yield from found


class _Whose(NamedTuple):
    incarnation: str
    known_by: str


def _incarnation(path: Path, data: bytes, given: str | None) -> _Whose | None:
    """Of several names, the first one that a frame bears out; else the first one; None when nothing says."""
    names: list[_Whose] = []
    if given is not None:
        names.append(_Whose(given, "argument"))
    if data[:8] == segment.MAGIC.to_bytes(8, "little") and len(data) >= segment.HEAD.size:
        try:
            head, _ = segment.decode(data[:WINDOW_BYTES])
            names.append(_Whose(head.incarnation.hex(), "header"))
        except (segment.TornSegment, segment.UnknownVersion):
            names.append(_Whose(data[16:32].hex(), "damaged_header"))
    if match := PIECE.fullmatch(path.name):
        names.append(_Whose(match[1], "name"))
    if IDENTITY.fullmatch(path.absolute().parent.name):
        names.append(_Whose(path.absolute().parent.name, "directory"))
    for whose in names:
        if is_of(data, frame.seed_of(whose.incarnation)):
            return whose
    return names[0] if names else None


def _begin(data: bytes) -> int | str:
    """Behind the segment's header, if there is a whole one; or why the file cannot be read."""
    try:
        return segment.decode(data[:WINDOW_BYTES])[1]
    except segment.TornSegment:
        return 0
    except segment.UnknownVersion as error:
        return str(error)


def _is_event(row: bytes, schema: int) -> bool:
    try:
        event_of(row_of(row, schema))
    except NotAnEvent:
        return False
    return True


def _line(**fields: Any) -> str:
    return msgspec.json.encode(fields).decode()
