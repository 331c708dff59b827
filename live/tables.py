"""What the tables say now: the PostgreSQL of the moment, asked within a deadline by all who serve its rows."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from live.source import Unavailable
from storage.postgres.reads import Reads
from storage.sink import StoreError

DEADLINE_S: Final = 1.0


class Tables:
    """Rows, or why there are none."""

    def __init__(self, url: Callable[[], str]) -> None:
        """`url`: that of PostgreSQL now, empty while it has none."""
        self._url = url
        self._reads: Reads | None = None
        self._reads_url = ""

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """The rows. Raises Unavailable."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._connected().fetch(statement, *arguments)
        except TimeoutError as error:
            raise _away(f"PostgreSQL did not answer within {DEADLINE_S:g} s.") from error
        except StoreError as error:
            raise _away(f"PostgreSQL does not answer: {error}") from error

    def close(self) -> None:
        """Let go of the connections."""
        if self._reads is not None:
            self._reads.close()

    def _connected(self) -> Reads:
        url = self._url()
        if not url:
            raise _away("PostgreSQL has not started yet.")
        if self._reads is None or url != self._reads_url:
            self.close()
            self._reads, self._reads_url = Reads(url, DEADLINE_S), url
        return self._reads


def _away(message: str) -> Unavailable:
    return Unavailable("store_unavailable", message)
