"""One door, two ways to read HTTP: what is plain, what is not, and how it is cut make no difference to the answers."""

import gzip
import json
import zlib
from typing import Final

import pytest
import zstandard

from config.settings import DoorSettings
from ingest.tuple import Row
from tests.builders import a_body, an_event
from tests.contract.http_client import Told
from tests.contract.http_door import Door, over, over_both
from tests.contract.http_request import a_request, an_event_text, chunked

MIB: Final = 2**20
ORIGIN: Final = "https://watch.example"
BATCH: Final = a_body([an_event() for _ in range(3)])
PARTLY: Final = a_body([an_event(), an_event(position=-1), an_event(event_type="nap")])
NONE: Final = a_body([an_event(position=-1)])
TWICE: Final = a_body([an_event(event_id="0" * 31 + "1")] * 2)
RAW_DEFLATE: Final = zlib.compress(BATCH)[2:-4]

PLAIN: Final = {
    "one event": (a_request(an_event_text()), [200], 1),
    "a batch": (a_request(BATCH), [200], 3),
    "a repeat": (a_request(TWICE), [200], 1),
    "minimal": (a_request(BATCH, prefer="return=minimal"), [204], 3),
    "minimal, but one refused": (a_request(PARTLY, prefer="return=minimal"), [200], 1),
    "some refused": (a_request(PARTLY), [200], 1),
    "all refused": (a_request(NONE), [400], 0),
    "an empty list": (a_request(b"[]"), [200], 0),
    "no body": (a_request(b""), [400], 0),
    "no JSON": (a_request(b"{'a': 1}"), [400], 0),
    "too many events": (a_request(b"[" + b"1," * 1_000 + b"1]"), [413, 0], 0),
    "inflates to too much": (a_request(gzip.compress(b" " * 9 * MIB), content_encoding="gzip"), [413, 0], 0),
    "ndjson": (a_request(an_event_text() + b"\n" + an_event_text(), content_type="application/x-ndjson"), [200], 2),
    "a beacon": (a_request(BATCH, content_type="text/plain;charset=UTF-8"), [200], 3),
    "a beacon's gzip": (a_request(gzip.compress(BATCH), content_type="text/plain"), [200], 3),
    "no type": (a_request(BATCH, content_type=None), [200], 3),
    "blanks behind the type": (a_request(BATCH, content_type="application/json \t "), [200], 3),
    "another type": (a_request(BATCH, content_type="application/xml"), [415], 0),
    "gzip": (a_request(gzip.compress(BATCH), content_encoding="gzip"), [200], 3),
    "deflate": (a_request(zlib.compress(BATCH), content_encoding="deflate"), [200], 3),
    "raw deflate": (a_request(RAW_DEFLATE, content_encoding="Deflate"), [200], 3),
    "zstd": (a_request(zstandard.compress(BATCH), content_encoding="zstd"), [200], 3),
    "identity": (a_request(BATCH, content_encoding=" identity "), [200], 3),
    "no encoding": (a_request(BATCH, content_encoding=""), [200], 3),
    "another encoding": (a_request(BATCH, content_encoding="br"), [415], 0),
    "cut gzip": (a_request(gzip.compress(BATCH)[:-9], content_encoding="gzip"), [400], 0),
    "a dry run": (a_request(BATCH, target="/v1/events?a=b&dry_run=1"), [200], 0),
    "a dry run of bad ones": (a_request(NONE, target="/v1/events?dry_run=true"), [400], 0),
    "no dry run": (a_request(BATCH, target="/v1/events?dry_run=0&dry_run=1"), [200], 3),
    "an empty query": (a_request(BATCH, target="/v1/events?"), [200], 3),
    "an odd query": (a_request(BATCH, target="/v1/events??&=%ZZ;%00|{}\"'<>"), [200], 3),
    "an origin": (a_request(BATCH, origin=ORIGIN), [200], 3),
    "an origin, blanks around it": (a_request(BATCH, origin=f" \t{ORIGIN} \t "), [200], 3),
    "an empty origin": (a_request(BATCH, origin=""), [200], 3),
    "a refusal to an origin": (a_request(b"{", origin=ORIGIN), [400], 0),
    "a crawler": (a_request(BATCH, user_agent="Googlebot/2.1 (+http://www.google.com/bot.html)"), [200], 3),
    "a country": (a_request(BATCH, cf_ipcountry="DE"), [200], 3),
    "blanks behind a country": (a_request(BATCH, cf_ipcountry="DE \t"), [200], 3),
    "no country": (a_request(BATCH, cf_ipcountry=""), [200], 3),
    "a preflight": (a_request(method="OPTIONS", content_type=None, content_length=None, origin=ORIGIN), [204], 0),
    "a preflight of nobody": (a_request(method="OPTIONS", content_type=None), [204], 0),
    "hang up": (a_request(BATCH, connection="close"), [200, 0], 3),
    "hang up, in capitals": (a_request(BATCH, connection="CLOSE"), [200, 0], 3),
    "stay": (a_request(BATCH, connection="Keep-Alive"), [200], 3),
    "a preflight, and hang up": (a_request(method="OPTIONS", connection="close"), [204, 0], 0),
    "names in lower case": (a_request(BATCH, origin=ORIGIN).replace(b"Content-", b"content-"), [200], 3),
    "names in capitals": (a_request(BATCH, origin=ORIGIN).replace(b"Origin", b"ORIGIN"), [200], 3),
    "no blank behind a colon": (a_request(an_event_text(), origin=ORIGIN).replace(b": ", b":"), [200], 1),
    "leading zeros": (a_request(BATCH, content_length=f"00{len(BATCH)}"), [200], 3),
    "empty lines first": (b"\r\n" + a_request(BATCH), [200], 3),
    "128 headers": (a_request(BATCH, lines=[f"X-{number}: 1" for number in range(125)]), [200], 3),
    "an empty header": (a_request(BATCH, lines=["X-Empty:", "X-Blank:  ", "X-Full: 1"]), [200], 3),
}
"""Name → (request, statuses and 0 for a hang-up, events stored), answered without aiohttp."""

