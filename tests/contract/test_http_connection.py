"""Clients that are slow, say no more, vanish or do not read; and how connections end when the gateway does."""

import asyncio
import time
from typing import Final

import pytest

from tests.contract.http_client import until
from tests.contract.http_door import Door, HeldDisk, over, over_both
from tests.contract.http_request import a_request, an_event_text, chunked

EVENT: Final = an_event_text()
REQUEST: Final = a_request(EVENT)
PREFLIGHT: Final = a_request(method="OPTIONS", content_type=None, content_length=None, origin="https://watch.example")
BODY_TO_COME: Final = {
    "plain": (REQUEST[:-10], REQUEST[-10:]),
    "chunks": (
        a_request(content_length=None, transfer_encoding="chunked") + chunked(EVENT)[:-20], chunked(EVENT)[-20:]
    ),
}  # fmt: skip
"""Name → (what has come, the rest)."""
LONG_S: Final = 60.0

both_ways = pytest.mark.parametrize("lean", [True, False], ids=["lean", "general"])
with_a_body_to_come = pytest.mark.parametrize("sent", BODY_TO_COME)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("ingest.entrance.SWEEP_INTERVAL_S", 0.02)
    monkeypatch.setattr("ingest.connection.LINGERING_S", 0.1)


# Slow ones


def test_a_head_that_trickles_past_its_time_is_408(tmp_path):
    """However steadily its bytes come."""

    async def scenario(door):
        client = await door.client()
        for at in range(len(REQUEST)):
            await client.send(REQUEST[at : at + 1])
            await asyncio.sleep(0.01)
            if client.heard().answers:
                break
        return await client.until(closed=True), door.stored()

    told, stored = over(tmp_path, scenario, lean=True, head_timeout_s=0.2)
    assert told.statuses == [408, 0]
    assert told.answers[0].header("connection") == "close"
    assert told.answers[0].body.startswith(b'{"error":"head_timeout"')
    assert stored == []


def test_a_second_head_that_trickles_is_408_too(tmp_path):
    async def scenario(door):
        client = await door.client()
        await client.ask(REQUEST + REQUEST[:20])
        return await client.until(closed=True)

    assert over(tmp_path, scenario, lean=True, head_timeout_s=0.2).statuses == [200, 408, 0]


def test_exception_aiohttp_waits_for_a_head_as_long_as_for_a_request(tmp_path):
    """It has no deadline for heads, so with `http.lean = false`, and after a connection's first request that is not
    plain, a head that stalls is hung up on after `keepalive_s`, without an answer.
    """

    async def scenario(door):
        patient, forgotten = await door.client(), await door.client()
        await forgotten.send(REQUEST[:20])
        for at in range(40):
            await patient.send(REQUEST[at : at + 1])
            await asyncio.sleep(0.005)
        await patient.send(REQUEST[40:])
        return await patient.until(1), await forgotten.until(closed=True)

    patient, forgotten = over(tmp_path, scenario, lean=False, head_timeout_s=0.1, keepalive_s=2.0)
    assert (patient.statuses, forgotten.statuses) == ([200], [0])


@with_a_body_to_come
def test_a_body_that_stalls_is_408_over_both_ways(tmp_path, sent):
    async def scenario(door):
        client = await door.client()
        await client.send(BODY_TO_COME[sent][0])
        assert door.intake.admission.inflight_bytes > 0
        told = await client.until(1)
        await client.until(closed=True)
        return told.answers, door.intake.admission.inflight_bytes, door.stored()

    answers, inflight_bytes, stored = over_both(tmp_path, scenario, body_timeout_s=0.2)
    assert [(answer.status, answer.header("connection")) for answer in answers] == [(408, "close")]
    assert answers[0].body.startswith(b'{"error":"body_timeout"')
    assert (inflight_bytes, stored) == (0, [])


