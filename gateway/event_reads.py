"""Events as people ask for them, of whichever store keeps them: of a session, a content, a profile, an edge's errors.

PostgreSQL has one table, by time: it reads all of the span, so a short one is what it is for.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from config.settings import Settings
from ingest.tuple import COLUMNS
from storage.postgres.refusal import translated
from storage.scylla.content_buckets import ContentBuckets, plan
from storage.scylla.reading import EventReads
from storage.scylla.scanning import connected

Event = dict[str, Any]
"""Column → value; absent ones are left out, times are microseconds since 1970, `…_us`."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TIMEOUT_S: Final = 60.0
_WHICH: Final = {
    "session": "session_id = $1::uuid",
    "content": "content_id = $1::uuid",
    "profile": "profile_id = $1::uuid",
    "errors": "event_type = 'error' AND coalesce(cdn_edge, '') = $1::text",
}
FIRST: Final = "session"
"""Of which the oldest are given, of all others the newest."""
_NAMES: Final = ", ".join(
    f"(extract(epoch FROM {one.name}) * 1000000)::bigint AS {one.name}_us"
    if one.type == "timestamptz"
    else f'{one.name}::text AS "{one.name}"'
    if one.type == "uuid"
    else f'"{one.name}"'
    for one in COLUMNS
)


def read(
    settings: Settings,
    postgres_url: Callable[[], str],
    what: str,
    of: str,
    since_us: int,
    until_us: int,
    limit: int,
    times: int = 1,
) -> tuple[list[Event], float]:
    """`what`: session, content, profile or errors; `of`: its id, or an edge; times from `since_us` on, before
    `until_us`. Reads it `times` times on one connection: what was there last, and the median of the later half, in ms.
    Raises SinkUnavailable, SinkLost, SinkRefused."""
    if settings.store == "scylla":
        found, ms = asyncio.run(_of_scylla(settings, what, of, since_us, until_us, limit, times))
    else:
        found, ms = asyncio.run(_of_postgres(postgres_url(), what, of, since_us, until_us, limit, times))
    return [_there(one) for one in found], ms


async def _timed(read: Callable[[], Awaitable[list[Event]]], times: int) -> tuple[list[Event], float]:
    found, took_ms = list[Event](), list[float]()
    for _ in range(times):
        began_s = time.perf_counter()
        found = await read()
        took_ms.append(1_000 * (time.perf_counter() - began_s))
    return found, statistics.median(took_ms[times // 2 :])


async def _of_scylla(
    settings: Settings, what: str, of: str, since_us: int, until_us: int, limit: int, times: int
) -> tuple[list[Event], float]:
    async with connected(settings.scylla) as driver:
        reads = EventReads(driver, ContentBuckets(driver, settings.scylla))
        asked: dict[str, Callable[..., Coroutine[Any, Any, list[Event]]]] = {
            "session": reads.session,
            "content": reads.content,
            "profile": reads.profile,
            "errors": reads.errors,
        }
        key = of if what == "errors" else UUID(of)
        return await _timed(lambda: asked[what](key, since_us, until_us, limit), times)


async def _of_postgres(
    url: str, what: str, of: str, since_us: int, until_us: int, limit: int, times: int
) -> tuple[list[Event], float]:
    order = "ASC" if what == FIRST else "DESC"
    query = (
        f"SELECT {_NAMES} FROM playback_events WHERE {_WHICH[what]}"
        " AND occurred_at >= $2 AND occurred_at < $3"
        f" ORDER BY occurred_at {order}, event_id LIMIT $4"
    )
    span = [EPOCH + timedelta(microseconds=at_us) for at_us in (since_us, until_us)]
    with translated():
        connection = await asyncpg.connect(url, timeout=10, command_timeout=TIMEOUT_S)
        try:

            async def fetched() -> list[Event]:
                return [dict(one) for one in await connection.fetch(query, of, *span, limit)]

            return await _timed(fetched, times)
        finally:
            await connection.close()


def _there(event: Event) -> Event:
    return {name: value for name, value in event.items() if value is not None}


def plan_content(settings: Settings, content_id: UUID, day: int, buckets: int, now_us: int) -> None:
    """Of a content that is going to be hot on a day (since 1970). Raises PlanRefused, and as `read`."""

    async def planning() -> None:
        async with connected(settings.scylla) as driver:
            await plan(driver, content_id, day, buckets, now_us)

    asyncio.run(planning())
