"""Names of contents, from the session stage's state file into `content_alias`: looked for every few seconds.

The readers' process does it: it has a database at hand, and nothing waits for it. Where it begins anew it tells
everything that the file holds once more, to no effect.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from gateway.layout import DataDir
from storage.postgres.connection import connect
from storage.postgres.refusal import translated
from storage.postgres.statement import STATEMENTS
from storage.sink import StoreError
from storage.stage import state_file
from storage.stage.aliases import Alias
from storage.stage.state_file import Damaged, StateFile
from storage.stage.store import DIRECTORY

log: Any = structlog.get_logger()

PERIOD_S: Final = 2.0
AT_ONCE: Final = 1_000
"""A period: nobody names contents faster, but who makes them up."""
DEADLINE_S: Final = 10.0


async def run(data: DataDir, postgres_url: str) -> None:
    """For ever. While the database does not answer, names stay where they are."""
    connection: asyncpg.Connection | None = None
    told, failed = 0, ""
    while True:
        try:
            found = await asyncio.to_thread(_behind, data, told)
            if found:
                async with asyncio.timeout(DEADLINE_S):
                    with translated():
                        if connection is None or connection.is_closed():
                            connection = await connect(postgres_url)
                        await fill(connection, [alias for _, alias in found])
                told, failed = found[-1][0], ""
        except (StoreError, TimeoutError) as error:
            if connection is not None:
                connection.terminate()
            if (why := f"{type(error).__name__}: {error}") != failed:
                log.warning("aliases_not_filled", error=why)
            failed = why
        await asyncio.sleep(PERIOD_S)


async def fill(connection: asyncpg.Connection, aliases: Sequence[Alias]) -> None:
    """Those that are new. Raises the driver's errors."""
    contents = [UUID(bytes=one.content) for one in aliases]
    owners, names = [one.owner for one in aliases], [one.name for one in aliases]
    await connection.execute(STATEMENTS["fill_aliases"], contents, owners, names)


def _behind(data: DataDir, number: int) -> list[tuple[int, Alias]]:
    """Some of what is behind it in the file; none while there is no file that can be read, which its stage tells."""
    try:
        file = StateFile(data.root / DIRECTORY / state_file.NAME, reads_only=True)
    except (FileNotFoundError, sqlite3.Error, Damaged):
        return []
    try:
        return file.aliases(number, AT_ONCE)
    except sqlite3.Error:  # an earlier release's, and no stage has opened it yet
        return []
    finally:
        file.close()
