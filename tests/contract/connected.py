"""Running a coroutine on a connection of its own, for tests that are plain functions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg

from storage.postgres import migration

T = TypeVar("T")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection for the length of a block."""
    conn = await asyncpg.connect(url)
    try:
        yield conn
    finally:
        await conn.close()


def on(url: str, scenario: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """Runs `scenario` on a connection to `url` in an event loop of its own; returns what it returns."""

    async def main() -> T:
        async with connected(url) as conn:
            return await scenario(conn)

    return asyncio.run(main())


def migrated(url: str, scenario: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """As `on`, with the whole schema made first."""

    async def main(conn: asyncpg.Connection) -> T:
        await migration.up(conn)
        return await scenario(conn)

    return on(url, main)