TRAILER: Final = b"5;ext=1\r\n[    \r\n1\r\n]\r\n0\r\nX-Sum: 1\r\n\r\n"
UNUSUAL: Final = {
    "chunks": (a_request(content_length=None, transfer_encoding="chunked") + chunked(BATCH), [200], 3),
    "small chunks": (
        a_request(content_length=None, transfer_encoding="Chunked") + chunked(BATCH, size_bytes=7), [200], 3,
    ),
    "extension and trailer": (a_request(content_length=None, transfer_encoding="chunked") + TRAILER, [200], 0),
    "chunks beyond the cap": (
        a_request(content_length=None, transfer_encoding="chunked") + chunked(b" " * (MIB + 1)), [413, 0], 0,
    ),
    "a body beyond the cap": (a_request(b" " * (MIB + 1)), [413, 0], 0),
    "expects, with its body": (a_request(BATCH, expect="100-continue"), [200], 3),
    "expects another thing": (a_request(BATCH, expect="more"), [417], 0),
    "HTTP/1.0": (a_request(BATCH).replace(b"HTTP/1.1", b"HTTP/1.0"), [200, 0], 3),
    "HTTP/1.0, and stay": (a_request(BATCH, connection="keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"), [200], 3),
    "HTTP/1.2": (a_request(BATCH).replace(b"HTTP/1.1", b"HTTP/1.2"), [400, 0], 0),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400, 0], 0),
    "a folded header": (a_request(BATCH, lines=["X-Folded: a", " b"]), [400, 0], 0),
    "an absolute URL": (a_request(BATCH, target="http://127.0.0.1/v1/events?dry_run=1"), [200], 0),
    "an encoded path": (a_request(BATCH, target="/v1/%65vents"), [200], 3),
    "a fragment": (a_request(BATCH, target="/v1/events#dry_run=1"), [200], 3),
    "a fragment behind the query": (a_request(BATCH, target="/v1/events?dry_run=1#a"), [200], 0),
    "another path": (a_request(BATCH, target="/v1/eventsource", origin=ORIGIN), [404], 0),
    "a path below": (a_request(BATCH, target="/v1/events/1"), [404], 0),
    "a path in capitals": (a_request(BATCH, target="/V1/events"), [404], 0),
    "no path": (a_request(method="OPTIONS", target="*"), [404], 0),
    "GET": (a_request(method="GET", origin=ORIGIN), [405], 0),
    "PUT": (a_request(BATCH, method="PUT"), [405], 0),
    "a method in lower case": (a_request(BATCH, method="post"), [400, 0], 0),
    "a preflight with a body": (a_request(BATCH, method="OPTIONS"), [204], 0),
    "no host": (a_request(BATCH, host=None), [400, 0], 0),
    "two hosts": (a_request(BATCH, lines=["Host: b"]), [400, 0], 0),
    "two types": (a_request(BATCH, lines=["Content-Type: text/plain"]), [400, 0], 0),
    "two origins": (a_request(BATCH, origin=ORIGIN, lines=["Origin: null"]), [200], 3),
    "no length": (a_request(content_length=None), [400], 0),
    "an upgrade": (a_request(BATCH, connection="upgrade", upgrade="h2c"), [200], 3),
    "an upgrade to nothing": (a_request(BATCH, connection="upgrade"), [200], 3),
    "two wishes": (a_request(BATCH, connection="keep-alive, close"), [200, 0], 3),
    "a proxy's wish": (a_request(BATCH, proxy_connection="close"), [200, 0], 3),
    "an old WebSocket": (a_request(BATCH, sec_websocket_key1="1"), [400, 0], 0),
    "letters beyond ASCII": (a_request(BATCH, origin="https://w\xe4tch.example"), [200], 3),
    "129 headers": (a_request(BATCH, lines=[f"X-{number}: 1" for number in range(126)]), [400, 0], 0),
    "a head longer than a header may be": (a_request(BATCH, lines=[f"X-{n}: {'x' * 99}" for n in range(20)]), [200], 3),
    "a long header": (a_request(BATCH, x_long="x" * 2_001), [431, 0], 0),
    "a long URL": (a_request(BATCH, target="/v1/events?" + "x" * 1_990), [431, 0], 0),
    "5,000 digits": (a_request(b"[]", content_length="2".rjust(5_000, "0")), [431, 0], 0),
}  # fmt: skip
"""The same of requests that aiohttp answers over both ways."""


