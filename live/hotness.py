"""What content_hotness says, asked of PostgreSQL within a deadline; its jobs keep it (gateway/hotness_job.py)."""

import asyncio
from collections.abc import Callable
from datetime import UTC
from typing import Any, Final
from uuid import UUID

import asyncpg

from live.source import Unavailable

DEADLINE_S: Final = 1.0
"""For an answer, connecting included."""
COLUMNS: Final = (
    "content_id, hotness_score, view_count_24h, view_count_7d, view_count_30d, replication_tier, ttl_hint, updated_at"
)
OF_ONE: Final = f"SELECT {COLUMNS} FROM content_hotness WHERE content_id = $1"
OF_TIER: Final = f"""
SELECT {COLUMNS} FROM content_hotness WHERE $1::int IS NULL OR replication_tier = $1
 ORDER BY hotness_score DESC, content_id LIMIT $2
"""

Row = dict[str, Any]


class Hotness:
    """One connection, made when it is needed, for one question at a time."""

    def __init__(self, url: Callable[[], str]) -> None:
        """`url`: that of PostgreSQL now, empty while it has none."""
        self._url = url
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def of(self, content: UUID) -> Row | None:
        """The columns of one content, None where it has none. Raises Unavailable."""
        rows = await self._asked(OF_ONE, content)
        return rows[0] if rows else None

    async def best(self, tier: int | None, top: int) -> list[Row]:
        """Of a replication tier, or of all, the hottest. Raises Unavailable."""
        return await self._asked(OF_TIER, tier, top)

    async def close(self) -> None:
        """Let go of the connection; never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _asked(self, query: str, *arguments: Any) -> list[Row]:
        try:
            async with asyncio.timeout(DEADLINE_S), self._turn:
                try:
                    found = await (await self._connected()).fetch(query, *arguments)
                except BaseException:
                    await self.close()
                    raise
        except TimeoutError as error:
            raise _away(f"PostgreSQL did not answer within {DEADLINE_S:g} s.") from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise _away(f"PostgreSQL does not answer: {error or type(error).__name__}") from error
        return [_told(row) for row in found]

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            if not (url := self._url()):
                raise _away("PostgreSQL has not started yet.")
            settings = {"application_name": "streamverse-ingest live"}
            self._connection = await asyncpg.connect(url, server_settings=settings)
        return self._connection


def _away(message: str) -> Unavailable:
    return Unavailable("store_unavailable", message)


def _told(row: asyncpg.Record) -> Row:
    at = row["updated_at"]
    told = None if at is None else at.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {**row, "content_id": str(row["content_id"]), "updated_at": told}
