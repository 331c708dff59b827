"""The parts of the way of an event that are counted, each made ready for some requests; what it then does is counted.

    decode    a request's body → frame bodies
    append    frame bodies → frames on disk, by the appender; real files, the commit thread's work on our own
    request   bytes of a request → bytes of its answer: the lean connection, decode and append in it
    drain     frames on disk → the messages of COPY, with positions and books: feed and PostgreSQL writer
    count     frames → the arguments of the script: the Redis reader
    stage     frames of CMCD → frames of events, with the streams' states: the session stage; SQLite in it

Left out: what the kernel, the drivers' protocols and the garbage collector take.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from config.settings import DeadLetterSettings, DoorSettings, PostgresSettings, RedisSettings, Settings
from ingest.batch import KIND_PLAYBACK, FrameBody
from ingest.decode import decode
from ingest.entrance import Entrance
from ingest.general import General
from ingest.intake import Intake
from ingest.spool.appender import Appender, SpoolUnavailable
from ingest.spool.disk import FileDisk
from ingest.spool.incarnation import Group, Incarnation
from storage.feed import Feed
from storage.postgres import writer
from storage.postgres.writer import PostgresSink
from storage.redis import counters
from storage.redis.counters import Counters
from storage.sink import Slice
from storage.stage.staging import Staging
from storage.stage.store import Store
from storage.stage.window import WINDOW_US
from tests.instructions.swallowing import (
    SameThread,
    SwallowingPostgres,
    SwallowingRedis,
    SwallowingTransport,
    at_once,
)
from tests.instructions.traffic import NOW_US, StoppedClock, request
from tests.instructions.viewers import seconds_of

COMPANY: Final = 10
"""Requests that share an fsync."""
BATCH_BYTES: Final = 256 * 1024
"""Of frames a transaction and a script call."""
SECOND_BYTES: Final = 1024 * 1024
"""The stage's bite: more than a second of the viewers brings. It has a turn a second here."""
WINDOW_S: Final = WINDOW_US // 1_000_000

Work = Callable[[], Awaitable[None]]
Part = Callable[[Path, list[bytes]], AbstractAsyncContextManager[Work]]
"""An empty directory, and the bodies of requests."""


def framed(bodies: list[bytes]) -> list[list[FrameBody]]:
    """Each request's frame bodies."""
    return [decode(body, "json", NOW_US).bodies for body in bodies]


@asynccontextmanager
async def decoding(_: Path, bodies: list[bytes]) -> AsyncIterator[Work]:
    async def work() -> None:
        for body in bodies:
            decode(body, "json", NOW_US)

    yield work


@asynccontextmanager
async def an_appender(room: Path) -> AsyncIterator[Appender]:
    appender = Appender(
        room / "spool", FileDisk(), StoppedClock(), Settings().spool, lambda count: bytes(range(count)),
        thread=SameThread(),
    )  # fmt: skip
    appender.start()
    running = asyncio.create_task(appender.run())
    yield appender
    appender.close()
    await running


