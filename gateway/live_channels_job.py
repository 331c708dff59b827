"""live_channels follows who watches, every few seconds: viewer_count, and is_live from the first viewer on until a
minute after the last. One statement a turn, which writes what has changed; nothing while live numbers are not right.
"""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from live import viewers
from live.source import Source, Unavailable
from storage.postgres.job import STATEMENTS, JobFailed

EVERY_S: Final = 4.0
"""With what the reader takes, a channel follows within 10 s."""
SILENCE = timedelta(seconds=60)
"""Without a viewer, until a channel is not live any more: longer than a lease, so a break of the network ends none."""


NAME: Final = "live_channels"
UNSEEN_MAX = timedelta(seconds=30)
"""Without a turn that was done, by whatever gateway, until what was silent before counts as silent from now on."""


class LiveChannelsJob:
    """`source`: of live numbers."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def run(self, connection: asyncpg.Connection) -> str:
        """One turn. Raises JobFailed, the driver's errors."""
        contents = [row["content_id"] for row in await connection.fetch(STATEMENTS["channels"])]
        if not contents:
            return "there is no channel"

        async def ask(client: Any, now_us: int) -> tuple[dict[str, int], bytes]:
            found = await viewers.of(client, contents, now_us)
            return found.viewers, found.registration

        try:
            found = await self._source.read(ask)
        except Unavailable as unavailable:
            raise JobFailed(f"{unavailable.message} Channels stay as they were.") from unavailable
        await connection.execute(STATEMENTS["begin_silences_anew"], NAME, UNSEEN_MAX)
        columns = [UUID(content) for content in found], list(found.values())
        changed = await connection.fetchval(STATEMENTS["follow_channels"], *columns, SILENCE)
        return f"{len(contents)} contents, {changed} channels changed"
