"""Server-sent events over a real socket, from a source that is made up: what is sent, how much at most, and its end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from live import stream as live_stream
from live.api import LiveApi
from live.source import Sample, Unavailable
from live.stream import KEEP_ALIVE, event, told
from tests.in_loop import in_loop
from tests.signs import NOW, content_of

AWAY = Unavailable("counters_unavailable", "Redis does not answer.")
LOST = Unavailable("rebuild_needed", "The counters were lost.")
PERIOD_S = 0.02


class Source:
    """Samples one after the other, or whatever it is told to say."""

    def __init__(self) -> None:
        self.asked = 0
        self.away: Unavailable | None = None
        self.broken = False
        self.contents = 1

    async def sample(self) -> Sample:
        self.asked += 1
        if self.broken:
            raise RuntimeError("a bug")
        if self.away is not None:
            raise self.away
        return Sample(NOW + self.asked * 1_000, {str(content_of(n)): self.asked for n in range(self.contents)})

    async def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "PERIOD_S", PERIOD_S)
    monkeypatch.setattr(live_stream, "SILENCE_MAX_S", 0.2)


@asynccontextmanager
async def served(source: Any) -> AsyncIterator[tuple[str, web.AppRunner]]:
    """The routes at an address, as gateway/admin.py composes them."""
    application, live = web.Application(), LiveApi(source)
    application.add_routes(live.routes())
    application.on_shutdown.append(live.end_streams)
    application.on_cleanup.append(live.close)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", runner
    finally:
        await runner.cleanup()


async def blocks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """What stands between blank lines."""
    while block := await answer.content.readuntil(b"\n\n"):
        yield block


def test_an_event_is_what_the_route_says_with_its_time_as_id() -> None:
    sample = Sample(NOW, {str(content_of(n)): n for n in range(1, 9)})
    assert event(sample, 3) == b"id: %d\nevent: live\ndata: %b\n\n" % (NOW // 1_000, sample.body(3))
    assert event(LOST, 3).startswith(b'event: unavailable\ndata: {"error":"rebuild_needed"')


def test_a_reason_is_told_once_and_again_only_when_it_changes() -> None:
    sample = Sample(NOW, {})
    assert told(AWAY, None, 1) == told(AWAY, sample, 1) == told(AWAY, LOST, 1) == event(AWAY, 1)
    assert told(AWAY, AWAY, 1) == KEEP_ALIVE
    assert told(sample, AWAY, 1) == told(sample, sample, 1) == event(sample, 1)


@in_loop
async def test_all_subscribers_get_the_samples_of_one_reader() -> None:
    source = Source()

    async def listen(session: aiohttp.ClientSession, url: str) -> list[bytes]:
        async with session.get(url + "/v1/live/stream?top=1") as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
            found = blocks(answer)
            assert await anext(found) == b"retry: 1000\n\n"
            return [await anext(found) for _ in range(10)]

    async with served(source) as (url, _), aiohttp.ClientSession() as session:
        heard = await asyncio.gather(*(listen(session, url) for _ in range(20)))
        ids = {int(block.partition(b"\n")[0][4:]) for one in heard for block in one}
        assert len(ids) <= source.asked <= 30, "one read a period, not one for each"
        for one in heard:
            assert [block[:4] for block in one] == [b"id: "] * 10
            assert one == sorted(one), "none comes twice, none comes late"
        await asyncio.sleep(5 * PERIOD_S)
        asked = source.asked
        await asyncio.sleep(10 * PERIOD_S)
        assert source.asked == asked, "nobody listens, so nobody asks"


@in_loop
async def test_an_outage_is_told_and_kept_alive_until_it_ends() -> None:
    source = Source()
    async with (
        served(source) as (url, _),
        aiohttp.ClientSession() as session,
        session.get(url + "/v1/live/stream") as answer,
    ):
        found = blocks(answer)
        await anext(found)
        assert b"event: live" in await anext(found)
        source.away = AWAY
        while b"event: live" in (block := await anext(found)):
            pass
        assert block == event(AWAY, 1)
        assert [await anext(found) for _ in range(3)] == [KEEP_ALIVE] * 3
        source.away = LOST
        while (block := await anext(found)) == KEEP_ALIVE:
            pass
        assert block == event(LOST, 1)
        source.away = None
        while (block := await anext(found)) == KEEP_ALIVE:
            pass
        assert b"event: live" in block


@in_loop
async def test_nobody_is_taken_beyond_the_bound_and_a_place_that_is_left_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_stream, "SUBSCRIBERS_MAX", 3)
    async with served(Source()) as (url, _), aiohttp.ClientSession() as session:
        held = [await session.get(url + "/v1/live/stream") for _ in range(3)]
        async with session.get(url + "/v1/live/stream") as answer:
            assert answer.status == 503 and 1 <= int(answer.headers["Retry-After"]) <= 30
            assert (await answer.json())["error"] == "too_many_subscribers"
        async with session.get(url + "/v1/live?top=1") as answer:
            assert answer.status == 200
        held.pop().close()
        for _ in range(100):
            await asyncio.sleep(PERIOD_S)
            async with session.get(url + "/v1/live/stream") as answer:
                if answer.status == 200:
                    break
        assert answer.status == 200
        for one in held:
            one.close()


@in_loop
async def test_a_reader_that_reads_nothing_is_let_go_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "STALLED_S", 0.5)
    monkeypatch.setattr(live_stream, "PERIOD_S", 0.0005)
    source = Source()
    source.contents = 100
    async with served(source) as (url, runner), aiohttp.ClientSession() as session:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.setblocking(False)
        host, port = url.removeprefix("http://").split(":")
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, (host, int(port)))
        await loop.sock_sendall(slow, b"GET /v1/live/stream?top=100 HTTP/1.1\r\nHost: x\r\n\r\n")
        while not runner.server or not runner.server.connections:
            await asyncio.sleep(0.01)
        (connection,) = runner.server.connections
        transport, most_bytes = connection.transport, 0
        while connection in runner.server.connections:
            most_bytes = max(most_bytes, transport.get_write_buffer_size() if transport else 0)
            await asyncio.sleep(0.001)
        assert 0 < most_bytes < 200_000
        slow.close()
        async with session.get(url + "/v1/live/stream?top=1") as answer:
            found = blocks(answer)
            await anext(found)
            assert b"event: live" in await anext(found)


@in_loop
async def test_when_the_gateway_ends_every_stream_ends_as_a_whole_answer() -> None:
    async with served(Source()) as (url, runner), aiohttp.ClientSession() as session:
        answers = [await session.get(url + "/v1/live/stream") for _ in range(5)]
        ending = asyncio.create_task(runner.cleanup())
        bodies = await asyncio.gather(*(answer.read() for answer in answers))  # raises when one is cut off
        assert all(body.endswith(b"\n\n") for body in bodies)
        async with asyncio.timeout(0.4):
            await ending


@in_loop
async def test_a_sampling_that_fails_ends_its_streams_and_the_next_one_begins_anew() -> None:
    source = Source()
    async with served(source) as (url, _), aiohttp.ClientSession() as session:
        async with session.get(url + "/v1/live/stream") as answer:
            await answer.content.readuntil(b"event: live")
            source.broken = True
            async with asyncio.timeout(5):
                await answer.read()
        source.broken = False
        async with session.get(url + "/v1/live/stream") as answer:
            await answer.content.readuntil(b"event: live")


@in_loop
async def test_while_a_sample_is_late_comments_keep_the_connection() -> None:
    class Late(Source):
        async def sample(self) -> Sample:
            await asyncio.sleep(0.7)
            return await super().sample()

    async with (
        served(Late()) as (url, _),
        aiohttp.ClientSession() as session,
        session.get(url + "/v1/live/stream") as answer,
    ):
        found = blocks(answer)
        assert [await anext(found) for _ in range(3)] == [b"retry: 1000\n\n", KEEP_ALIVE, KEEP_ALIVE]
        while (block := await anext(found)) == KEEP_ALIVE:
            pass
        assert orjson.loads(block.partition(b"data: ")[2])["viewers"] == 1


@pytest.mark.parametrize("path", ["/v1/live?top=0", "/v1/live/stream?top=101", "/v1/live?top=1&top=2"])
@in_loop
async def test_a_top_that_is_none_is_refused(path: str) -> None:
    async with served(Source()) as (url, _), aiohttp.ClientSession() as session, session.get(url + path) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "out_of_range")
