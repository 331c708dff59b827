"""Whether rows of a month can be stored: its partition is there, or may still be made."""

from datetime import UTC, datetime, timedelta

import asyncpg

from ingest.clock import Clock
from storage import metrics
from storage.postgres import partition_keeper
from storage.postgres.partition import Month, horizon

SPOOL_AGE_MAX_S = 30 * 86_400
"""The longest an acknowledged event may wait in a spool and still get its month made: a month's outage of the store.
Retention has to use the same figure, so that a month that was dropped is never made again (DESIGN §3)."""


class Months:
    """The months of one connection's database, as far as they were seen."""

    def __init__(self, clock: Clock, door_past_s: int) -> None:
        self._clock = clock
        self._door_past = timedelta(seconds=door_past_s)
        self._existing: set[Month] = set()

    async def load(self, connection: asyncpg.Connection) -> None:
        """See anew what is there."""
        self._existing = await partition_keeper.existing_months(connection)

    async def can_hold(self, connection: asyncpg.Connection, number: int) -> bool:
        """Month `number` (year * 12 + month - 1) is there now, made if it was missing; False below the horizon."""
        month = Month(number // 12, number % 12 + 1)
        if month in self._existing:
            return True
        now = datetime.fromtimestamp(self._clock.now_us() / 1e6, UTC)
        if month < horizon(now, self._door_past, timedelta(seconds=SPOOL_AGE_MAX_S)):
            return False
        if await partition_keeper.ensure_month(connection, month):
            metrics.STORE_PARTITIONS_MADE.inc()
        if not connection.is_in_transaction():  # else it is there only once that commits
            self._existing.add(month)
        return True
