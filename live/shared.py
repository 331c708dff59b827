"""A number that many ask for and few make: the last one while it is good, else one that all who wait for it get."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ingest.clock import Clock

T = TypeVar("T")


class Shared(Generic[T]):
    """`make` says a new one, and until when (monotonic seconds) it is good; what it raises goes to all who wait."""

    def __init__(self, make: Callable[[], Awaitable[tuple[T, float]]], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._last: T | None = None
        self._until_s = 0.0
        self._making: asyncio.Task[T] | None = None

    @property
    def last(self) -> T | None:
        """The last one, while it is good."""
        return self._last if self._clock.monotonic_s() < self._until_s else None

    async def get(self) -> T:
        """The last one, or a new one. Raises what `make` raises."""
        if (last := self.last) is not None:
            return last
        if self._making is None:
            self._making = asyncio.create_task(self._made())
            self._making.add_done_callback(self._ended)
        return await asyncio.shield(self._making)

    async def close(self) -> None:
        """Let go of what is being made."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait([self._making])

    async def _made(self) -> T:
        self._last, self._until_s = await self._make()
        return self._last

    def _ended(self, making: asyncio.Task[T]) -> None:
        self._making = None
        if not making.cancelled():
            making.exception()  # whoever waited was told; nobody may have