def test_a_body_that_trickles_past_its_time_is_408_over_both_ways(tmp_path):
    async def scenario(door):
        client = await door.client()
        await client.send(a_request(content_length="10000"))
        while not client.heard().answers:
            await client.send(b" ")
            await asyncio.sleep(0.01)
        return (await client.until(closed=True)).statuses

    assert over_both(tmp_path, scenario, body_timeout_s=0.2) == [408, 0]


def test_an_idle_connection_is_closed_in_time_and_not_before(tmp_path):
    async def scenario(door):
        unused, used = await door.client(), await door.client()
        await asyncio.sleep(0.2)
        begun_s = time.monotonic()
        await used.ask(REQUEST)
        ends = [await unused.until(closed=True), await used.until(closed=True)]
        assert time.monotonic() - begun_s > 0.3
        return ends

    unused, used = over_both(tmp_path, scenario, keepalive_s=0.4)
    assert (unused.statuses, used.statuses) == ([0], [200, 0])


# Those that say no more, and those that vanish


@pytest.mark.parametrize("sent, statuses", [(REQUEST, [200]), (REQUEST + PREFLIGHT + REQUEST, [200, 204, 200])])
def test_a_client_that_says_no_more_still_gets_its_answers_on_the_lean_way(tmp_path, sent, statuses):
    async def scenario(door):
        client = await door.client()
        client.offer(sent)
        client.say_no_more()
        return await client.until(closed=True), len(door.stored())

    told, events = over(tmp_path, scenario, lean=True)
    assert (told.statuses, events) == ([*statuses, 0], statuses.count(200))


def test_a_client_that_says_no_more_and_reads_late_still_gets_its_answers_on_the_lean_way(tmp_path):
    async def scenario(door):
        client = await door.client(narrow=True)
        await client.send(PREFLIGHT * 800)
        client.say_no_more()
        await asyncio.sleep(0.1)
        return await client.until(closed=True)

    assert over(tmp_path, scenario, lean=True).statuses == [204] * 800 + [0]


def test_exception_aiohttp_hangs_up_on_a_client_that_says_no_more(tmp_path):
    """An EOF closes its transport. What was already on its way to the disk gets there; the answer does not arrive."""

    async def scenario(door):
        client = await door.client()
        client.offer(REQUEST)
        client.say_no_more()
        return await client.until(closed=True), len(door.stored())

    told, events = over(tmp_path, scenario, lean=False)
    assert told.statuses == [0]
    assert events <= 1


@both_ways
@pytest.mark.parametrize("sent", [b"", REQUEST[:9], REQUEST[:80], REQUEST[:-9], BODY_TO_COME["chunks"][0], REQUEST * 2])
@pytest.mark.parametrize("how", ["says no more", "hangs up", "resets"])
def test_a_client_that_vanishes_leaves_nothing_behind(tmp_path, lean, sent, how):
    async def scenario(door):
        client = await door.client()
        await client.send(sent)
        if how == "says no more":
            client.say_no_more()
        else:
            client.hang_up(at_once=how == "resets")
        await until(lambda: door.connections == 0)
        await door.settled()
        await until(lambda: door.intake.admission.inflight_bytes == 0)
        assert (await door.ask(REQUEST)).statuses == [200]

    over(tmp_path, scenario, lean=lean)


@both_ways
def test_a_client_that_vanishes_while_its_events_go_to_disk_disturbs_nobody(tmp_path, lean):
    async def scenario(door):
        door.disk.going.clear()
        gone, other = await door.client(), await door.client()
        await gone.send(REQUEST * 3)
        await other.send(REQUEST)
        gone.hang_up(at_once=True)
        await asyncio.sleep(0.05)
        door.disk.going.set()
        told = await other.told()
        return told.statuses, len(door.stored()), door.intake.admission.inflight_bytes

    statuses, events, inflight_bytes = over(tmp_path, scenario, lean=lean, on=HeldDisk)
    assert (statuses, inflight_bytes) == ([200], 0)
    assert events == 2, "what was behind its first request was not begun"


