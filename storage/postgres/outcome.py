"""What one transaction did, counted once it is committed and not before."""

from dataclasses import dataclass, field
from typing import Any

import structlog

from storage import metrics
from storage.postgres.batch import Row
from storage.postgres.staging import Adopted
from storage.postgres.totals import Books

log: Any = structlog.get_logger()


@dataclass(slots=True)
class Outcome:
    """All counts are of rows."""

    books: dict[str, Books] = field(default_factory=dict)
    """Incarnation → its books behind the transaction."""
    stored: int = 0
    duplicate: int = 0
    staged: int = 0
    refused: int = 0
    taken: bool = False
    """Whether the table took, or had, any row."""
    repaired: list[Row] = field(default_factory=list)
    dead: dict[str, int] = field(default_factory=dict)
    unaccounted: int = 0
    ads: Adopted = field(default_factory=Adopted)
    """Of ad events; the other counts of what was staged, refused and taken are without them."""

    def count(self) -> None:
        """Hand it to the metrics."""
        metrics.STORE_ROWS.inc(self.stored)
        metrics.STORE_DUPLICATES.inc(self.duplicate)
        metrics.STORE_STAGED.inc(self.staged)
        metrics.STORE_REPAIRED.inc(len(self.repaired))
        for reason, count in self.dead.items():
            metrics.STORE_DEAD.labels(reason).inc(count)
        metrics.STORE_UNACCOUNTED.inc(self.unaccounted)
        if self.unaccounted:
            log.error("rows_unaccounted", rows=self.unaccounted)
