"""Write keys over both ways to read HTTP: who comes in, who is told what, and which pages may read it."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from config.settings import AdsSettings, KeysSettings
from ingest.identity import derived_event_id
from ingest.keyring import UNPUBLISHED, Key, Keyring, hash_of, id_of, new_key
from ingest.pixel import GIF
from tests.builders import CONTENT_ID, a_body, an_event
from tests.contract.http_client import Told
from tests.contract.http_door import Door, over, over_both
from tests.contract.http_request import a_request, an_event_text, chunked
from tests.contract.test_http_cmcd import FORM, a_fetched_report, a_report
from tests.contract.test_http_pixel import a_pixel

pytestmark = pytest.mark.usefixtures("each_core")

SITE: Final = "https://watch.example"
ELSEWHERE: Final = "https://elsewhere.example"
REQUIRED: Final = KeysSettings(required=True)
PUBLIC, SECRET, OFF, ADS, SLOW = (new_key(mark.__mul__, secret=mark == b"s") for mark in (b"p", b"s", b"o", b"a", b"l"))


def a_key(text: str, **changes: Any) -> Key:
    return Key(id=id_of(text), hash=hash_of(text), owner="acme", bucket=id_of(text), **changes)


RING: Final = Keyring([
    a_key(PUBLIC, origins=(SITE, "https://*.tv.example")),
    a_key(SECRET, secret=True),
    a_key(OFF, off=True),
    a_key(ADS, doors=("ads",)),
    a_key(SLOW, rate=10, burst=3),
])  # fmt: skip
EVENT: Final = an_event_text()
IMP: Final = "0b9a3c52-0000-4000-8000-00000000000a"
START: Final = f"/v1/ad/start?imp={IMP}"


def events(key: str | None = None, body: bytes = EVENT, **headers: Any) -> bytes:
    return a_request(body, target="/v1/events" + (f"?key={key}" if key else ""), **headers)


def asked(*requests: bytes) -> Callable[[Door], Any]:
    """Each over one connection, and how many events were kept."""

    async def scenario(door: Door) -> tuple[Told, int]:
        door.intake.gate.keyring = RING
        client = await door.client()
        return await client.ask(*requests), len(door.stored())

    return scenario


def codes(told: Told) -> list[str]:
    return [json.loads(answer.body)["error"] if answer.status >= 400 else "" for answer in told.answers]


COMING_IN: Final = {
    "a public key in its query": events(PUBLIC),
    "and others beside it": a_request(EVENT, target=f"/v1/events?a=1&key={PUBLIC}&key=x"),
    "percent-encoded": events(PUBLIC.replace("_", "%5F")),
    "a public key in its header": events(authorization=f"Bearer {PUBLIC}"),
    "from its page": events(PUBLIC, origin=SITE),
    "from a page below it": events(PUBLIC, origin="https://a.tv.example"),
    "a beacon": events(PUBLIC, origin=SITE, content_type="text/plain;charset=UTF-8"),
    "a secret key": events(authorization=f"bearer  {SECRET} "),
    "the header's is the one": events("unknown", authorization=f"Bearer {SECRET}"),
    "another scheme's header is none": events(PUBLIC, authorization="Basic Og=="),
    "in chunks": a_request(
        target=f"/v1/events?key={PUBLIC}", content_length=None, transfer_encoding="chunked"
    ) + chunked(EVENT),
}  # fmt: skip


@pytest.mark.parametrize("name", COMING_IN)
def test_who_has_a_key_comes_in(tmp_path, name):
    told, kept = over_both(tmp_path, asked(COMING_IN[name], COMING_IN[name]), keys=REQUIRED)
    assert (told.statuses, kept) == ([200, 200], 2)


REFUSED: Final = {
    "no key": (events(), 401, "missing_key"),
    "an empty one": (a_request(EVENT, target="/v1/events?key="), 401, "missing_key"),
    "an unknown one": (events(PUBLIC[:-1]), 401, "unknown_key"),
    "a secret one where it is logged": (events(SECRET), 401, "missing_key"),
    "one that is off": (events(OFF), 403, "key_off"),
    "one for other pages": (events(PUBLIC, origin=ELSEWHERE), 403, "origin_refused"),
    "a secret one in a page": (events(authorization=f"Bearer {SECRET}", origin=SITE), 403, "origin_refused"),
    "one for another door": (events(ADS), 403, "door_refused"),
    "whatever else is wrong": (events(None, b"{", content_type="image/png"), 401, "missing_key"),
    "no key, and nothing is written": (a_request(EVENT, target="/v1/events?dry_run=1"), 401, "missing_key"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_who_has_none_is_told_and_nothing_is_kept(tmp_path, name):
    request, status, code = REFUSED[name]
    told, kept = over_both(tmp_path, asked(request, events(PUBLIC)), keys=REQUIRED)
    assert (told.statuses, codes(told), kept) == ([status, 200], [code, ""], 1)
    assert told.answers[0].header("www-authenticate") == ("Bearer" if status == 401 else None)
    assert json.loads(told.answers[0].body)["message"]


def test_a_refused_request_is_counted_once_however_it_is_cut(tmp_path):
    request = events(OFF)

    async def scenario(door):
        door.intake.gate.keyring = RING
        await door.ask(request[:-9], request[-9:])
        return dict(door.intake.tally._keys), dict(door.intake.tally._refused)

    by_key, by_code = over_both(tmp_path, scenario, keys=REQUIRED)
    assert (by_key, by_code) == ({(id_of(OFF), "refused"): 1}, {"key_off": 1})


def test_the_browser_module_is_anybodys(tmp_path):
    request = a_request(method="GET", target="/sdk/v1.js", origin=SITE, content_type=None, content_length=None)
    told, _ = over_both(tmp_path, asked(request), keys=REQUIRED)
    assert (told.statuses[0], told.answers[0].header("access-control-allow-origin")) == (200, "*")


def test_without_keys_required_nobody_is_asked(tmp_path):
    requests = [events(), events("unknown", origin=ELSEWHERE), events(OFF)]
    told, kept = over_both(tmp_path, asked(*requests))
    assert (told.statuses, kept) == ([200] * 3, 3)
    assert told.answers[1].header("access-control-allow-origin") == ELSEWHERE


def test_until_keys_are_published_everybody_is_told_to_come_again(tmp_path):
    async def scenario(door):
        door.intake.gate.keyring = UNPUBLISHED
        before = await door.ask(events(PUBLIC, origin=SITE), a_pixel(f"{START}&key={PUBLIC}"))
        door.intake.gate.keyring = RING
        return before, await door.ask(events(PUBLIC)), len(door.stored())

    before, after, kept = over_both(tmp_path, scenario, keys=REQUIRED)
    assert (before.statuses, after.statuses, kept) == ([503, 503], [200], 1)
    assert json.loads(before.answers[0].body)["error"] == "keys_unavailable"
    assert before.answers[0].header("retry-after") == "3" == before.answers[1].header("retry-after")
    assert before.answers[0].header("access-control-allow-origin") == SITE, "its page can read that"
    assert before.answers[1].body == GIF


STRANGER: Final = "it reads that it is refused, without credentials"
NAMED: Final = {
    "accepted": (events(PUBLIC, origin=SITE), SITE),
    "below": (events(PUBLIC, origin="https://a.tv.example"), "https://a.tv.example"),
    "wrong": (events(PUBLIC, b"{", origin=SITE), SITE),
    "off": (events(OFF, origin=ELSEWHERE), ELSEWHERE),
    "other door": (events(ADS, origin=ELSEWHERE), ELSEWHERE),
    "other page": (events(PUBLIC, origin=ELSEWHERE), STRANGER),
    "unknown": (events("unknown", origin=ELSEWHERE), STRANGER),
    "no key, of a page that has one": (events(origin=SITE), SITE),
    "secret": (events(authorization=f"Bearer {SECRET}", origin=ELSEWHERE), STRANGER),
    "another method of another page": (a_request(method="PUT", target="/v1/events?key=x", origin=ELSEWHERE), None),
    "no origin": (events(PUBLIC), None),
    "another method": (a_request(method="PUT", target=f"/v1/events?key={PUBLIC}", origin=SITE), SITE),
    "preflight": (a_request(method="OPTIONS", target=f"/v1/events?key={PUBLIC}", origin=SITE), SITE),
    "preflight, other page": (a_request(method="OPTIONS", target=f"/v1/events?key={PUBLIC}", origin=ELSEWHERE), None),
    "a pixel's key is never told": (a_pixel(f"{START}&key=unknown", origin=ELSEWHERE), ELSEWHERE),
    "nor its preflight": (a_request(method="OPTIONS", target=START, origin=ELSEWHERE), ELSEWHERE),
}


@pytest.mark.parametrize("name", NAMED)
def test_only_pages_of_the_keys_origins_read_what_it_is_told(tmp_path, name):
    request, named = NAMED[name]
    told, _ = over_both(tmp_path, asked(request), keys=REQUIRED)
    (answer,) = told.answers
    assert answer.header("vary") == "Origin"
    assert answer.header("access-control-allow-origin") == (ELSEWHERE if named is STRANGER else named)
    trusted = named is not None and named is not STRANGER
    assert answer.header("access-control-allow-credentials") == ("true" if trusted else None)
    if "preflight" in name:
        assert answer.status == 204
        assert answer.header("access-control-allow-methods") == (None if named is None else answer_methods(name))
        assert answer.header("access-control-max-age") == (None if named is None else "7200")


def answer_methods(name: str) -> str:
    return "GET, HEAD, POST, OPTIONS" if name.startswith("nor") else "POST, OPTIONS"


PIXELS: Final = {
    "a key": (a_pixel(f"{START}&key={PUBLIC}"), 1),
    "a key in its header": (a_pixel(START, authorization=f"Bearer {SECRET}"), 1),
    "from its page": (a_pixel(f"{START}&key={PUBLIC}", origin=SITE), 1),
    "no key": (a_pixel(START), 0),
    "a secret one where it is logged": (a_pixel(f"{START}&key={SECRET}"), 0),
    "a macro nobody filled": (a_pixel(f"{START}&key=[KEY]"), 0),
    "an unknown one": (a_pixel(f"{START}&key=unknown"), 0),
    "one that is off": (a_pixel(f"{START}&key={OFF}"), 0),
    "another page's": (a_pixel(f"{START}&key={PUBLIC}", origin=ELSEWHERE), 0),
    "posted": (a_request(method="POST", target=f"{START}&key={PUBLIC}"), 1),
}


@pytest.mark.parametrize("name", PIXELS)
def test_a_pixel_is_the_same_picture_whatever_its_key_and_kept_with_a_good_one(tmp_path, name):
    request, kept_each = PIXELS[name]

    async def scenario(door):
        door.intake.gate.keyring = RING
        client = await door.client()
        return await client.ask(request, request), len(door.ads())

    told, kept = over_both(tmp_path, scenario, keys=REQUIRED)
    assert [(answer.status, answer.body) for answer in told.answers] == [(200, GIF)] * 2
    assert kept == 2 * kept_each


REPORTS: Final = {
    "a key": (a_report(target=f"/v1/cmcd?device=tv&key={PUBLIC}"), "acme"),
    "a key in its header": (a_report(authorization=f"Bearer {SECRET}"), "acme"),
    "fetched": (a_fetched_report(f"/v1/cmcd?CMCD={FORM}&key={PUBLIC}", origin=SITE), "acme"),
    "no key": (a_report(), None),
    "a secret one where it is logged": (a_report(target=f"/v1/cmcd?key={SECRET}"), None),
    "an unknown one": (a_report(target="/v1/cmcd?key=unknown"), None),
    "one that is off": (a_report(target=f"/v1/cmcd?key={OFF}"), None),
    "one for another door": (a_report(target=f"/v1/cmcd?key={ADS}"), None),
    "another page's": (a_report(target=f"/v1/cmcd?key={PUBLIC}", origin=ELSEWHERE), None),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_of_cmcd_is_204_whatever_its_key_and_its_owners_with_a_good_one(tmp_path, name):
    request, owner = REPORTS[name]

    async def scenario(door):
        door.intake.gate.keyring = RING
        client = await door.client()
        told = await client.ask(request, request)
        return told, [(line.owner, line.target) for line in door.lines()], dict(door.intake.tally._refused)

    told, lines, refused = over_both(tmp_path, scenario, keys=REQUIRED)
    assert [(answer.status, answer.body) for answer in told.answers] == [(204, b"")] * 2
    named = ELSEWHERE if name.startswith("another page") else SITE if name == "fetched" else "*"
    assert {answer.header("access-control-allow-origin") for answer in told.answers} == {named}
    assert {line[0] for line in lines} == ({owner} if owner else set())
    assert len({line[1] for line in lines}) <= 1, "the key is no part of the target"
    assert sum(refused.values()) == (0 if owner else 2)


def test_reports_over_a_keys_rate_are_told_to_come_again_for_players_do(tmp_path):
    request = a_report(target=f"/v1/cmcd?key={SLOW}", origin=ELSEWHERE)

    async def scenario(door):
        door.intake.gate.keyring = RING
        client = await door.client()
        told = await client.ask(request, request, request)
        door.intake.gate.keyring = UNPUBLISHED
        return told, (await door.ask(request)).statuses, len(door.lines())

    told, unpublished, kept = over_both(tmp_path, scenario, keys=REQUIRED)
    assert (told.statuses, unpublished, kept) == ([204, 204, 429], [503], 4)
    assert told.answers[2].header("retry-after") and told.answers[2].header("access-control-allow-origin") == ELSEWHERE


def test_who_clicks_is_sent_on_whatever_the_key(tmp_path):
    request = a_pixel(f"/v1/ad/clickTracking?imp={IMP}&key=unknown&to=https%3A%2F%2Fshop.example%2F")

    async def scenario(door):
        door.intake.gate.keyring = RING
        return await door.ask(request), len(door.ads())

    told, kept = over_both(tmp_path, scenario, keys=REQUIRED, ads=AdsSettings(click_hosts="shop.example"))
    assert (told.statuses, told.answers[0].header("location"), kept) == ([302], "https://shop.example/", 0)


def test_over_its_rate_a_key_is_told_when_to_come_again_and_its_pixels_are_not_kept(tmp_path):
    two, eleven = a_body([an_event(), an_event(bitrate=-1)]), a_body([an_event()] * 11)

    async def scenario(door):
        door.intake.gate.keyring = RING
        client = await door.client()
        told = await client.ask(
            events(SLOW, two, origin=ELSEWHERE),
            events(SLOW, eleven, origin=ELSEWHERE),
            events(SLOW, origin=ELSEWHERE),
            a_pixel(f"{START}&key={SLOW}", origin=ELSEWHERE),
            events(PUBLIC),
        )
        return told, len(door.stored()), len(door.ads())

    told, rows, ads = over_both(tmp_path, scenario, keys=REQUIRED)
    assert (told.statuses, rows, ads) == ([200, 200, 429, 200, 200], 3, 0)
    limited = told.answers[2]
    assert json.loads(limited.body)["error"] == "rate_limited"
    assert limited.header("retry-after") == "3", "11 events over, at 10 a second: 1.1 to 2.2 s, jittered"
    assert limited.header("access-control-expose-headers") == "Retry-After"
    assert limited.header("access-control-allow-origin") == ELSEWHERE


def test_what_cannot_be_read_costs_its_key_too(tmp_path):
    told, kept = over_both(tmp_path, asked(*[events(SLOW, b"{")] * 3, events(SLOW)), keys=REQUIRED)
    assert (told.statuses, kept) == ([400, 400, 400, 429], 0)


def test_a_key_that_is_revoked_is_refused_in_the_middle_of_a_connection_and_of_a_body(tmp_path):
    request = events(PUBLIC)

    async def scenario(door):
        door.intake.gate.keyring = RING
        client, slow = await door.client(), await door.client()
        before = await client.ask(request)
        await slow.ask(request[:-9])
        door.intake.gate.keyring = Keyring([a_key(PUBLIC, off=True)])
        return before, await client.ask(request), await slow.ask(request[-9:]), len(door.stored())

    before, after, slow, kept = over_both(tmp_path, scenario, keys=REQUIRED)
    assert (before.statuses, after.statuses, slow.statuses, kept) == ([200], [200, 403], [403], 1)


@pytest.mark.parametrize("lean", [True, False], ids=["lean", "general"])
def test_an_event_without_an_id_is_its_owners(tmp_path, lean):
    event = {name: value for name, value in an_event(sequence=7).items() if name != "event_id"}
    other = new_key(b"z".__mul__, secret=False)

    async def scenario(door):
        door.intake.gate.keyring = Keyring([
            a_key(PUBLIC), a_key(SECRET, secret=True),
            Key(id=id_of(other), hash=hash_of(other), owner="another"),
        ])  # fmt: skip
        for request in (events(PUBLIC, a_body([event])), events(other, a_body([event])),
                        events(None, a_body([event]), authorization=f"Bearer {SECRET}")):  # fmt: skip
            assert (await door.ask(request)).statuses == [200]
        return door.stored()

    rows = over(tmp_path, scenario, lean=lean, keys=REQUIRED)
    ids = [row.event_id for row in rows]
    assert ids[0] == ids[2] != ids[1], "one owner's keys make the same event of it"
    row = rows[0]
    expected = derived_event_id(
        b"acme", row.session_id.bytes, 7, "play", row.content_id.bytes, row.occurred_at_us, row.position_s
    )
    assert ids[0].bytes == expected, CONTENT_ID


def test_what_became_of_a_keys_requests_is_counted_by_key_and_by_code(tmp_path):
    async def scenario(door):
        door.intake.gate.keyring = RING
        client = await door.client()
        await client.ask(
            events(PUBLIC, a_body([an_event(), an_event(bitrate=-1)])), events(PUBLIC, origin=ELSEWHERE), events("no"),
            a_pixel(f"{START}&key={PUBLIC}"), a_pixel(START),
        )  # fmt: skip
        tally = door.intake.tally
        return dict(tally._keys), dict(tally._refused)

    by_key, by_code = over_both(tmp_path, scenario, keys=REQUIRED)
    one = id_of(PUBLIC)
    assert by_key == {(one, "accepted"): 2, (one, "rejected"): 1, (one, "refused"): 1}
    assert by_code == {"origin_refused": 1, "unknown_key": 1, "missing_key": 1}
