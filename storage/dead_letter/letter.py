"""A dead letter: one event that was acknowledged and then refused, as a line. Pure."""

from base64 import b64decode, b64encode
from uuid import UUID

import msgspec
from msgspec import Struct
from xxhash import xxh3_64_hexdigest

from ingest import ad
from ingest import tuple as playback
from ingest.batch import KIND_AD
from ingest.spool.frame import Frame

MESSAGE_MAX_CHARACTERS = 300

Identity = tuple[str, int, int]
"""Incarnation, sequence of the frame, index in it: where the event lay in the spool."""


class DamagedLetter(Exception):
    """This line is no letter, or not the one that was written."""


class Letter(Struct, frozen=True):
    """One event that was acknowledged and then refused."""

    reason: str
    """month_dropped: its month is past the drop horizon · sqlstate_<code>: the database refused it."""
    sqlstate: str
    """Of the refusal, "" where there was none."""
    message: str
    """The database's words, at most 300 characters; never the row."""
    event_id: str
    """Of an ad event, its impression_id."""
    occurred_at_us: int
    """As sent, microseconds since 1970 UTC."""
    received_at_us: int
    incarnation: str
    sequence: int
    index: int
    schema: int
    """Of its frame, as are the flags."""
    flags: int
    tuple: str
    """Base64 of its COPY tuple as acknowledged."""
    at_us: int = 0
    """When it was written, microseconds since 1970 UTC."""
    checksum: str = ""
    """xxh3_64, in hex, of what is sent again; made when the line is written."""

    @property
    def identity(self) -> Identity:
        """Equal for the same event of the same frame."""
        return self.incarnation, self.sequence, self.index

    @property
    def id(self) -> str:
        """The identity, to be read and copied by people."""
        return id_of(self.identity)

    def row(self) -> bytes:
        """Its COPY tuple. Raises ValueError when the text is no base64."""
        return b64decode(self.tuple, validate=True)


def id_of(identity: Identity) -> str:
    """0123…cdef-7-0: incarnation, sequence, index."""
    incarnation, sequence, index = identity
    return f"{incarnation}-{sequence}-{index}"


def letter_of(
    incarnation: str, frame: Frame, number: int, row: bytes, reason: str, sqlstate: str = "", message: str = ""
) -> Letter:
    """For row `number` (from 0) of a frame, `row` as it lies there."""
    times = ad if frame.kind == KIND_AD else playback
    return Letter(
        reason=reason,
        sqlstate=sqlstate,
        message=message[:MESSAGE_MAX_CHARACTERS],
        event_id=str(UUID(bytes=playback.event_id(row).ljust(16, b"\0"))),  # of a tuple that is none, it may be cut
        occurred_at_us=times.occurred_at_us(row),
        received_at_us=times.received_at_us(row),
        incarnation=incarnation,
        sequence=frame.sequence,
        index=number,
        schema=frame.schema,
        flags=frame.flags,
        tuple=b64encode(row).decode(),
    )


def line_of(letter: Letter, at_us: int) -> bytes:
    """The letter as it is written at `at_us`."""
    return msgspec.json.encode(msgspec.structs.replace(letter, at_us=at_us, checksum=_checksum(letter))) + b"\n"


def parsed(line: bytes) -> Letter:
    """The letter on a line. Raises DamagedLetter."""
    try:
        letter = msgspec.json.decode(line, type=Letter)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedLetter(str(error)) from error
    if letter.checksum != _checksum(letter):
        raise DamagedLetter("checksum")
    return letter


def _checksum(letter: Letter) -> str:
    return xxh3_64_hexdigest(f"{letter.id} {letter.schema} {letter.flags} {letter.event_id} {letter.tuple}".encode())
