"""What a drain asks of a store, and the errors that say what to do next."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ingest.batch import KIND_AD
from ingest.spool.frame import Frame
from ingest.spool.incarnation import State
from ingest.spool.reader import Lost
from ingest.spool.run import Run


class Slice(NamedTuple):
    """Consecutive frames of one incarnation: what moves its position from `begin` to `state.sequence`."""

    incarnation: str
    """32 hex digits."""
    begin: int
    """The position before: the sequence of the next frame, as the store holds it."""
    runs: list[Run]
    """Its frames; none where damage took everything."""
    state: State
    """Behind the last frame (or behind the damage): running totals as the spool says them."""
    lost: list[Lost]
    """What damage took between `begin` and here."""

    @property
    def frames(self) -> list[Frame]:
        """Of all runs, one by one: for sinks that have to look at each."""
        return [one for run in self.runs for one in run.frames]

    @property
    def events(self) -> int:
        """In its frames, signals included."""
        return sum(run.outline.events for run in self.runs)

    @property
    def has_ads(self) -> bool:
        """Whether ad events are among them."""
        return any(kind == KIND_AD for run in self.runs for kind, _, _ in run.outline.forms)

    @property
    def size_bytes(self) -> int:
        """Of its frames on disk, nearly."""
        return sum(run.outline.size_bytes for run in self.runs)


class StoreError(Exception):
    """A store did not do what was asked."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"{self.__doc__} {detail}".strip())


class SinkUnavailable(StoreError):
    """No answer from the store, or an unknown outcome: open it again, it says where it stands."""


class SinkFenced(StoreError):
    """The position in the store is not where this drain left it: another one is at work. Nothing was written."""


class SinkLost(StoreError):
    """The store has no registration, or a position behind what the spool still holds: an engineer decides."""


class SinkRefused(StoreError):
    """The store is set up so that it cannot keep its promise (such as synchronous_commit=off)."""


class EventSink(Protocol):
    """A store at the end of a drain."""

    reader: str
    """The name of its positions: `postgres`, `redis`."""

    async def open(self) -> dict[str, int]:
        """Connect; the position of every incarnation it knows. Raises SinkUnavailable, SinkLost, SinkRefused."""
        ...

    async def write(self, slices: Sequence[Slice]) -> None:
        """Effects and positions of all slices, at once. Raises SinkUnavailable, SinkFenced."""
        ...

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        ...