class Company:
    """Requests under way; the last one that is answered wakes who waits for all."""

    def __init__(self) -> None:
        self._missing = 0
        self._all: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expect(self, count: int) -> asyncio.Future[None]:
        """Done once so many were answered."""
        self._missing = count
        self._all = asyncio.get_running_loop().create_future()
        return self._all

    def told(self, failed: SpoolUnavailable | None) -> None:
        assert failed is None
        self._one_less()

    def answered(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200 "), data
        self._one_less()

    def _one_less(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._all.set_result(None)


@asynccontextmanager
async def appending(room: Path, bodies: list[bytes]) -> AsyncIterator[Work]:
    requests, company = framed(bodies), Company()
    async with an_appender(room) as appender:

        async def work() -> None:
            for at in range(0, len(requests), COMPANY):
                group = requests[at : at + COMPANY]
                all_told = company.expect(len(group))
                for one in group:
                    appender.append(one, NOW_US, 0, {}, company.told)
                await all_told

        yield work


@asynccontextmanager
async def requesting(room: Path, bodies: list[bytes]) -> AsyncIterator[Work]:
    requests, company, settings = [request(body) for body in bodies], Company(), Settings()
    async with an_appender(room) as appender:
        intake = Intake(settings, appender, StoppedClock(), lambda: 0.5)
        entrance = Entrance(intake, settings.http, General(intake, settings.http).protocol_factory())
        connections: list[Any] = [entrance() for _ in range(COMPANY)]
        for connection in connections:
            connection.connection_made(SwallowingTransport(company.answered))

        async def work() -> None:
            for at in range(0, len(requests), COMPANY):
                group = requests[at : at + COMPANY]
                all_answered = company.expect(len(group))
                for connection, data in zip(connections, group, strict=False):
                    connection.data_received(data)
                await all_answered

        yield work


def a_feed(room: Path, bodies: list[bytes]) -> Feed:
    """Of a spool that holds these requests."""
    incarnation = Incarnation.begin(room / "spool", FileDisk(), StoppedClock(), bytes(range(16)))
    group = Group([incarnation.encode(body, NOW_US) for one in framed(bodies) for body in one])
    group.after = incarnation.state()
    incarnation.commit(group)
    incarnation.let_go()
    return Feed(room, FileDisk())


def everything(feed: Feed) -> list[list[Slice]]:
    """All batches; the feed then begins again."""
    feed.seat({})
    feed.refresh()
    read = []
    while slices := feed.read(BATCH_BYTES):
        feed.delivered(slices)
        read.append(slices)
    return read


def rows(slices: list[Slice]) -> int:
    """So many go into the table: signals do not."""
    return sum(frame.count for one in slices for frame in one.frames if frame.kind == KIND_PLAYBACK)


@asynccontextmanager
async def draining(room: Path, bodies: list[bytes]) -> AsyncIterator[Work]:
    feed = a_feed(room, bodies)
    connection = SwallowingPostgres([rows(slices) for slices in everything(feed)])

    async def connected(_: str) -> SwallowingPostgres:
        return connection

    settings = PostgresSettings(), DoorSettings(), DeadLetterSettings()
    sink = PostgresSink("", room, *settings, StoppedClock(), FileDisk())
    with patch.object(writer, "connect", connected):
        feed.seat(await sink.open())
    feed.refresh()

    async def work() -> None:
        while slices := feed.read(BATCH_BYTES):
            await sink.write(slices)
            feed.delivered(slices)

    yield work
    await sink.close()
    feed.close()


@asynccontextmanager
async def counting(room: Path, bodies: list[bytes]) -> AsyncIterator[Work]:
    feed = a_feed(room, bodies)
    batches = everything(feed)
    sink = Counters("", RedisSettings(), room, FileDisk(), StoppedClock())
    with patch.object(counters, "connect", lambda _: SwallowingRedis()):
        await sink.open()

    async def work() -> None:
        for slices in batches:
            await sink.write(slices)

    yield work
    await sink.close()
    feed.close()


@asynccontextmanager
async def staging(room: Path, bodies: list[bytes]) -> AsyncIterator[Work]:
    clock, seconds = StoppedClock(), seconds_of(len(bodies), len(bodies[0].split(b'"event_id"')) - 1)
    incarnation = Incarnation.begin(room / "spool", FileDisk(), clock, bytes(range(16)))
    groups = []
    for received in seconds:
        groups.append(Group([incarnation.encode(body, at_us) for body, at_us in received]))
        groups[-1].after = incarnation.state()
    store = Store(room, FileDisk(), clock, lambda count: bytes(range(1, 1 + count)))
    stage = Staging(store, room, DoorSettings().past_s, clock, FileDisk(), asyncio.Event())
    with patch.object(asyncio, "to_thread", at_once):
        stage._feed.seat(await store.open())

    async def work() -> None:
        with patch.object(asyncio, "to_thread", at_once):
            for number in range(len(groups) + WINDOW_S):
                if number < len(groups):
                    incarnation.commit(groups[number])
                    stage._feed.refresh()
                    stage._take(stage._feed.read(SECOND_BYTES))
                await stage._turn(NOW_US + (number - WINDOW_S + 1) * 1_000_000)

    yield work
    assert not stage._window.lines, "all of them were judged"
    incarnation.let_go()
    await store.close()


PARTS: Final[dict[str, Part]] = {
    "decode": decoding,
    "append": appending,
    "request": requesting,
    "drain": draining,
    "count": counting,
    "stage": staging,
}
