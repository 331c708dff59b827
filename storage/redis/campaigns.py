"""Campaigns' standings in Redis, for ad servers: `HGETALL {ingest}:ad:campaign:<id>` (storage/redis/key.py has keys).

Absolute values, each write a whole hash: one that is lost or comes twice harms nothing that the next does not mend.
"""

from collections.abc import Sequence
from typing import Any, Final

from storage.campaign import Standing
from storage.redis import key
from storage.redis.connection import translated

KEPT_S: Final = 86_400
"""Behind its last write, which every campaign has each minute: one that was deleted goes after a day."""
WHOLE_S: Final = 60
"""All hashes are written again so long after they last were. The note of it is a key like theirs, so a Redis that was
emptied, or put back without it, has them again with the next turn."""


async def write(client: Any, standings: Sequence[Standing]) -> None:
    """Put them in place of what is there, together. Raises SinkUnavailable, SinkRefused."""
    with translated():
        async with client.pipeline(transaction=True) as pipeline:
            for standing in standings:
                name = key.campaign(standing.id)
                pipeline.hset(name, mapping=fields(standing))
                pipeline.expire(name, KEPT_S)
            await pipeline.execute()


def fields(standing: Standing) -> dict[str, str | int]:
    """The hash: every field always, so that none of before stays. "" is a budget without a bound. Pure."""
    told = standing._asdict() | {"as_of": standing.as_of.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    del told["id"]
    return {name: "" if value is None else value for name, value in told.items()}


async def is_whole(client: Any, day: str) -> bool:
    """Whether all hashes were written within the last minute and on this day, whose spending begins at 0. Raises as
    `write`."""
    with translated():
        return bool(await client.get(key.CAMPAIGNS) == day.encode())


async def note_whole(client: Any, day: str) -> None:
    """All are written. Raises as `write`."""
    with translated():
        await client.set(key.CAMPAIGNS, day, ex=WHOLE_S)
