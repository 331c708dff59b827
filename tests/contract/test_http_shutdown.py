"""The end of a gateway: idle connections are closed, requests under way are answered, and nobody waits for ever."""

import asyncio
import time
from typing import Final

import pytest

from tests.contract.http_client import PATIENCE_S, until
from tests.contract.http_door import Door, HeldDisk, over, over_both
from tests.contract.http_request import a_request, an_event_text, chunked

EVENT: Final = an_event_text()
REQUEST: Final = a_request(EVENT)
IN_CHUNKS: Final = a_request(content_length=None, transfer_encoding="chunked") + chunked(EVENT)
PREFLIGHT: Final = a_request(method="OPTIONS")
SHORT_S: Final = 0.3


def draining(door: Door, timeout_s: float = PATIENCE_S) -> asyncio.Task[None]:
    """As gateway.collecting does it."""
    return asyncio.ensure_future(door.entrance.drain(0, timeout_s))


async def seconds(drain: asyncio.Task[None]) -> float:
    """How long it still takes."""
    begun_s = time.monotonic()
    await drain
    return time.monotonic() - begun_s


def test_idle_connections_are_closed_at_once(tmp_path):
    async def scenario(door):
        unused, used, used_by_aiohttp = [await door.client() for _ in range(3)]
        await used.ask(REQUEST)
        await used_by_aiohttp.ask(IN_CHUNKS)
        assert await seconds(draining(door)) < PATIENCE_S / 2
        clients = (unused, used, used_by_aiohttp)
        return [(await client.until(closed=True)).statuses for client in clients]

    assert over_both(tmp_path, scenario) == [[0], [200, 0], [200, 0]]


@pytest.mark.parametrize("request_bytes", [REQUEST, IN_CHUNKS], ids=["plain", "chunks"])
def test_a_request_on_its_way_to_the_disk_is_answered_first(tmp_path, request_bytes):
    """What was sent behind it is not begun."""

    async def scenario(door):
        client, behind = await door.client(), await door.client()
        door.disk.going.clear()
        await client.send(request_bytes)
        await behind.send(request_bytes + REQUEST)
        await until(lambda: door.intake.admission.inflight_bytes > 0)
        drain = draining(door)
        await asyncio.sleep(0.05)
        assert (client.heard().statuses, drain.done()) == ([], False)
        door.disk.going.set()
        assert await seconds(drain) < PATIENCE_S / 2
        return await client.until(closed=True), await behind.until(closed=True)

    client, behind = over_both(tmp_path, scenario, on=HeldDisk)
    assert client.statuses == behind.statuses == [200, 0]
    assert client.answers[0].header("connection") == "close"


@pytest.mark.parametrize("request_bytes", [REQUEST, IN_CHUNKS], ids=["plain", "chunks"])
def test_a_body_under_way_may_come_to_its_end(tmp_path, request_bytes):
    async def scenario(door):
        client = await door.client()
        await client.ask(request_bytes[:-30])
        drain = draining(door)
        await asyncio.sleep(0.05)
        await client.send(request_bytes[-30:-9])
        await asyncio.sleep(0.05)
        assert (client.heard().statuses, drain.done()) == ([], False)
        await client.send(request_bytes[-9:])
        assert await seconds(drain) < PATIENCE_S / 2
        return await client.until(closed=True), len(door.stored())

    told, events = over_both(tmp_path, scenario)
    assert (told.statuses, events) == ([200, 0], 1)
    assert told.answers[0].header("connection") == "close"


@pytest.mark.parametrize("lean", [True, False], ids=["lean", "general"])
@pytest.mark.parametrize("request_bytes", [REQUEST, IN_CHUNKS], ids=["plain", "chunks"])
def test_a_body_that_does_not_come_is_waited_for_until_the_timeout(tmp_path, request_bytes, lean):
    """The one difference at the end: who reads a plain body says why it hangs up, aiohttp only hangs up."""

    async def scenario(door):
        client = await door.client()
        await client.ask(request_bytes[:-30])
        took_s = await seconds(draining(door, SHORT_S))
        assert SHORT_S <= took_s < PATIENCE_S / 2
        await until(lambda: door.intake.admission.inflight_bytes == 0)
        return (await client.until(closed=True)).statuses, door.stored()

    told = [503, 0] if lean and request_bytes == REQUEST else [0]
    assert over(tmp_path, scenario, lean=lean) == (told, [])


def test_a_client_that_does_not_read_is_waited_for_until_the_timeout(tmp_path):
    async def scenario(door):
        client = await door.client(narrow=True)
        for _ in range(1_000):
            client.offer(PREFLIGHT * 20)
            await asyncio.sleep(0)
        await door.settled()
        assert await seconds(draining(door, SHORT_S)) < PATIENCE_S / 2
        await until(lambda: door.connections == 0)

    over_both(tmp_path, scenario)


@pytest.mark.parametrize("lean", [True, False], ids=["lean", "general"])
def test_who_comes_while_the_gateway_drains_does_not_hold_it(tmp_path, lean):
    """A connection that was accepted in the last moment; what it asks is answered, or it is closed."""

    async def scenario(door):
        held = await door.client()
        await held.ask(REQUEST[:-30])
        drain = draining(door)
        await asyncio.sleep(0.05)
        late, silent = await door.client(), await door.client()
        await late.send(REQUEST)
        assert (await late.until(closed=True)).statuses in ([200, 0], [0])
        assert (await silent.until(closed=True)).statuses == [0]
        await held.send(REQUEST[-30:])
        assert await seconds(drain) < PATIENCE_S / 2
        return (await held.until(closed=True)).statuses

    assert over(tmp_path, scenario, lean=lean) == [200, 0]
