"""A database with a catalogue that learns, and its watch history by the numbers of profiles and contents."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from ingest.tuple import POSTGRES_EPOCH_US
from storage.postgres import watch_history
from storage.postgres.watch_history import Adoption
from storage.watch import gathered
from tests.contract.connected import migrated
from tests.signs import Sign, a_slice, content_of, frames, profile_of
from tests.watched import Watched

WAITING_S = 14 * 86_400
SINCE_2000 = datetime(2000, 1, 1)  # noqa: DTZ001  a TIMESTAMP column


class Shelf:
    """A migrated database, and a connection."""

    def __init__(self, url: str) -> None:
        async def nothing(connection: asyncpg.Connection) -> None:
            """The schema is all that is wanted."""

        migrated(url, nothing)
        self.url = url
        self.loop = asyncio.Runner()
        self.connection = self.loop.run(asyncpg.connect(url))

    def run(self, work: Awaitable[Any]) -> Any:
        async def working() -> Any:
            return await work

        return self.loop.run(working())

    def close(self) -> None:
        self.run(self.connection.close())
        self.loop.close()

    def ask(self, query: str, *arguments: Any) -> list[Any]:
        return list(self.run(self.connection.fetch(query, *arguments)))

    def know(self, people: Sequence[int] = (), titles: Sequence[int] = ()) -> None:
        """They are in the catalogue from now on."""
        for number in people:
            user = "INSERT INTO users (email, username, password_hash) VALUES ($1, $1, '') RETURNING id"
            (found,) = self.ask(user, f"user{number}")
            self.ask("INSERT INTO profiles (id, user_id, name) VALUES ($1, $2, '')", profile_of(number), found["id"])
        for number in titles:
            self.ask("INSERT INTO content (id, type, title) VALUES ($1, 'movie', '')", content_of(number))

    def watch(self, *signs: Sign) -> None:
        self.run(watch(self.connection, *signs))

    def adopt(self, now: datetime | None = None) -> Adoption:
        adopted = watch_history.adopt(self.connection, now or datetime.now(UTC), WAITING_S)
        return Adoption._make(self.run(adopted))

    def history(self, table: str = "watch_history") -> dict[tuple[int, int], Watched]:
        return {
            (row["profile_id"].int & 0xFFFF, row["content_id"].int & 0xFFFF): Watched(
                row["position"],
                row["duration"],
                (row["watched_at"] - SINCE_2000) // timedelta(microseconds=1) + POSTGRES_EPOCH_US,
                row["completed"],
            )
            for row in self.ask(f"SELECT * FROM {table}")
        }

    def waiting(self) -> dict[tuple[int, int], Watched]:
        return self.history("watch_history_waiting")


async def watch(connection: asyncpg.Connection, *signs: Sign) -> None:
    async with connection.transaction():
        await watch_history.apply(connection, gathered([a_slice(frames(signs))]))
