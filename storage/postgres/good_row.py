"""Whether the table takes rows that it took before: then those that it refuses now are bad by themselves.

What is asked is rolled back; of somebody's triggers only what no rollback reaches is left, a sequence that moved on.
"""

from typing import Final

import asyncpg

from storage.postgres.refusal import Refusal, refusal

RENEWED: Final = {"event_id": "gen_random_uuid()", "impression_id": "gen_random_uuid()", "received_at": "now()"}
TRIED_MAX: Final = 16
"""Of the latest rows: a new rule may refuse some of these, too."""


async def takes_rows(connection: asyncpg.Connection, statement: str, columns: list[str]) -> bool:
    """Whether one of the latest rows, received now and under a new id, would be taken in the transaction under way.

    False for a table without rows. `statement` stores the $1-th of them anew, of `columns` the values; these are those
    of a column list. Raises the driver's errors that are not about rows.
    """
    names = [f'"{name}"' for name in columns]
    values = [RENEWED.get(name, f'"{name}"') for name in columns]
    statement = statement.format(columns=", ".join(names), values=", ".join(values))
    for number in range(TRIED_MAX):
        await connection.execute("SAVEPOINT good_row")
        try:
            taken = await connection.fetchval(statement, number)
        except asyncpg.PostgresError as error:
            taken = refusal(error) is Refusal.DUPLICATE  # of somebody's unique index, which is asked last
            if not taken and refusal(error) is not Refusal.ROW:
                raise
        else:
            if taken is None:
                return False
        await connection.execute("ROLLBACK TO SAVEPOINT good_row; RELEASE SAVEPOINT good_row")
        if taken:
            return True
    return False