async def told_and_stored(door: Door, *pieces: bytes, closed: bool = False) -> tuple[Told, list[Row]]:
    before = len(door.stored())
    return await door.ask(*pieces, closed=closed), door.stored()[before:]


OPTIONS: Final = {"country_header": "CF-IPCountry", "header_max_bytes": 2_000}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_request_has_one_answer_over_both_ways(tmp_path, name):
    request, statuses, events = PLAIN[name]

    async def scenario(door):
        told, stored = await told_and_stored(door, request, closed=statuses[-1] == 0)
        assert door.handed_over is not door.lean
        return told, stored

    told, stored = over_both(tmp_path, scenario, **OPTIONS)
    assert (told.statuses, len(stored)) == (statuses, events)


def test_what_a_crawler_plays_is_stored_as_a_test_unless_it_shall_count(tmp_path):
    request = a_request(BATCH, user_agent="Googlebot/2.1 (+http://www.google.com/bot.html)")

    async def scenario(door):
        viewers = (await told_and_stored(door, a_request(BATCH, user_agent="okhttp/4.9.3")))[1]
        return [row.test for row in viewers + (await told_and_stored(door, request))[1]]

    assert over_both(tmp_path / "kept out", scenario) == [False] * 3 + [True] * 3
    counted = DoorSettings(crawlers_are_tests=False)
    assert over_both(tmp_path / "counted", scenario, door=counted) == [False] * 6


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_request_is_answered_by_aiohttp_over_both_ways(tmp_path, name):
    request, statuses, events = UNUSUAL[name]

    async def scenario(door):
        told, stored = await told_and_stored(door, request, closed=statuses[-1] == 0)
        assert door.handed_over
        return told, stored

    told, stored = over_both(tmp_path, scenario, **OPTIONS)
    assert (told.statuses, len(stored)) == (statuses, events)


def test_a_client_is_asked_for_its_body_once_it_is_admitted(tmp_path):
    head = a_request(content_length=str(len(BATCH)), expect="100-Continue")

    async def scenario(door):
        client = await door.client()
        asked = await client.ask(head)
        return asked, await client.ask(BATCH, a_request(BATCH)), len(door.stored())

    asked, told, events = over_both(tmp_path, scenario)
    assert (asked.statuses, told.statuses, events) == ([100], [100, 200, 200], 6)


