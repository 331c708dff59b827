"""What the gateway says, as everybody may ask it: the admin port's API, and the tables that the platform reads.

Every call raises OSError (aiohttp's errors are some), asyncpg's errors or TimeoutError.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import aiohttp
import asyncpg

from loadtests.catalogue import catalogue
from loadtests.ledger import epoch_us
from loadtests.truth.evening import profile
from loadtests.truth.hotness import Hotness
from loadtests.truth.progress import Place

ANSWER_S: Final = 10.0
POLL_S: Final = 0.2
PROFILES_SQL: Final = """
INSERT INTO profiles (id, user_id, name)
SELECT unnest($1::uuid[]), unnest($2::uuid[]), 'somebody' ON CONFLICT DO NOTHING
"""
USERS_SQL: Final = """
INSERT INTO users (email, username, password_hash) SELECT name, name, '' FROM unnest($1::text[]) AS name RETURNING id
"""
CONTENT_SQL: Final = """
INSERT INTO content (id, type, title, duration)
SELECT id, CASE WHEN duration IS NULL THEN 'live_channel' ELSE 'movie' END, 'a title', duration
  FROM unnest($1::uuid[], $2::int[]) AS title (id, duration)
"""
HOURS_SQL: Final = """
SELECT content_id, extract(epoch FROM hour)::bigint / 3600 AS hour, views FROM content_views_hourly WHERE views > 0
"""


@dataclass(frozen=True, slots=True)
class Live:
    """Who watched at `as_of_us`: in all, and of the contents that most watch."""

    as_of_us: int
    viewers: int
    contents: Mapping[UUID, int]


class Asking:
    """One who asks: a client of the admin port and one of PostgreSQL."""

    def __init__(self, session: aiohttp.ClientSession, postgres: asyncpg.Connection, admin_url: str) -> None:
        self._session = session
        self._postgres = postgres
        self._url = admin_url

    async def live(self) -> Live:
        """Of all, and the hundred best."""
        said = await self._get("/v1/live?top=100")
        contents = {UUID(one["content_id"]): one["viewers"] for one in said["contents"]}
        return Live(epoch_us(said["as_of"]), said["viewers"], contents)

    async def live_of(self, content: UUID) -> Live:
        """Of one content."""
        said = await self._get(f"/v1/live/{content}")
        return Live(epoch_us(said["as_of"]), said["viewers"], {content: said["viewers"]})

    async def hotness(self, content: UUID) -> Hotness | None:
        """Of one content; None while there is none."""
        said = await self._get(f"/v1/hotness/{content}", or_none=True)
        if said is None:
            return None
        views = (said["view_count_24h"], said["view_count_7d"], said["view_count_30d"])
        return Hotness(views, said["hotness_score"], said["replication_tier"], said["ttl_hint"])

    async def quality(self) -> dict[str, Mapping[str, Any]]:
        """Of the last hour: edge → what it says of it; nothing while its reader has no figures."""
        said = await self._get("/v1/qoe?by=cdn_edge&window=1h&top=100", or_none=True)
        return {} if said is None else {one["cdn_edge"]: one for one in said["groups"]}

    async def settled(self, within_s: float, reader: str = "") -> None:
        """Wait until every reader, or this one, stands at the end of the spool, as it is now. Raises TimeoutError."""
        now_us = time.time_ns() // 1_000
        async with asyncio.timeout(within_s):
            while True:
                readers = [one for one in (await self._get("/statusz"))["readers"] if reader in ("", one["reader"])]
                standing = [one for one in readers if one["state"] == "running" and one["at_us"] > now_us]
                if len(standing) == len(readers) and not any(one["lag_frames"] for one in standing):
                    return
                await asyncio.sleep(POLL_S)

    async def counts(self, within_s: float) -> None:
        """Wait until there are live numbers. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while await self._get("/v1/live?top=1", or_none=True) is None:
                await asyncio.sleep(POLL_S)

    async def hours(self) -> dict[tuple[UUID, int], int]:
        """(content, hour since 1970) → views, as content_views_hourly has them."""
        return {(row["content_id"], row["hour"]): row["views"] for row in await self._postgres.fetch(HOURS_SQL)}

    async def progress(self, profiles: Sequence[UUID]) -> dict[tuple[UUID, UUID], Place]:
        """(profile, content) → what watch_history has of these profiles."""
        rows = await self._postgres.fetch("SELECT * FROM watch_history WHERE profile_id = ANY($1::uuid[])", profiles)
        return {
            (row["profile_id"], row["content_id"]): Place(row["position"], row["duration"], row["completed"])
            for row in rows
        }

    async def know_contents(self, seed: int) -> None:
        """The catalogue learns of every content of the crowd."""
        titles = catalogue(seed)
        columns = [title.content_id for title in titles], [title.duration_s for title in titles]
        await self._postgres.execute(CONTENT_SQL, *columns)

    async def streams(self, user: UUID) -> tuple[int, frozenset[UUID]]:
        """When it was read (epoch µs), and the sessions that a user watches."""
        said = await self._get(f"/v1/streams/{user}")
        return epoch_us(said["as_of"]), frozenset(UUID(one["session_id"]) for one in said["streams"])

    async def know_profiles(self, seed: int, numbers: Sequence[int]) -> dict[UUID, UUID]:
        """The catalogue learns of these profiles of the crowd, each of a user of its own; profile → user."""
        users = await self._postgres.fetch(USERS_SQL, [f"{seed}-{number}@example.org" for number in numbers])
        profiles = [profile(seed, number) for number in numbers]
        owners = [user["id"] for user in users]
        await self._postgres.execute(PROFILES_SQL, profiles, owners)
        return dict(zip(profiles, owners, strict=True))

    async def _get(self, path: str, *, or_none: bool = False) -> Any:
        async with asyncio.timeout(ANSWER_S):
            async with self._session.get(self._url + path) as answer:
                if or_none and answer.status in (404, 503):
                    return None
                answer.raise_for_status()
                return await answer.json()
