"""Rows one by one: staged, adopted where they are not stored yet; what is refused is found by bisection.

The door refuses what the shipped tables would, so a row that is refused is rare. Where none is taken, not even one that
was before, somebody has changed the table, and the rows are good: they wait in the spool for the engineer instead of
becoming dead letters.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import asyncpg

from storage.postgres.batch import COLUMNS, Row
from storage.postgres.copy import copy
from storage.postgres.good_row import takes_rows
from storage.postgres.refusal import Refusal, refusal, words
from storage.postgres.statement import STATEMENTS
from storage.sink import SinkRefused

KEY_BYTES = 24
REFUSED_MAX: Final = 1_000
"""Rows refused one after the other, across batches, with none taken between them; then it is the table."""
REFUSED_LAST: Final = 10_000
"""The same, where the table takes again what it took before: a rule about what is new would look like that, too."""
SAMPLE: Final = 16
"""Rows tried, from all over the batch, before that is said: the refused ones may be those of one player. Where all of
them are, rows that the table took before are tried."""


class RefusedRow(NamedTuple):
    """A row that the database will never take."""

    row: Row
    sqlstate: str
    message: str


@dataclass(slots=True)
class Adopted:
    """What became of rows that went through staging; every row is in exactly one of the three lists."""

    stored: list[Row] = field(default_factory=list)
    duplicate: list[Row] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)
    taken: bool = False
    """Whether the table took, or had, any."""


async def adopt(connection: asyncpg.Connection, rows: list[Row], refused_before: int = 0) -> Adopted:
    """Store what is not there yet, in the transaction under way. Of rows with one key the first is taken.

    `refused_before`: rows that were refused since the last one that was taken. Raises SinkRefused when these become too
    many, and the driver's errors; NO_PARTITION among them, for the caller to make the month and begin again.
    """
    adopted = Adopted()
    for schema in sorted({row.frame.schema for row in rows}):
        unique: dict[bytes, Row] = {}
        for row in rows:
            if row.frame.schema == schema and unique.setdefault(row.key, row) is not row:
                adopted.duplicate.append(row)
        store = _Staging(connection, schema, adopted)
        await Bisection(connection, store.store, store.takes_rows, adopted, refused_before).run(list(unique.values()))
    return adopted


class _Staging:
    """One schema's rows on their way from staging into the table."""

    def __init__(self, connection: asyncpg.Connection, schema: int, adopted: Adopted) -> None:
        self._connection = connection
        self._columns = COLUMNS[schema]
        names = ", ".join(f'"{name}"' for name in self._columns)
        self._adopt = STATEMENTS["adopt_staged"].format(columns=names)
        self._adopted = adopted

    async def store(self, rows: list[Row]) -> None:
        connection = self._connection
        await connection.execute(STATEMENTS["clear_staging"])
        await copy(connection, "staged_events", self._columns, (row.data for row in rows), len(rows))
        keys = await connection.fetchval(self._adopt)
        stored = {keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)}
        for row in rows:
            (self._adopted.stored if row.key in stored else self._adopted.duplicate).append(row)

    async def takes_rows(self) -> bool:
        return await takes_rows(self._connection, STATEMENTS["repeat_row"], self._columns)


class Bisection:
    """Rows on their way into a table, in the transaction under way; what is refused is found and passed over."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        store: Callable[[list[Row]], Awaitable[None]],
        takes_rows: Callable[[], Awaitable[bool]],
        adopted: Adopted,
        refused_before: int,
    ) -> None:
        """`store` puts rows into the table and says in `adopted` what became of them, or raises the driver's errors.
        `takes_rows`: whether the table takes rows that it took before. `refused_before` as of `adopt`."""
        self._connection = connection
        self._store = store
        self._takes_rows = takes_rows
        self._adopted = adopted
        self._refused_max = REFUSED_MAX - refused_before
        self._refused_last = REFUSED_LAST - refused_before

    async def run(self, rows: list[Row]) -> None:
        """Halve until what is refused stands alone: about 2 log2(n) tries for one bad row of n."""
        waiting = [rows]
        while waiting:
            part = waiting.pop()
            error = await self._try(part)
            if error is None:
                continue
            if len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            if not self._adopted.taken and len(self._adopted.refused) >= self._refused_max:
                waiting = await self._sampled(waiting, error)
            self._adopted.refused.append(RefusedRow(part[0], error.sqlstate or "", words(error)))

    async def _sampled(self, waiting: list[list[Row]], error: asyncpg.PostgresError) -> list[list[Row]]:
        """What waits, without the rows taken here. Raises SinkRefused when none of these is, nor one taken before."""
        rows = [row for part in reversed(waiting) for row in part]
        tried = rows[:: max(1, len(rows) // SAMPLE)]
        for number, row in enumerate(tried):
            if await self._try([row]) is None:
                left = set(map(id, tried[: number + 1]))
                return [[row for row in rows if id(row) not in left], *([one] for one in tried[:number])]
        is_last = len(self._adopted.refused) >= self._refused_last
        if is_last or not await self._takes_rows():
            raise SinkRefused(f"The table takes no row: {error.sqlstate} {words(error)}")
        self._refused_max = self._refused_last
        return waiting

    async def _try(self, part: list[Row]) -> asyncpg.PostgresError | None:
        """Store them, or say why one of them is refused. Raises the driver's errors that are not about rows."""
        await self._connection.execute("SAVEPOINT part")
        try:
            await self._store(part)
        except asyncpg.PostgresError as error:
            # Through staging a duplicate is no error: 23505 here is of another unique index, and about a row.
            if refusal(error) not in (Refusal.ROW, Refusal.DUPLICATE):
                raise
            await self._connection.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
            return error
        await self._connection.execute("RELEASE SAVEPOINT part")
        self._adopted.taken = True
        return None
