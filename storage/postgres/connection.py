"""A connection that may be trusted with a transaction: bounded in time, to a server that keeps what it commits."""

import asyncpg

from storage.postgres.statement import STATEMENTS
from storage.sink import SinkLost, SinkRefused, SinkUnavailable

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 25.0
"""Of any statement, COPY included: a batch takes well under a second, and a server that was stopped (SIGSTOP, a lost
route) answers neither with an error nor with a reset. Above the lock_timeout of the session, so that a lock is named
as what it is."""


async def connect(url: str) -> asyncpg.Connection:
    """To `url`, for the drain. Raises SinkRefused for a server that would lose commits, and the driver's errors."""
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings={"application_name": "streamverse-ingest drain"},
    )
    try:
        await connection.execute(STATEMENTS["session"])
        durability = await connection.fetchrow(STATEMENTS["durability"])
        for setting in ("fsync", "synchronous_commit"):
            if durability[setting] == "off":
                raise SinkRefused(
                    f"{setting} is off: a commit would not survive a crash, but its events would be let go."
                )
        if durability["standby"]:
            raise SinkUnavailable("It is a standby and takes no writes.")
    except BaseException:
        connection.terminate()
        raise
    return connection


async def check_registration(connection: asyncpg.Connection, reader: str) -> None:
    """Raises SinkLost when the store does not know itself as this reader's."""
    try:
        registration = await connection.fetchval(STATEMENTS["registration"], reader)
    except asyncpg.UndefinedTableError:
        raise SinkLost("There is no table ingest_registration: is this the database, and was it migrated?") from None
    if registration is None:
        raise SinkLost(f"ingest_registration has no row for {reader!r}.")
