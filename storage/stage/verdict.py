"""What becomes of a line of CMCD. Pure."""

from typing import Final

from msgspec import Struct

from storage.stage.line import NONE, Line

PLAY: Final = b"play"
PAUSE: Final = b"pause"
SEEK: Final = b"seek"
BUFFERING: Final = b"buffering"
ERROR: Final = b"error"
COMPLETED: Final = b"completed"
STOP: Final = b"stop"
QUALITY_CHANGE: Final = b"quality_change"
HEARTBEAT: Final = b"heartbeat"
KINDS: Final = (PLAY, PAUSE, SEEK, BUFFERING, ERROR, COMPLETED, STOP, QUALITY_CHANGE, HEARTBEAT)


class Verdict(Struct, gc=False):
    """What becomes of a line; a line without one is folded."""

    line: Line
    kind: bytes
    """An event_type."""
    is_signal: bool
    content: bytes
    """As sent; empty: nobody said."""
    buffer_ms: int = NONE
    startup_ms: int = NONE
    is_stall: bool = False
    """The row of a line that was a signal before."""


class Verdicts(list[Verdict]):
    """In the order in which they were made."""

    folded = 0
    """Lines that changed nothing."""
