"""What is known of one stream of lines: of a session, by one target. Pure."""

from typing import Final

from msgspec import Struct
from xxhash import xxh3_64_intdigest

from storage.stage.line import NONE
from storage.stage.numbers import Run

COMPLETED_MAX: Final = 32
"""Contents of a stream of which it is remembered that they were completed."""


class Stream(Struct, array_like=True, gc=False):
    """What is known of one. It is kept in the state file as it is; new fields go to the end."""

    runs: list[Run]
    """At least one; the last one goes on."""
    seen_us: int = 0
    """The latest receipt."""
    state: bytes = b""
    """`sta`, as said last."""
    plays: bool = False
    """Behind a play, and neither a pause nor an end since."""
    is_anew: bool = False
    """A run began, and has not said yet what it does."""
    content: bytes = b""
    """`cid`, as said last."""
    completed: list[int] = []
    """Hashes of contents: names are long, and there are many streams."""
    error_us: int = 0
    error_code: bytes | None = None
    """Of the last one, until it plays; None: it did, or there was none."""
    is_seeking: bool = False
    kbps: int = NONE
    startup_told: bool = False
    startup_ms: int = NONE
    """Told, and on no row yet."""
    stall: bytes = b""
    """The line with which a stall began, a tuple; empty: there is none."""
    stall_ms: int = NONE
    """Of it, as the player told since."""
    heartbeat: int = 0
    """Class of its player's interval, as of its last line."""


def a_stream() -> Stream:
    """Of which nothing is known."""
    return Stream([Run()])


def completed_now(stream: Stream, content: bytes) -> bool:
    """Whether `content` was not completed before; now it is."""
    name = xxh3_64_intdigest(content)
    if name in stream.completed:
        return False
    stream.completed = [*stream.completed, name][-COMPLETED_MAX:]
    return True
