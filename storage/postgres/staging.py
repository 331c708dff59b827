"""Rows one by one: staged, adopted where they are not stored yet; what is refused is found by bisection."""

from typing import NamedTuple

import asyncpg

from storage.postgres.batch import COLUMNS, Row
from storage.postgres.copy import copy
from storage.postgres.refusal import Refusal, refusal, words
from storage.postgres.statement import STATEMENTS

KEY_BYTES = 24


class RefusedRow(NamedTuple):
    """A row that the database will never take."""

    row: Row
    sqlstate: str
    message: str


class Adopted(NamedTuple):
    """What became of rows that went through staging; every row is in exactly one of the three."""

    stored: list[Row]
    duplicate: list[Row]
    refused: list[RefusedRow]


async def adopt(connection: asyncpg.Connection, rows: list[Row]) -> Adopted:
    """Store what is not there yet, in the transaction under way. Of rows with one key the first is taken.

    Raises the driver's errors; NO_PARTITION among them, for the caller to make the month and begin again.
    """
    adopted = Adopted([], [], [])
    for schema in sorted({row.frame.schema for row in rows}):
        unique: dict[bytes, Row] = {}
        for row in rows:
            if row.frame.schema == schema and unique.setdefault(row.key, row) is not row:
                adopted.duplicate.append(row)
        await _Bisection(connection, schema, adopted).run(list(unique.values()))
    return adopted


class _Bisection:
    """One schema's rows on their way from staging into the table."""

    def __init__(self, connection: asyncpg.Connection, schema: int, adopted: Adopted) -> None:
        self._connection = connection
        self._columns = COLUMNS[schema]
        names = ", ".join(f'"{name}"' for name in self._columns)
        self._adopt = STATEMENTS["adopt_staged"].format(columns=names)
        self._adopted = adopted

    async def run(self, rows: list[Row]) -> None:
        """Halve until what is refused stands alone: about 2 log2(n) tries for one bad row of n."""
        waiting = [rows]
        while waiting:
            part = waiting.pop()
            await self._connection.execute("SAVEPOINT part")
            try:
                await self._store(part)
            except asyncpg.PostgresError as error:
                # Through staging a duplicate is no error: 23505 here is of another unique index, and about a row.
                if refusal(error) not in (Refusal.ROW, Refusal.DUPLICATE):
                    raise
                await self._connection.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
                if len(part) == 1:
                    self._adopted.refused.append(RefusedRow(part[0], error.sqlstate or "", words(error)))
                else:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]
            else:
                await self._connection.execute("RELEASE SAVEPOINT part")

    async def _store(self, rows: list[Row]) -> None:
        connection = self._connection
        await connection.execute(STATEMENTS["clear_staging"])
        await copy(connection, "staged_events", self._columns, (row.data for row in rows), len(rows))
        keys = await connection.fetchval(self._adopt)
        stored = {keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)}
        for row in rows:
            (self._adopted.stored if row.key in stored else self._adopted.duplicate).append(row)
