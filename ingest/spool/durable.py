"""How many frames of an incarnation are on disk: by its ending if there is one, by the watermark otherwise."""

from pathlib import Path
from typing import Any

import structlog

from ingest.spool.disk import Disk
from ingest.spool.ending import ENDED, DamagedEnding, Ending, read_ending
from ingest.spool.incarnation import WATERMARK
from ingest.spool.watermark import Watermark

log: Any = structlog.get_logger()


class Durable:
    """What the collector, or who ended it, says about its directory. All calls raise OSError."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._ended_path = directory / ENDED
        self._disk = disk
        self._watermark: Watermark | None = None
        self._ending: Ending | None = None
        self._damaged = False

    def beyond(self, sequence: int) -> int:
        """Frames on disk. Costs nothing while there are more than `sequence`, and otherwise a look for the ending."""
        if self._ending is None:
            if self._watermark is None:
                try:
                    self._watermark = self._disk.watermark(self._directory / WATERMARK)
                except (FileNotFoundError, ValueError):  # of an incarnation that was never whole
                    pass
            mark = self._watermark.sequence if self._watermark else 0
            if mark > sequence:
                return mark
            ending = self.ending()
            return mark if ending is None else ending.sequence
        return self._ending.sequence

    def ending(self) -> Ending | None:
        """None while the incarnation lives, and when it cannot be believed: then the next recovery writes it anew."""
        if self._ending is None:
            try:
                self._ending = read_ending(self._disk, self._ended_path)
            except DamagedEnding as error:
                if not self._damaged:
                    log.error("spool_ending_damaged", incarnation=self._directory.name, error=str(error))
                self._damaged = True
        return self._ending

    @property
    def known_ending(self) -> Ending | None:
        """What `ending` said last, without a look at the disk."""
        return self._ending

    def close(self) -> None:
        """Let go of the watermark."""
        if self._watermark is not None:
            self._watermark.close()
            self._watermark = None
