"""Reads of a PostgreSQL, for those who serve what they find: few connections, kept no longer than they are of use."""

from typing import Any, Final

import asyncpg

from storage.postgres.refusal import translated

CONNECTIONS_MAX: Final = 2
IDLE_S: Final = 60.0
"""Then a connection is closed."""


class Reads:
    """Of one database. Connects when asked for the first time; what it sends can write nothing."""

    def __init__(self, url: str, deadline_s: float) -> None:
        """`deadline_s`: of a connect, and of a statement."""
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=CONNECTIONS_MAX,
            timeout=deadline_s,
            command_timeout=deadline_s,
            max_inactive_connection_lifetime=IDLE_S,
            server_settings={"application_name": "streamverse-ingest admin", "default_transaction_read_only": "on"},
        )

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """The rows. Raises SinkUnavailable, SinkRefused."""
        with translated():
            await self._pool  # the first time it opens, and holds no connection yet
            return list(await self._pool.fetch(statement, *arguments))

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.terminate()
