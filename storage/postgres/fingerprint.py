"""Which frames may hold a row that is stored already: 64-bit fingerprints of the event ids of the last rows.

A suspicion costs staging, a miss costs writing the batch twice; neither costs correctness, the primary key decides.
Every row is looked at, which is 0.3 µs a row, by the Rust core 0.05. To look at the first of a frame alone, which is
enough for requests sent again whole, was tried: events sent again one by one in new company then were missed in every
batch.
"""

from collections.abc import Iterable
from itertools import chain
from struct import unpack
from typing import Any

import structlog

from ingest import core
from ingest.spool.frame import Frame

log: Any = structlog.get_logger()


class Generations:
    """Two generations of ids: the older is forgotten when the younger has `generation_max`. Beside them ids for ever.

    The twin of the Rust core's class of this name.
    """

    def __init__(self, generation_max: int) -> None:
        self._generation_max = generation_max
        self._younger: set[int] = set()
        self._older: set[int] = set()
        self._always: set[int] = set()
        self._pending: list[set[int]] = []

    def always(self, event_ids: list[bytes]) -> int:
        """Suspect these for ever; how many there are."""
        self._always.update(map(hash, event_ids))
        return len(self._always)

    def suspect(self, rows: bytes, ends_table: bytes) -> bool:
        """Whether an id of a frame was seen before, or comes twice in it. All are seen from now on."""
        count, younger = len(ends_table) // 4, self._younger
        begins = chain((0,), unpack(f"<{count}I", ends_table)[:-1])
        ids = set(map(hash, [rows[begin + 6 : begin + 22] for begin in begins]))
        before = len(younger)
        younger |= ids  # one look at a set that is too large for the caches asks and remembers
        self._pending.append(ids)
        return len(younger) - before < count or not ids.isdisjoint(self._older) or not ids.isdisjoint(self._always)

    def keep(self) -> None:
        """What was seen since the last call stays."""
        self._pending.clear()
        if len(self._younger) >= self._generation_max:
            self._older, self._younger = self._younger, set()

    def forget(self) -> None:
        """What was seen since the last `keep` was not."""
        for ids in self._pending:
            self._younger -= ids
        self._pending.clear()


class Fingerprints:
    """Two generations of at most `most` / 2 ids each: the older is forgotten when the younger is full.

    Beside them at most `most` ids that are never forgotten; were they more, everything is suspected.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._everything = False
        rust = core.chosen.rust
        self._generations = (Generations if rust is None else rust.Generations)(max(1, most // 2))

    @property
    def everything(self) -> bool:
        """Every frame is suspected, as long as the process lives: there were more ids for `always` than its bound."""
        return self._everything

    def always(self, event_ids: Iterable[bytes]) -> None:
        """Suspect these 16-byte ids for as long as the process lives."""
        if not self._everything and self._generations.always(list(event_ids)) > self._most:
            self._everything = True
            self._generations = Generations(1)  # what was remembered is of no use any more
            log.warning("everything_suspected", ids_max=self._most)  # slower, all through staging, and as correct

    def suspect(self, frame: Frame) -> bool:
        """Whether an id of `frame` was seen before, in an earlier frame or in this one. All are seen from now on."""
        return self._everything or self._generations.suspect(frame.rows, frame.ends_table)

    def divide(self, packed: Any) -> tuple[Any, list[int], list[int], list[int], int] | None:
        """As `suspect`, of the playback in a run in the Rust core: its frames of which nothing is suspected, as another
        such object or the same; the numbers of the suspected ones; of those of broken clocks; of those of ad events;
        and how many lines of CMCD there are.

        None where the frames have to be looked at one by one.
        """
        if isinstance(self._generations, Generations):
            return None
        found: tuple[Any, list[int], list[int], list[int], int] = self._generations.divide(packed)
        return found

    def keep(self) -> None:
        """The frames seen since the last call are stored."""
        self._generations.keep()

    def forget(self) -> None:
        """The frames seen since the last `keep` are not stored: they come again, and shall not be suspected then."""
        self._generations.forget()
