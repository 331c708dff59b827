"""What the gateway cannot take now is refused with the same words over both ways; what it gets wrong is a 500."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from ingest.entrance import Entrance
from tests.contract.http_client import until
from tests.contract.http_door import Door, over, over_both
from tests.contract.http_request import a_request, an_event_text, chunked
from tests.incarnations import FailingDisk

ORIGIN: Final = "https://watch.example"
EVENT: Final = an_event_text()
REQUEST: Final = a_request(EVENT, origin=ORIGIN)
REQUESTS: Final = {
    "plain": REQUEST,
    "minimal": a_request(EVENT, prefer="return=minimal"),
    "chunks": a_request(content_length=None, transfer_encoding="chunked") + chunked(EVENT),
    "expects": a_request(EVENT, expect="100-continue"),
}
both_ways = pytest.mark.parametrize("lean", [True, False], ids=["lean", "general"])
each_request = pytest.mark.parametrize("name", REQUESTS)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("ingest.connection.LINGERING_S", 0.1)
    monkeypatch.setattr("ingest.spool.appender.REOPEN_INTERVAL_S", 0.01)


def spool_full(door: Door) -> None:
    door.intake.admission.spool_full = True


def draining(door: Door) -> None:
    door.intake.admission.draining = True


def overloaded(door: Door) -> None:
    assert door.intake.admission.book(2**20 - 10)


CLOSED_DOORS: Final[dict[str, Callable[[Door], None]]] = {
    "spool_full": spool_full,
    "draining": draining,
    "overloaded": overloaded,
}


RETRY_AFTER: Final = {"spool_full": "2", "draining": "3", "overloaded": "2"}
"""With chance in the middle: from when it is worth trying again to twice that."""


@pytest.mark.parametrize("code", CLOSED_DOORS)
@each_request
def test_a_closed_door_says_why_and_when_to_come_again(tmp_path, code, name):
    request = REQUESTS[name]
    at = request.index(b"\r\n\r\n") + 4

    async def scenario(door):
        CLOSED_DOORS[code](door)
        with_its_body = await door.ask(request + REQUEST)
        head_first = await door.client()
        before_its_body = await head_first.ask(request[:at])
        behind = await head_first.ask(request[at : at + 7], request[at + 7 :] + REQUEST)
        if code == "overloaded":
            door.intake.admission.release(2**20 - 10)
        return with_its_body, before_its_body, behind, door.stored()

    together, alone, behind, stored = over_both(tmp_path, scenario, inflight_max_bytes=2**20)
    assert alone.answers[0] == together.answers[0]
    assert (alone.answers[0].status, alone.answers[0].header("retry-after")) == (503, RETRY_AFTER[code])
    assert json.loads(alone.answers[0].body)["error"] == code
    if code == "draining":
        assert together.statuses == [503, 0]
        assert behind.statuses[:1] == [503], "hung up on as soon as it is polite"
        assert together.answers[0].header("connection") == "close"
    else:
        assert together.statuses == behind.statuses == [503, 503]
    assert stored == []


def test_a_preflight_is_answered_at_a_closed_door(tmp_path):
    async def scenario(door):
        spool_full(door)
        return await door.ask(a_request(method="OPTIONS", origin=ORIGIN))

    assert over_both(tmp_path, scenario).statuses == [204]


@each_request
def test_a_spool_that_fails_is_a_503_and_no_promise_until_it_is_well_again(tmp_path, name):
    request = REQUESTS[name]
    at = request.index(b"\r\n\r\n") + 4

    async def scenario(door):
        well = await door.ask(request)
        door.disk.nth, door.disk.broken = len(door.disk.made), True
        client = await door.client()
        failing, gone = await client.ask(request), await client.ask(request, request)
        head = await door.ask(request[:at])
        door.disk.nth = -1
        await until(lambda: bool(door.appender.writable))
        return well, failing, gone, head, await client.ask(request), len(door.stored())

    well, failing, gone, head, again, events = over_both(tmp_path, scenario, on=FailingDisk)
    assert (well.statuses[-1] // 100, failing.statuses[-1], head.statuses) == (2, 503, [503])
    assert [answer.status for answer in gone.answers if answer.status != 100] == [503] * 3
    for answer in (*gone.answers[-3:], head.answers[0]):
        assert answer.header("retry-after") == "3"
        assert json.loads(answer.body)["error"] == "spool_unavailable"
    assert again.answers[-1] == well.answers[-1]
    assert events == 2


@each_request
def test_a_bug_of_ours_is_a_500_nothing_is_promised_and_the_server_goes_on(tmp_path, name, monkeypatch):
    def decode(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    async def scenario(door):
        client, waiting = await door.client(), await door.client()
        await waiting.ask(REQUEST[:-20])
        with monkeypatch.context() as broken:
            broken.setattr("ingest.intake.decode", decode)
            broken.setattr(door.appender, "take_in", decode)
            failed = await client.ask(REQUESTS[name], REQUEST)
        inflight_bytes = door.intake.admission.inflight_bytes
        return failed, inflight_bytes, await waiting.ask(REQUEST[-20:]), await door.ask(REQUEST), len(door.stored())

    failed, inflight_bytes, waiting, after, events = over_both(tmp_path, scenario)
    assert [status for status in failed.statuses if status != 100] == [500, 0]
    assert json.loads(failed.answers[-1].body)["error"] == "internal"
    assert failed.answers[-1].header("connection") == "close"
    assert inflight_bytes == len(EVENT) - 20, "of the one that waits, what is here"
    assert (waiting.statuses, after.statuses, events) == ([200], [200], 2)


def test_a_500_may_be_read_by_the_page_that_sent_the_events(tmp_path, monkeypatch):
    async def scenario(door):
        monkeypatch.setattr("ingest.intake.decode", None)
        monkeypatch.setattr(door.appender, "take_in", None)
        return await door.ask(REQUEST)

    (answer,) = over_both(tmp_path, scenario).answers
    assert (answer.status, answer.header("access-control-allow-origin")) == (500, ORIGIN)


def test_a_bug_in_writing_an_answer_costs_its_connection_and_not_the_spool(tmp_path, monkeypatch):
    """The spool tells many requests, one after the other; of none of them it may hear an exception."""
    rendered, failures = Entrance.rendered, [RuntimeError("a bug")]

    def rendered_badly(*arguments: Any, **named: Any) -> bytes:
        if failures:
            raise failures.pop()
        return rendered(*arguments, **named)

    async def scenario(door):
        clients = [await door.client() for _ in range(3)]
        for client in clients:
            client.offer(REQUEST)
        monkeypatch.setattr(Entrance, "rendered", rendered_badly)
        return [(await client.told()).statuses for client in clients], len(door.stored())

    statuses, events = over(tmp_path, scenario, lean=True)
    assert sorted(statuses) == [[200], [200], [500, 0]]
    assert events == 3
