"""The stage's own log: an incarnation below DATA/spool, begun when there is something to write."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from config.limits import SEGMENT_SIZE_BYTES
from ingest.batch import FrameBody
from ingest.clock import Clock
from ingest.spool.disk import Disk
from ingest.spool.ending import ENDED, TOMBSTONES, Ending, read_ending
from ingest.spool.incarnation import Group, Incarnation
from ingest.spool.recovery import incarnations, recover

log: Any = structlog.get_logger()


class NotEnded(Exception):
    """Another process holds this log, or the disk does not let it be ended: its end cannot be told yet."""


class LogLost(Exception):
    """Neither this log nor its tombstone is there."""


class Output:
    """All calls raise OSError; behind one, nothing more is appended to the log that is open. `chance(n)`: n bytes."""

    def __init__(
        self,
        root: Path,
        disk: Disk,
        clock: Clock,
        chance: Callable[[int], bytes],
        segment_size_bytes: int = SEGMENT_SIZE_BYTES,
    ) -> None:
        self._root = root
        self._disk = disk
        self._clock = clock
        self._chance = chance
        self._segment_size_bytes = segment_size_bytes
        self._incarnation: Incarnation | None = None

    def place(self) -> tuple[str, int]:
        """Incarnation and sequence of the next frame; a log is begun for it."""
        if self._incarnation is None:
            self._incarnation = Incarnation.begin(
                self._root, self._disk, self._clock, self._chance(16), self._segment_size_bytes
            )
            log.info("stage_incarnation", incarnation=self._incarnation.identity.hex())
        return self._incarnation.identity.hex(), self._incarnation.state().sequence

    def encode(self, bodies: Sequence[FrameBody], at_us: int) -> Group:
        """The next frames."""
        assert self._incarnation is not None
        for body in bodies:
            self._incarnation.framing.add(body, at_us)
        return self._incarnation.close_group()

    def commit(self, group: Group) -> None:
        """They are on disk, and readers see them."""
        assert self._incarnation is not None
        self._incarnation.commit(group)
        if self._incarnation.full:
            self._incarnation.roll()

    def end(self) -> None:
        """Nothing more comes. Behind an error it is as if the process had died: `ending` finds out where it ended."""
        incarnation, self._incarnation = self._incarnation, None
        if incarnation is not None:
            try:
                incarnation.end(abandoned=True)  # what is not committed is in no promise
            finally:
                incarnation.let_go()

    def ending(self, incarnation: str) -> int:
        """How many frames an earlier log held; it is ended if it was not.

        Raises NotEnded, LogLost, DamagedEnding.
        """
        known = incarnations(self._disk, self._root)
        if incarnation in known and incarnation in recover(self._disk, self._root, self._clock):
            raise NotEnded(incarnation)
        for path in (self._root / incarnation / ENDED, self._root / TOMBSTONES / incarnation):
            found: Ending | None = read_ending(self._disk, path)
            if found is not None:
                return found.sequence
        raise NotEnded(incarnation) if incarnation in known else LogLost(incarnation)
