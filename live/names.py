"""What contents are called: the catalogue's title, else what players call it; remembered, and never waited for long."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from ingest.clock import Clock
from live.source import Unavailable
from live.tables import Tables
from storage.postgres.statement import STATEMENTS

KEPT_S: Final = 60.0
"""A title that was changed is shown so much later at most, and who had no name is asked for again."""
UNNAMED_S: Final = 10.0
KEPT_MAX: Final = 10_000
PATIENCE_S: Final = 0.2
"""Whoever asks for numbers gets them without names then; the next one has them."""


class Names:
    """Of `tables`, which are closed by who made them."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock
        self._known: dict[str, str] = {}
        self._good_until_s: dict[str, float] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of(self, contents: Sequence[str]) -> dict[str, str]:
        """Content (uuid text) → its name, where one is known. Never raises."""
        now_s = self._clock.monotonic_s()
        wanted = [content for content in contents if self._good_until_s.get(content, 0.0) <= now_s]
        if wanted and self._asking is None:
            self._asking = asyncio.create_task(self._ask(wanted))
            self._asking.add_done_callback(self._asked)
        if self._asking is not None and any(content not in self._good_until_s for content in wanted):
            await asyncio.wait([self._asking], timeout=PATIENCE_S)
        return {content: self._known[content] for content in contents if content in self._known}

    async def close(self) -> None:
        """Nothing is asked any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self, wanted: Sequence[str]) -> None:
        if len(self._good_until_s) > KEPT_MAX:
            self._known, self._good_until_s = {}, {}
        found: dict[str, str] = {}
        try:
            rows = await self._tables.fetch(STATEMENTS["content_names"], [UUID(content) for content in wanted])
            found = {str(row["id"]): row["name"] for row in rows}
            self._known.update(found)
        except Unavailable:  # what is known goes on
            pass
        now_s = self._clock.monotonic_s()
        for content in wanted:
            self._good_until_s[content] = now_s + (KEPT_S if content in found else UNNAMED_S)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()
