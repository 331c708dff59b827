"""A sink `redis` on a real Valkey, driven write by write, and what Redis then holds."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from config.settings import RedisSettings
from ingest.spool.disk import FileDisk
from live import viewers, views
from storage.redis import key
from storage.redis.connection import connect
from storage.redis.counters import Counters
from storage.sink import Slice
from tests.signs import Sign, StoppedClock, a_slice, content_of, frames

LEVELS = 25


class Bench:
    """A sink on an empty Valkey, with a clock that stands at NOW."""

    def __init__(self, url: str, data_dir: Path, settings: RedisSettings | None = None) -> None:
        self.url = url
        self.settings = settings or RedisSettings()
        self.chance: Callable[[int], bytes] = os.urandom
        self.data_dir = data_dir
        self.clock = StoppedClock()
        self.loop = asyncio.Runner()
        self.client = connect(url)
        self.sink = self.another()
        self.position = 0

    def another(self) -> Counters:
        return Counters(self.url, self.settings, self.data_dir, FileDisk(), self.clock, chance=self._random)

    def _random(self, size: int) -> bytes:
        return self.chance(size)

    def open(self) -> dict[str, int]:
        return self.loop.run(self.sink.open())

    def write(self, *signs: Sign, size: int = 20) -> None:
        """Deliver the signs in one write."""
        self.deliver(a_slice(frames(signs, self.position, size), self.position))

    def deliver(self, part: Slice) -> None:
        """Write what begins at the position."""
        self.loop.run(self.sink.write([part]))
        self.position = part.state.sequence

    def views(self) -> dict[Any, Any]:
        return self.loop.run(views.all_by_hour(self.client, self.clock.wall_us))

    def viewers(self) -> dict[Any, Any]:
        """Content → sessions with a lease now, read from the sorted sets themselves."""
        return self.loop.run(self._viewers())

    def count(self, content: int = 1) -> int:
        """Viewers of a content now, as everybody is told."""
        return self.loop.run(viewers.now(self.client, content_of(content), self.clock.wall_us)).viewers

    def kept(self, content: int = 1) -> dict[int, set[bytes]]:
        """Level → the sessions of a content in its set, those whose lease is over included; none without."""
        found = {
            level: self.loop.run(self.client.zrange(key.viewers(content_of(content), level), 0, -1))
            for level in range(LEVELS)
        }
        return {level: set(sessions) for level, sessions in found.items() if sessions}

    async def _viewers(self) -> dict[Any, Any]:
        result = {}
        for content, many in (await viewers.everywhere(self.client, self.clock.wall_us)).viewers.items():
            found = await self.client.zrangebyscore(
                key.viewers(UUID(content)), f"({self.clock.wall_us / 1e6:.6f}", "+inf"
            )
            assert len(found) == many
            result[UUID(content)] = {UUID(bytes=session) for session in found}
        return result

    def holds(self) -> dict[Any, Any]:
        """Every key and its value."""
        return self.loop.run(self._holds())

    async def _holds(self) -> dict[Any, Any]:
        keys = await self.client.keys("*")
        return {name: await self.client.dump(name) for name in keys}

    def forget(self) -> None:
        """As if nothing had ever been counted."""
        self.loop.run(self.client.flushall())
        self.position = 0
        self.open()

    def __enter__(self) -> "Bench":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.run(self.sink.close())
        self.loop.run(self.client.aclose())
        self.loop.close()
