"""Which frames may hold a row that is stored already: 64-bit fingerprints of the event ids of the last rows.

A suspicion costs staging, a miss costs writing the batch twice; neither costs correctness, the primary key decides.
Every row is looked at, which is 0.5 µs a row. To look at the first of a frame alone, which is enough for requests sent
again whole, was tried: events sent again one by one in new company then were missed in every batch.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import structlog

from ingest.spool.frame import Frame

log: Any = structlog.get_logger()


class Fingerprints:
    """Two generations of at most `most` / 2 ids each: the older is forgotten when the younger is full.

    Beside them at most `most` ids that are never forgotten; were they more, everything is suspected.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._generation_max = max(1, most // 2)
        self._younger: set[int] = set()
        self._older: set[int] = set()
        self._always: set[int] = set()
        self._everything = False
        self._pending: list[set[int]] = []

    @property
    def everything(self) -> bool:
        """Every frame is suspected, as long as the process lives: there were more ids for `always` than its bound."""
        return self._everything

    def always(self, event_ids: Iterable[bytes]) -> None:
        """Suspect these 16-byte ids for as long as the process lives."""
        if self._everything:
            return
        self._always.update(map(hash, event_ids))
        if len(self._always) > self._most:
            self._everything = True
            self._always.clear()
            log.warning("everything_suspected", ids_max=self._most)  # slower, all through staging, and as correct

    def suspect(self, frame: Frame) -> bool:
        """Whether an id of `frame` was seen before, in an earlier frame or in this one. All are seen from now on."""
        if self._everything:
            return True
        rows, younger = frame.rows, self._younger
        ids = set(map(hash, [rows[begin + 6 : begin + 22] for begin in chain((0,), frame.ends[:-1])]))
        before = len(younger)
        younger |= ids  # one look at a set that is too large for the caches asks and remembers
        self._pending.append(ids)
        return (
            len(younger) - before < frame.count or not ids.isdisjoint(self._older) or not ids.isdisjoint(self._always)
        )

    def keep(self) -> None:
        """The frames seen since the last call are stored."""
        self._pending.clear()
        if len(self._younger) >= self._generation_max:
            self._older, self._younger = self._younger, set()

    def forget(self) -> None:
        """The frames seen since the last `keep` are not stored: they come again, and shall not be suspected then."""
        for ids in self._pending:
            self._younger -= ids
        self._pending.clear()