def test_a_client_whose_request_is_refused_is_not_asked_for_its_body(tmp_path):
    head = a_request(content_type="image/gif", content_length="100", expect="100-continue")

    async def scenario(door):
        return await door.ask(head)

    assert over_both(tmp_path, scenario).statuses == [415]


def test_an_answer_to_head_has_no_body(tmp_path):
    async def scenario(door):
        return await door.ask(a_request(method="HEAD"), a_request(BATCH, method="HEAD"), of_head=True)

    told = over_both(tmp_path, scenario)
    assert told.statuses == [405, 405]
    assert all(answer.header("content-length") == "61" for answer in told.answers)


MIXED: Final = {
    "plain": (a_request(an_event_text()), 200),
    "preflight": (a_request(method="OPTIONS", origin=ORIGIN), 204),
    "minimal": (a_request(an_event_text(), prefer="return=minimal"), 204),
    "chunks": (a_request(content_length=None, transfer_encoding="chunked") + chunked(an_event_text()), 200),
    "GET": (a_request(method="GET"), 405),
    "refused": (a_request(b"[1]"), 400),
}


@pytest.mark.parametrize(
    "names",
    [
        ["preflight", "plain", "plain", "preflight", "minimal"],
        ["plain", "chunks", "plain"],
        ["chunks", "plain", "chunks", "preflight", "plain"],
        ["plain", "refused", "minimal", "GET", "plain", "preflight", "chunks", "plain", "refused"],
    ],
)
def test_a_connection_may_mix_what_is_plain_and_what_is_not(tmp_path, names):
    requests, statuses = [MIXED[name][0] for name in names], [MIXED[name][1] for name in names]

    async def scenario(door):
        one_by_one = await door.client()
        for request in requests:
            await one_by_one.ask(request)
        pipelined = await told_and_stored(door, b"".join(requests))
        return await one_by_one.told(), pipelined

    one_by_one, (pipelined, stored) = over_both(tmp_path, scenario)
    assert one_by_one == pipelined
    assert pipelined.statuses == statuses
    assert len(stored) == sum(name in ("plain", "minimal", "chunks") for name in names)


def test_a_preflight_names_what_a_browser_may_send(tmp_path):
    async def scenario(door):
        return await door.ask(PLAIN["a preflight"][0])

    (answer,) = over_both(tmp_path, scenario).answers
    assert dict(answer.headers) == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "Retry-After",
        "access-control-allow-methods": "POST, OPTIONS",
        "access-control-allow-headers": "content-type, content-encoding, authorization, prefer",
        "access-control-max-age": "7200",
        "server": "streamverse-ingest",
        "vary": "Origin",
    }


def test_a_country_is_stored_as_it_was_sent_without_the_blanks_behind_it(tmp_path):
    async def scenario(door):
        _, stored = await told_and_stored(door, PLAIN["blanks behind a country"][0])
        return [row.country for row in stored]

    assert over_both(tmp_path, scenario, **OPTIONS) == ["DE"] * 3


def test_many_clients_at_once_are_told_each_their_own(tmp_path):
    """Interleaved on one event loop, committed in groups: no answer reaches another's connection."""
    bodies = [a_body([an_event() for _ in range(number % 7)]) for number in range(60)]

    async def scenario(door):
        clients = [await door.client() for _ in bodies]
        for half in (0, 1):
            for client, body in zip(clients, bodies, strict=True):
                request = a_request(body, origin=f"https://{len(body)}.example")
                middle = len(request) // 2
                await client.send(request[middle:] if half else request[:middle])
        return [await client.told() for client in clients], sorted(row.event_id for row in door.stored())

    told, stored = over_both(tmp_path, scenario)
    assert [json.loads(one.answers[0].body)["accepted"] for one in told] == [number % 7 for number in range(60)]
    assert [one.answers[0].header("access-control-allow-origin") for one in told] == [
        f"https://{len(body)}.example" for body in bodies
    ]
    assert len(set(stored)) == len(stored) == sum(number % 7 for number in range(60))


def test_a_request_that_is_not_plain_takes_its_connection_along_for_good(tmp_path):
    async def scenario(door):
        client = await door.client()
        await client.ask(MIXED["plain"][0])
        lean_at_first = door.handed_over
        await client.ask(MIXED["chunks"][0], MIXED["plain"][0])
        return lean_at_first, door.entrance.general.requests_count

    assert over(tmp_path, scenario, lean=True) == (False, 2)
