"""Live viewers: sessions whose lease has not run out (DESIGN §4).

Leases that have run out are left out here and removed by the counters: a reader whose clock is ahead must end nobody's.
"""

from typing import Any
from uuid import UUID

from storage.redis import key
from storage.redis.connection import translated


async def now(client: Any, content_id: UUID, now_us: int) -> int:
    """Viewers of one content at `now_us`."""
    with translated():
        return int(await client.zcount(key.viewers(content_id), f"({now_us / 1_000_000:.6f}", "+inf"))


async def everywhere(client: Any, now_us: int) -> dict[UUID, int]:
    """Every content with viewers at `now_us` → how many."""
    after = f"({now_us / 1_000_000:.6f}"
    with translated():
        contents = [UUID(text.decode("ascii")) for text in await client.zrangebyscore(key.LIVE, after, "+inf")]
        async with client.pipeline(transaction=False) as pipeline:
            for content in contents:
                pipeline.zcount(key.viewers(content), after, "+inf")
            found = await pipeline.execute() if contents else []
    return {content: int(viewers) for content, viewers in zip(contents, found, strict=True) if viewers}
