"""Views: a (session, content) each, counted in the hour of its earliest play (DESIGN §4)."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from storage.redis import key
from storage.redis.connection import translated

HOURS_MAX = 100
"""Asked for in one round trip: an hour's hash may hold every content of the catalogue."""


class Counted(NamedTuple):
    """What the reader counted since the counters were initialised."""

    rows: int = 0
    signals: int = 0
    tests: int = 0
    """Of rows and signals: test traffic, in no number."""
    views: int = 0
    """In hours that were kept at the time they were counted."""


async def by_hour(client: Any, content_id: UUID, hours: Iterable[int]) -> dict[int, int]:
    """Views of one content: hour (since 1970 UTC) → views, hours without any left out, all of one moment."""
    hours = list(hours)
    with translated():
        async with client.pipeline(transaction=True) as pipeline:
            for hour in hours:
                pipeline.hget(key.views(hour), str(content_id))
            found = await pipeline.execute()
    return {hour: int(views) for hour, views in zip(hours, found, strict=True) if views is not None}


async def total(client: Any, content_id: UUID, now_us: int) -> int:
    """Views of one content in all hours that are kept."""
    return sum((await by_hour(client, content_id, key.kept_hours(now_us))).values())


async def all_by_hour(client: Any, now_us: int) -> dict[tuple[UUID, int], int]:
    """Every view that is kept: (content, hour) → views, all of them from before a rebuild or all from behind it."""
    while True:
        with translated():
            before = await client.get(key.REGISTRATION)
        result = await _all_by_hour(client, now_us)
        with translated():
            if await client.get(key.REGISTRATION) == before:
                return result


async def _all_by_hour(client: Any, now_us: int) -> dict[tuple[UUID, int], int]:
    hours, result = key.kept_hours(now_us), {}
    for first in range(0, len(hours), HOURS_MAX):
        asked = hours[first : first + HOURS_MAX]
        with translated():
            async with client.pipeline(transaction=False) as pipeline:
                for hour in asked:
                    pipeline.hgetall(key.views(hour))
                found = await pipeline.execute()
        for hour, contents in zip(asked, found, strict=True):
            for content, views in contents.items():
                result[UUID(content.decode("ascii")), hour] = int(views)
    return result


async def of_hours(client: Any, hours: Sequence[int]) -> tuple[bytes | None, dict[int, dict[str, int]]]:
    """The registration (None: there are no counts) and hour → content (uuid text) → views, all of one moment."""
    with translated():
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.get(key.REGISTRATION)
            for hour in hours:
                pipeline.hgetall(key.views(hour))
            registration, *found = await pipeline.execute()
    read = [{content.decode("ascii"): int(views) for content, views in one.items()} for one in found]
    return registration, dict(zip(hours, read, strict=True))


async def counted(client: Any) -> Counted:
    """Everything since the counters were initialised."""
    with translated():
        found = await client.hgetall(key.TOTALS)
    return Counted(**{name.decode("ascii"): int(value) for name, value in found.items()})
