"""An open loop counts the wait for a server that stands still; a closed one does not ask meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest

from loadtests.bench.client import run_load
from loadtests.bench.open_loop import run_open_loop

pytestmark = pytest.mark.alone

REQUEST: Final = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
ANSWER: Final = b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"accepted":1}'
STILL_S: Final = 0.5


@asynccontextmanager
async def server(before_answer: Callable[[], Awaitable[None]]) -> AsyncIterator[int]:
    """Answers every request after `before_answer`; yields its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readexactly(len(REQUEST))
                await before_answer()
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


def test_every_request_that_was_due_while_the_server_stood_still_is_slow() -> None:
    async def play() -> None:
        awake = asyncio.Event()
        awake.set()

        async def stand_still() -> None:
            await asyncio.sleep(0.5)
            awake.clear()
            await asyncio.sleep(STILL_S)
            awake.set()

        async def wait() -> None:
            await awake.wait()

        async with server(wait) as port:
            standing = asyncio.create_task(stand_still())
            load = await run_open_loop(
                "127.0.0.1", port, lambda: REQUEST, events_count=3, connections=8, seconds=2, posts_per_s=200
            )
            await standing
        assert load.posts == 400
        assert load.acknowledged == 1_200
        assert not load.lost
        slow = sum(one > STILL_S / 10 for one in load.latencies_s)
        assert 70 <= slow <= 140, "nine tenths of the hundred that were due meanwhile"
        assert load.latency_ms(0.99) > STILL_S * 1000 * 0.8

    asyncio.run(play())


def test_a_closed_loop_sends_the_next_request_when_the_last_is_answered() -> None:
    async def play() -> None:
        async def work() -> None:
            await asyncio.sleep(0.02)

        async with server(work) as port:
            load = await run_load("127.0.0.1", port, lambda: REQUEST, events_count=1, connections=2, seconds=1)
        assert 20 <= load.posts <= 102

    asyncio.run(play())


def test_a_server_that_is_gone_loses_what_was_under_way_and_what_was_due() -> None:
    async def play() -> None:
        gone = asyncio.Event()

        async def go() -> None:
            await gone.wait()
            raise ConnectionResetError

        async with server(go) as port, asyncio.timeout(8):
            asyncio.get_running_loop().call_later(0.3, gone.set)
            load = await run_open_loop(
                "127.0.0.1", port, lambda: REQUEST, events_count=1, connections=2, seconds=1, posts_per_s=50
            )
        assert load.posts == 0
        assert load.lost == 50

    asyncio.run(play())
