"""What campaigns reached and cost, every two seconds: from their hours into ad_campaigns, and from there into Redis.

PostgreSQL first, and committed whatever becomes of Redis: what a turn could not write there, the next one does.
"""

from typing import Any, Final

import asyncpg

from storage.postgres import campaigns as tables
from storage.postgres.job import JobFailed
from storage.redis import campaigns as hashes
from storage.redis.connection import connect
from storage.sink import StoreError

EVERY_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 2.0
"""Redis's, for some hundred hashes, which take it 5 ms."""


class AdCampaignsJob:
    """`redis_url`: where ad servers ask."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._client: Any | None = None
        self._is_missed = False
        """A write failed, so what Redis has is older than the note there says."""

    async def run(self, connection: asyncpg.Connection) -> str:
        """One turn. Raises JobFailed, the driver's errors."""
        summed = 0
        missed: StoreError | None = None
        refused: tables.SumsRefused | None = None
        try:
            async for standings in tables.summed(connection):
                summed += len(standings)
                if missed is None:
                    try:
                        await hashes.write(self._connected(), standings)
                    except StoreError as error:
                        missed = error
        except tables.SumsRefused as error:
            refused = error
        self._is_missed = self._is_missed or missed is not None
        if missed is None:
            try:
                await self._write_all_if_due(connection)
            except StoreError as error:
                missed = error
        if missed is not None:
            raise JobFailed(f"{summed} campaigns summed, but ad servers read what was before: {missed}") from missed
        if refused is not None:
            raise JobFailed(str(refused)) from refused
        return f"{summed} campaigns summed"

    async def close(self) -> None:
        """Let go of the connection to Redis."""
        if self._client is not None:
            await self._client.aclose()

    async def _write_all_if_due(self, connection: asyncpg.Connection) -> None:
        client = self._connected()
        day = await tables.today(connection)
        if not self._is_missed and await hashes.is_whole(client, day):
            return
        async for standings in tables.every_standing(connection):
            await hashes.write(client, standings)
        await hashes.note_whole(client, day)
        self._is_missed = False

    def _connected(self) -> Any:
        if self._client is None:
            self._client = connect(self._redis_url, ANSWER_TIMEOUT_S)
        return self._client