# Those that do not read


OFFERED_BYTES: Final = 32 << 20
HELD_MAX_BYTES: Final = 1 << 20
"""What a client that does not read its answers can get rid of: kernel buffers, one read, what is read ahead."""

AHEAD_MAX_BYTES: Final = 512 << 10
"""Of requests that are not answered yet: the narrow buffers of both kernels, one read, what is read ahead."""


async def offered(door: Door, request: bytes) -> int:
    """How many bytes of pipelined requests were taken of a client that does not read, until nothing moved any more."""
    client = await door.client(narrow=True)
    block = request * (65_536 // len(request))
    data, sent_bytes, still = block, 0, 0
    while sent_bytes < OFFERED_BYTES and still < 100:
        taken_bytes = client.offer(data)
        data = data[taken_bytes:] or block
        sent_bytes += taken_bytes
        still = 0 if taken_bytes else still + 1
        await asyncio.sleep(0 if taken_bytes else 0.002)
    return sent_bytes


@both_ways
@pytest.mark.parametrize("request_bytes", [REQUEST, PREFLIGHT, a_request(b"{")], ids=["stored", "preflight", "refused"])
def test_a_client_that_does_not_read_is_not_read_and_others_go_on(tmp_path, lean, request_bytes):
    async def scenario(door):
        sent_bytes = await offered(door, request_bytes)
        assert door.connections == 1
        begun_s = time.monotonic()
        assert (await door.ask(REQUEST)).statuses == [200]
        assert time.monotonic() - begun_s < 2
        return sent_bytes

    assert over(tmp_path, scenario, lean=lean, body_timeout_s=LONG_S) < HELD_MAX_BYTES


@both_ways
def test_a_client_that_sends_faster_than_it_is_answered_is_read_only_so_far_ahead(tmp_path, lean):
    async def scenario(door):
        client = await door.client(narrow=True)
        block, sent_bytes, ahead_bytes = REQUEST * 200, 0, 0
        data = block
        while len(answers := client.heard().answers) < 300:
            for _ in range(50):
                taken_bytes = client.offer(data)
                data, sent_bytes = data[taken_bytes:] or block, sent_bytes + taken_bytes
                await asyncio.sleep(0)
            ahead_bytes = max(ahead_bytes, sent_bytes - len(answers) * len(REQUEST))
        return ahead_bytes

    assert over(tmp_path, scenario, lean=lean) < AHEAD_MAX_BYTES


def test_a_client_that_never_reads_is_aborted_on_the_lean_way(tmp_path):
    """aiohttp has no such deadline: it keeps the connection, at the bound of the test above."""

    async def scenario(door):
        await offered(door, PREFLIGHT)
        await until(lambda: door.connections == 0)
        assert (await door.ask(REQUEST)).statuses == [200]

    over(tmp_path, scenario, lean=True, body_timeout_s=0.3)


def test_a_client_that_does_not_read_its_last_answers_is_aborted_on_the_lean_way(tmp_path):
    """They are few enough to be written, and the server has hung up already, as far as it can."""

    async def scenario(door):
        client = await door.client(narrow=True)
        await client.send(PREFLIGHT * 240 + a_request(method="OPTIONS", connection="close"))
        await asyncio.sleep(0.1)
        assert door.connections == 1, "too few answers for this test"
        await until(lambda: door.connections == 0)

    over(tmp_path, scenario, lean=True, body_timeout_s=0.5)


@both_ways
def test_a_client_that_reads_late_gets_every_answer(tmp_path, lean):
    async def scenario(door):
        client = await door.client(narrow=True)
        for _ in range(10):
            await client.send((REQUEST + PREFLIGHT) * 30)
        await asyncio.sleep(0.05)
        told = await client.until(600)
        return told.statuses, len(door.stored())

    assert over(tmp_path, scenario, lean=lean) == ([200, 204] * 300, 300)
