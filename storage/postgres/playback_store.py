"""Which store keeps the rows of playback events of this database's gateways: decided once, by the first that opens.

The choice is one row of ingest_registration, whatever it is, and it is there before a first row: of two gateways with
two opinions one is refused while it has written nothing, so the rows are not cut in half; and a setting that is
changed later is told, not followed.
"""

from typing import Final
from uuid import UUID

import asyncpg

from storage.postgres.statement import STATEMENTS
from storage.sink import SinkRefused

READER: Final = "postgres"
CHOICE: Final = "playback"
"""The `reader` of the row, which is none: of all that register, only this is no reader's."""
OURS: Final = UUID(bytes=b"rows in postgres")
ELSEWHERE: Final = UUID(bytes=b"rows in scylla  ")


async def settle(connection: asyncpg.Connection, *, is_ours: bool) -> None:
    """Choose, or find chosen, whose the rows are. Raises SinkRefused when they are not as `is_ours` says, and the
    driver's errors."""
    wanted = OURS if is_ours else ELSEWHERE
    chosen = await connection.fetchval(STATEMENTS["registration"], CHOICE)
    if chosen is None:
        async with connection.transaction():
            has_rows = not is_ours and await connection.fetchval(STATEMENTS["keeps_playback"], READER)
            await connection.execute(STATEMENTS["choose_playback"], CHOICE, OURS if has_rows else wanted)
            chosen = await connection.fetchval(STATEMENTS["registration"], CHOICE)  # perhaps another's, who was first
    if chosen == wanted:
        return
    if is_ours:
        raise SinkRefused(
            'The gateways of this database keep their playback events in CQL, and store is "postgres": set store = '
            '"scylla" again, or begin with a new database and a new data directory.'
        )
    raise SinkRefused(
        'The gateways of this database keep their playback events in it, and store is "scylla": set store = '
        '"postgres" again, or begin with a new database and a new data directory.'
    )
