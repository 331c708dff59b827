"""Ad events, merged into the rows of their impressions, and what that changes into the figures of their campaigns.

    frames ─▶ COPY into staged_ads ─▶ the turn (one transaction at a time) ─▶ merge_staged_ads (ads.sql)

An event is (impression, event, offset). Each time column takes the earliest, so any order and any repetition of
arrivals gives the same row; a figure moves by the difference between the row before and the row behind. An event that
was there already is a duplicate.
"""

from typing import Any

import asyncpg

from ingest.ad import AD_COLUMNS
from storage.postgres.ad_statement import COLUMNS, STATEMENTS
from storage.postgres.batch import Placed, Row, rows_of
from storage.postgres.copy import copy
from storage.postgres.good_row import takes_rows
from storage.postgres.staging import Adopted, Bisection
from storage.sink import SinkUnavailable

_STAGED_COLUMNS = [column.name for column in AD_COLUMNS]


class Ads:
    """The merge on one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._merge: Any = None

    async def merge(self, placed: list[Placed], refused_before: int) -> Adopted:
        """Merge their events in the transaction under way, and say what became of each.

        `refused_before`: events that were refused since the last one that was taken. Raises SinkRefused when these
        become too many, SinkUnavailable when somebody deletes rows meanwhile, and the driver's errors.
        """
        adopted = Adopted()
        rows = [row for one in placed for row in rows_of(one)]
        if not rows:
            return adopted
        if self._merge is None:  # too long a statement for the driver to keep it prepared by itself
            self._merge = await self._connection.prepare(STATEMENTS["merge_staged_ads"])
        await Bisection(
            self._connection, lambda part: self._store(part, adopted), self._takes_rows, adopted, refused_before
        ).run(rows)
        return adopted

    async def _store(self, rows: list[Row], adopted: Adopted) -> None:
        if adopted.taken:  # what went before it is still staged
            await self._connection.execute(STATEMENTS["clear_staged_ads"])
        await copy(self._connection, "staged_ads", _STAGED_COLUMNS, (row.data for row in rows), len(rows))
        await self._connection.execute(STATEMENTS["merge_turn"])
        merged = await self._merge.fetchrow()
        if merged["written"] != merged["impressions"]:
            raise SinkUnavailable("Rows of ad_impressions were deleted, or made, beside the merge.")
        repeats = set(merged["repeats"])
        for number, row in enumerate(rows):
            (adopted.duplicate if number in repeats else adopted.stored).append(row)

    async def _takes_rows(self) -> bool:
        return await takes_rows(self._connection, STATEMENTS["repeat_impression"], ["impression_id", *COLUMNS])
