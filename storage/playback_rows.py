"""What PostgreSQL's readers ask of another store that keeps the rows of playback events."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from ingest.tuple import COLUMNS

SIGN_COLUMNS: Final = COLUMNS[:12]
"""Up to `profile_id`: what views, sessions and watch history are made of."""

Take = Callable[[list[bytes]], Awaitable[None]]


class Repair(NamedTuple):
    """Of a row whose player's clock was broken; times in microseconds since 1970."""

    event_id: bytes
    raw_us: int
    """As the player sent it."""
    occurred_us: int
    """Under which it is stored."""


class PlaybackRows(Protocol):
    """Everything raises SinkUnavailable, SinkLost, SinkRefused."""

    async def identity(self) -> str:
        """32 hex digits of whose rows these are, the same over restarts."""
        ...

    async def positions(self) -> dict[str, int]:
        """Incarnation → next sequence: every row below is there when this is asked for before the rows."""
        ...

    async def repairs(self) -> list[Repair]:
        """All that are remembered."""
        ...

    async def signs(self, since_us: int, take: Take, piece: int = 0, pieces: int = 1) -> None:
        """Hand the rows received since then (microseconds since 1970) that say something of a viewer, tests left out,
        to `take`, as tuples of SIGN_COLUMNS, some at a time: in no order, and one may come twice. What `take` raises
        ends it. Piece number `piece` of so many, which together are all rows, is the same at every call."""
        ...
