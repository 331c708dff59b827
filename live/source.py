"""Where live numbers come from: the Redis of the moment, asked within a deadline, and only while its counts are right.

Numbers that nobody keeps up would fall to nothing as leases run out. So the reader that counts is asked first: where it
is lost, or so far behind that a viewer's next heartbeat would come too late, the answer is a reason, and no number.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

import orjson

from config.settings import RedisSettings
from ingest.clock import Clock
from live import streams, viewers
from live.shared import Shared
from storage.reader_status import ReaderStatus
from storage.redis.connection import connect
from storage.sink import StoreError
from storage.stage.identity import NO_CONTENT

DEADLINE_S: Final = 1.0
"""For a read, waiting for its turn included; a script of the counters takes 20 ms."""
READS_MAX: Final = 8
"""At once, each on a connection of its own."""
TOP_MAX: Final = 100
UNTOLD: Final = str(UUID(bytes=NO_CONTENT))
"""Who watches what CMCD does not name: viewers, of no content."""
SHARED_S: Final = 0.25
"""A sample answers everybody who asks within this time …"""
SHARED_FACTOR: Final = 10
"""… or within so many times what it took: however many ask, Redis gives them a tenth of its time at most."""

T = TypeVar("T")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Unavailable(Exception):
    """There is no right number to give now."""

    def __init__(self, code: str, message: str) -> None:
        """`code`: as live.answers.WAIT_S has them."""
        super().__init__(message)
        self.code = code
        self.message = message


class Sample:
    """Who watched what at one moment. Pure."""

    kind = b"live"

    def __init__(self, as_of_us: int, counts: dict[str, int]) -> None:
        """`counts`: content (uuid text) → viewers, all of them above 0."""
        self.as_of_us = as_of_us
        self.viewers = sum(counts.values())
        contents = [one for one in counts.items() if one[0] != UNTOLD]
        self.best = heapq.nsmallest(TOP_MAX, contents, key=lambda one: (-one[1], one[0]))
        self.names: dict[str, str] = {}
        """Of the best ones, as far as they are known."""
        self._bodies: dict[int, bytes] = {}

    def body(self, top: int) -> bytes:
        """JSON with the `top` contents (1 to TOP_MAX) that most watch; made once for all who ask."""
        if top not in self._bodies:
            best = [row_of(content, many, self.names.get(content)) for content, many in self.best[:top]]
            told = {"as_of": time_text(self.as_of_us), "viewers": self.viewers, "contents": best}
            self._bodies[top] = orjson.dumps(told)
        return self._bodies[top]


def row_of(content: str, viewers: int, name: str | None) -> dict[str, Any]:
    """What is told of a content; no name where none is known."""
    return {"content_id": content} | ({"name": name} if name else {}) | {"viewers": viewers}


async def nameless(_: Sequence[str]) -> dict[str, str]:
    """For who needs no names."""
    return {}


class Viewers(NamedTuple):
    """Of one content."""

    as_of_us: int
    viewers: int


class Watching(NamedTuple):
    """What some profiles watch."""

    as_of_us: int
    streams: list[streams.Stream]


def doubt(status: ReaderStatus | None, now_us: int, behind_max_s: float) -> Unavailable | None:
    """Why what Redis holds is not what is; None when it is. `status` is that of the reader that counts. Pure."""
    if status is None:
        return Unavailable("counters_unavailable", "The reader that counts has not begun.")
    if status.state == "rebuild_needed":
        return Unavailable("rebuild_needed", "The counters were lost; `counters rebuild` brings them back.")
    if status.state != "running":
        return Unavailable("counters_unavailable", f"The reader that counts is {status.state}; /statusz says why.")
    behind_s = status.behind_s(now_us)
    if behind_s > behind_max_s:
        return Unavailable("counters_unavailable", f"The reader that counts is {behind_s:.0f} s behind.")
    return None


def behind_max_s(settings: RedisSettings, shortest_s: int | None = None) -> float:
    """How far behind the counts may be: a heartbeat that comes in time still finds its session's lease. `shortest_s`:
    of the intervals that write keys name.
    """
    return (settings.lease_factor - 1) * min(settings.heartbeat_s, shortest_s or settings.heartbeat_s)


def time_text(us: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return (EPOCH + timedelta(microseconds=us)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Source:
    """Reads, each within DEADLINE_S, and the sample that all who ask for the whole share. Writes nothing."""

    def __init__(
        self,
        url: Callable[[], str],
        status: Callable[[], ReaderStatus | None],
        settings: Callable[[], RedisSettings],
        clock: Clock,
        shortest_heartbeat_s: Callable[[], int | None] = lambda: None,
        named: Callable[[Sequence[str]], Awaitable[dict[str, str]]] = nameless,
    ) -> None:
        """`url`: that of Redis now, empty while it has none. `status`: of the reader that counts.
        `shortest_heartbeat_s`: of write keys in force. `named`: content → what it is called, never late.
        """
        self._url = url
        self._status = status
        self._settings = settings
        self._shortest_heartbeat_s = shortest_heartbeat_s
        self._clock = clock
        self._named = named
        self._client: Any | None = None
        self._client_url = ""
        self._turns = asyncio.Semaphore(READS_MAX)
        self._shared = Shared(self._sample, clock)
        self._registration: bytes | None = None
        self._registered_us = 0
        """When we met another one than before."""

    async def viewers(self, content_id: UUID) -> Viewers:
        """Of one content, now. Raises Unavailable."""

        async def ask(client: Any, now_us: int) -> tuple[Viewers, bytes]:
            found = await viewers.now(client, content_id, now_us)
            return Viewers(now_us, found.viewers), found.registration

        return await self.read(ask)

    async def streams(self, profiles: Sequence[UUID]) -> Watching:
        """What these profiles watch now. Raises Unavailable."""

        async def ask(client: Any, now_us: int) -> tuple[Watching, bytes]:
            found = await streams.of(client, profiles, now_us, self._settings().leases_us)
            return Watching(now_us, found.streams), found.registration

        return await self.read(ask)

    async def sample(self) -> Sample:
        """Of everything: the shared one, or a new one, which all who wait for one get. Raises Unavailable.

        A shared one is as old as reading is slow; so whether counts are right is asked for each who asks.
        """
        if self._shared.last is not None:
            self._doubted()
        return await self._shared.get()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._shared.close()
        if self._client is not None:
            await self._client.aclose()

    async def _sample(self) -> tuple[Sample, float]:
        async def ask(client: Any, now_us: int) -> tuple[Sample, bytes]:
            found = await viewers.everywhere(client, now_us)
            return Sample(now_us, found.viewers), found.registration

        begun_s = self._clock.monotonic_s()
        sample = await self.read(ask)
        took_s = self._clock.monotonic_s() - begun_s
        sample.names = await self._named([content for content, _ in sample.best])
        return sample, begun_s + max(SHARED_S, SHARED_FACTOR * took_s)

    async def read(self, ask: Callable[[Any, int], Awaitable[tuple[T, bytes]]]) -> T:
        """What `ask(client, now_us)` finds, which it says beside the registration it was found under.

        Raises Unavailable.
        """
        return (await self.read_under(ask))[0]

    async def read_under(self, ask: Callable[[Any, int], Awaitable[tuple[T, bytes]]]) -> tuple[T, bytes]:
        """The same, and the registration: another one than before belongs to counts that were begun anew."""
        try:
            async with asyncio.timeout(DEADLINE_S), self._turns:
                status, now_us = self._doubted()
                found, registration = await ask(await self._connected(), now_us)
                self._check(registration, status, now_us)
                return found, registration
        except TimeoutError as error:
            raise Unavailable("counters_unavailable", f"Redis did not answer within {DEADLINE_S:g} s.") from error
        except viewers.NotCounted as error:
            raise Unavailable("counters_unavailable", str(error)) from error
        except StoreError as error:
            raise Unavailable("counters_unavailable", f"Redis does not answer: {error.__cause__}") from error

    def _doubted(self) -> tuple[ReaderStatus | None, int]:
        """The status by which nothing is wrong, and now. Raises Unavailable."""
        status, now_us = self._status(), self._clock.now_us()
        if (why := doubt(status, now_us, self._behind_max_s())) is not None:
            raise why
        return status, now_us

    def _behind_max_s(self) -> float:
        return behind_max_s(self._settings(), self._shortest_heartbeat_s())

    def _check(self, registration: bytes, status: ReaderStatus | None, now_us: int) -> None:
        """Counts begun anew may be far behind, which the reader's status says with its next words only."""
        if self._registration is not None and registration != self._registration:
            self._registered_us = now_us
        self._registration = registration
        if status is None or status.at_us <= self._registered_us:
            raise Unavailable("counters_unavailable", "The counters were begun anew a moment ago.")

    async def _connected(self) -> Any:
        url = self._url()
        if not url:
            raise Unavailable("counters_unavailable", "Redis has not started yet.")
        if self._client is None or url != self._client_url:
            before, self._client, self._client_url = self._client, connect(url, DEADLINE_S), url
            if before is not None:
                await before.aclose()
        return self._client
