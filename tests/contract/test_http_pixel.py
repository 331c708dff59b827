"""A pixel over either way to read HTTP: a GIF for whatever names it, on disk first, and never for ever."""

import json
from typing import Any, Final
from uuid import UUID

import pytest

from config.settings import AdsSettings, DoorSettings
from ingest.pixel import GIF
from tests.builders import CONTENT_ID, RECEIVED_AT_US, a_body, an_ad_event, an_event
from tests.contract.http_client import until
from tests.contract.http_door import HeldDisk, over, over_both
from tests.contract.http_request import a_request, byte_by_byte, chunked
from tests.incarnations import FailingDisk

ORIGIN: Final = "https://watch.example"
IMP: Final = "0b9a3c52-0000-4000-8000-00000000000a"
START: Final = f"/v1/ad/start?imp={IMP}&cmp={CONTENT_ID}&cr=7&ts=[TIMESTAMP]&cb=%%CACHEBUSTER%%"
CRAWLER: Final = "Googlebot/2.1 (+http://www.google.com/bot.html)"
HEADERS: Final = {
    "access-control-allow-origin": "*",
    "cache-control": "no-store, no-cache, must-revalidate, private",
    "content-length": "43",
    "content-type": "image/gif",
    "cross-origin-resource-policy": "cross-origin",
    "server": "streamverse-ingest",
    "timing-allow-origin": "*",
    "vary": "Origin",
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("ingest.connection.LINGERING_S", 0.1)
    monkeypatch.setattr("ingest.spool.appender.REOPEN_INTERVAL_S", 0.01)


both_ways = pytest.mark.parametrize("lean", [True, False], ids=["lean", "general"])


def a_pixel(target: str = START, method: str = "GET", **changes: Any) -> bytes:
    """As a browser's Image asks for it."""
    asking: dict[str, Any] = {"content_type": None, "content_length": None, "accept": "image/avif,*/*;q=0.8"}
    return a_request(method=method, target=target, **(asking | changes))


PLAIN: Final = {
    "an event": (a_pixel(), [200], 1),
    "another event": (a_pixel(START.replace("start", "FIRSTQUARTILE")), [200], 1),
    "below a path": (a_pixel(START.replace("ad/", "ad/vendor/7/")), [200], 1),
    "an event nobody knows": (a_pixel(START.replace("start", "nap")), [200], 0),
    "no event": (a_pixel("/v1/ad/"), [200], 0),
    "no query": (a_pixel("/v1/ad/start"), [200], 0),
    "an impression that is none": (a_pixel("/v1/ad/start?imp=7"), [200], 0),
    "a long URL": (a_pixel(START + "&x=" + "y" * 1_700), [200], 1),
    "an odd query": (a_pixel(START + "&?&=%ZZ;%00|{}\"'<>"), [200], 1),
    "a slash in its path, escaped": (a_pixel(START.replace("ad/", "ad/nap%2F")), [200], 1),
    "dots in its path": (a_pixel(START.replace("ad/", "ad/../")), [200], 1),
    "HEAD": (a_pixel(method="HEAD"), [200], 1),
    "an empty body": (a_pixel(content_length="0"), [200], 1),
    "an origin": (a_pixel(origin=ORIGIN), [200], 1),
    "hang up": (a_pixel(connection="close"), [200, 0], 1),
    "HEAD, and hang up": (a_pixel(method="HEAD", connection="close"), [200, 0], 1),
    "a preflight": (a_pixel(method="OPTIONS", origin=ORIGIN), [204], 0),
}
"""Name → (request, statuses and 0 for a hang-up, ad events stored), answered without aiohttp."""
UNUSUAL: Final = {
    "POST": (a_request(target=START, method="POST"), [200], 1),
    "POST with a form": (a_request(b"imp=7&event=skip", target=START), [200], 1),
    "POST of what fits": (a_request(b"x" * 4_096, target=START), [200], 1),
    "POST of too much": (a_request(b"x" * 4_097, target=START), [413, 0], 0),
    "POST that expects": (a_request(b"x", target=START, expect="100-continue"), [200], 1),
    "PUT": (a_request(target=START, method="PUT"), [405], 0),
    "GET with a body": (a_request(b"x", method="GET", target=START), [200], 1),
    "HTTP/1.0": (a_pixel().replace(b"HTTP/1.1", b"HTTP/1.0"), [200, 0], 1),
    "a fragment": (a_pixel(START + "#x"), [200], 1),
    "an encoded path": (a_pixel(START.replace("ad", "%61d")), [200], 1),
    "an absolute URL": (a_pixel("http://127.0.0.1" + START), [200], 1),
    "no host": (a_pixel(host=None), [400, 0], 0),
    "too long a URL": (a_pixel(START + "&x=" + "y" * 2_000), [431, 0], 0),
    "a path beside it": (a_pixel("/v1/ads/start"), [404], 0),
    "the path above": (a_pixel("/v1/ad"), [404], 0),
    "letters beyond ASCII": (a_pixel(origin="https://w\xe4tch.example"), [200], 1),
}
"""The same of requests that aiohttp answers over both ways."""


async def told_and_kept(door, request, statuses, *, of_head):
    before = len(door.ads())
    told = await door.ask(request, closed=statuses[-1] == 0, of_head=of_head)
    return told, door.ads()[before:]


@pytest.mark.parametrize("name", [*PLAIN, *UNUSUAL])
def test_a_pixel_has_one_answer_over_both_ways(tmp_path, name):
    request, statuses, events = (PLAIN | UNUSUAL)[name]

    async def scenario(door):
        told = await told_and_kept(door, request, statuses, of_head=name.startswith("HEAD"))
        assert door.handed_over or (door.lean and name in PLAIN)
        assert not (door.handed_over and door.lean and name in PLAIN)
        return told

    told, kept = over_both(tmp_path, scenario, header_max_bytes=2_000)
    assert (told.statuses, len(kept)) == (statuses, events)
    answer = told.answers[-1]
    if answer.status == 200:
        assert answer.body == (b"" if name.startswith("HEAD") else GIF)
        assert answer.header("content-length") == "43"


def test_a_pixel_is_a_picture_that_nobody_keeps_and_everybody_may_show(tmp_path):
    async def scenario(door):
        return (await door.ask(a_pixel() + a_pixel(origin=ORIGIN))).answers, door.ads()

    (nobody, origin), kept = over_both(tmp_path, scenario)
    assert dict(nobody.headers) == HEADERS
    assert dict(origin.headers) == HEADERS | {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "Retry-After",
    }
    assert nobody.body == GIF
    assert len(kept) == 2
    assert (kept[0].impression_id, kept[0].event, kept[0].campaign_id) == (UUID(IMP), "start", UUID(CONTENT_ID))
    assert (kept[0].creative_id, kept[0].occurred_at_us, kept[0].test) == ("7", RECEIVED_AT_US, False)


def test_a_pixel_s_preflight_names_its_methods(tmp_path):
    async def scenario(door):
        return await door.ask(PLAIN["a preflight"][0])

    (answer,) = over_both(tmp_path, scenario).answers
    assert answer.header("access-control-allow-methods") == "GET, HEAD, POST, OPTIONS"
    assert answer.header("access-control-max-age") == "7200"


def test_other_methods_are_told_which_there_are(tmp_path):
    async def scenario(door):
        return await door.ask(UNUSUAL["PUT"][0])

    (answer,) = over_both(tmp_path, scenario).answers
    assert answer.header("allow") == "GET, HEAD, POST, OPTIONS"


def test_pixels_and_events_share_a_connection_however_it_is_cut(tmp_path):
    event = a_request(a_body([an_event(), an_ad_event()]))
    requests = [a_pixel(), event, a_pixel("/v1/ad/nap"), a_pixel(), event, event, a_pixel(method="OPTIONS"), a_pixel()]

    async def scenario(door):
        together = await door.ask(b"".join(requests))
        cut = await door.ask(*byte_by_byte(b"".join(requests)))
        assert cut == together
        assert door.handed_over is not door.lean
        return together, len(door.ads()), len(door.stored())

    told, ads, events = over_both(tmp_path, scenario)
    assert told.statuses == [200, 200, 200, 200, 200, 200, 204, 200]
    assert (ads, events) == (12, 6)
    assert [answer.header("content-type") for answer in told.answers][:3] == [
        "image/gif",
        "application/json",
        "image/gif",
    ]


def test_pixels_cut_in_two_anywhere_are_answered_as_in_one_piece(tmp_path):
    data = a_pixel(origin=ORIGIN) + a_pixel("/v1/ad/nap") + a_pixel()

    async def scenario(door):
        told = [await door.ask(data[:cut], data[cut:]) for cut in range(len(data))]
        assert door.handed_over is not door.lean
        return told, len(door.ads())

    told, ads = over_both(tmp_path, scenario)
    assert told[0].statuses == [200] * 3
    assert [cut for cut, one in enumerate(told) if one != told[0]] == []
    assert ads == 2 * len(data)


HIDING: Final = {
    "in its body": a_pixel(content_length=str(len(a_pixel()))) + a_pixel(),
    "in chunks": a_pixel(transfer_encoding="chunked") + chunked(a_pixel()),
}
REFUSED: Final = {
    "by two lengths": a_pixel(lines=["Content-Length: 0", f"Content-Length: {len(a_pixel())}"]) + a_pixel(),
    "by length and chunks": a_pixel(content_length="0", transfer_encoding="chunked") + a_pixel(),
    "by a bare line feed": a_pixel(lines=["X-A: 1\nX-B: 1"]) + a_pixel(),
}


@pytest.mark.parametrize("name", [*HIDING, *REFUSED])
def test_where_a_pixel_ends_is_never_in_doubt(tmp_path, name):
    async def scenario(door):
        told = await door.ask((HIDING | REFUSED)[name])
        return told.statuses[0], len(told.answers), len(door.ads())

    hears = [over(tmp_path, scenario, lean=lean) for lean in (True, False)]
    assert hears[0] == hears[1]
    assert hears[0] == ((200, 1, 1) if name in HIDING else (400, 1, 0))


RAW: Final = {
    "a blank": START + " x",
    "blanks and a version": START + "&x= HTTP/1.1 y",
    "letters beyond ASCII": START + "&x=fil\xe4m",
    "both in its path": START.replace("ad/", "ad/m\xe9 dia/"),
}


@pytest.mark.parametrize("name", RAW)
def test_a_url_that_nobody_escaped_is_read_where_we_read_it_and_ends_where_its_line_does(tmp_path, name):
    requests = [a_pixel(RAW[name]), a_pixel(), a_request(b"x=1", target=RAW[name])]  # the last one is aiohttp's

    async def scenario(door):
        whole = await door.ask(b"".join(requests))
        cut = await door.ask(*byte_by_byte(b"".join(requests)))
        assert cut == whole
        return whole.statuses, len(door.ads())

    assert over(tmp_path, scenario, lean=True) == ([200] * 3, 6)

    async def one_by_one(door):
        return [(await door.ask(request)).statuses for request in requests], len(door.ads())

    assert over(tmp_path, one_by_one, lean=False) == ([[200]] * 3, 3)


def test_what_a_crawler_fires_is_a_test_unless_it_shall_count(tmp_path):
    async def scenario(door):
        await door.ask(a_pixel(user_agent=CRAWLER) + a_pixel(user_agent="okhttp/4.9.3"))
        return [row.test for row in door.ads()]

    assert over_both(tmp_path / "kept out", scenario) == [True, False]
    counted = DoorSettings(crawlers_are_tests=False)
    assert over_both(tmp_path / "counted", scenario, door=counted) == [False, False]


def test_what_is_not_kept_is_in_the_books(tmp_path):
    codes = {"nap": "unknown_event", "start": "missing_field", "skip?imp=7": "invalid_uuid"}

    async def scenario(door):
        for target in codes:
            await door.ask(a_pixel(f"/v1/ad/{target}"))
        await door.ask(a_pixel())
        door.stored()
        (reader,) = door._readers.values()
        totals = reader.state.totals
        return totals.received, dict(door.intake.tally._rejected), door.intake.tally._accepted

    received, rejected, accepted = over_both(tmp_path, scenario)
    assert rejected == dict.fromkeys(codes.values(), 1)
    assert accepted == 1
    assert received >= 4, "and what it took to see them"


@pytest.mark.parametrize("code", ["spool_full", "draining"])
def test_a_closed_door_is_a_picture_too(tmp_path, code):
    async def scenario(door):
        setattr(door.intake.admission, code, True)
        return await door.ask(a_pixel()), door.ads()

    told, kept = over_both(tmp_path, scenario)
    (answer,) = told.answers
    assert (answer.status, answer.body, kept) == (503, GIF, [])
    assert (answer.header("content-type"), answer.header("cache-control")) == ("image/gif", HEADERS["cache-control"])
    assert answer.header("retry-after") in ("2", "3")


def test_bodies_that_fill_the_budget_keep_no_pixel_out(tmp_path):
    async def scenario(door):
        assert door.intake.admission.book(2**20)
        told = await door.ask(a_request(a_body([an_event()]))), await door.ask(a_pixel())
        assert door.intake.admission.book(0) and not door.intake.admission.book(1)
        door.intake.admission.inflight_bytes += 2**16
        overdone = await door.ask(a_pixel())
        door.intake.admission.release(2**20 + 2**16)
        return [one.statuses for one in (*told, overdone)], door.intake.tally._refused["overloaded"], len(door.ads())

    assert over_both(tmp_path, scenario, inflight_max_bytes=2**20) == ([[503], [200], [503]], 2, 1)


def test_a_pixel_that_cannot_be_put_on_disk_is_told_so(tmp_path):
    async def scenario(door):
        door.disk.nth, door.disk.broken = len(door.disk.made), True
        client = await door.client()
        failing, gone = await client.ask(a_pixel()), await client.ask(a_pixel())
        door.disk.nth = -1
        await until(lambda: bool(door.appender.writable))
        return failing, gone, await client.ask(a_pixel()), len(door.ads())

    *_, told, events = over_both(tmp_path, scenario, on=FailingDisk)
    assert told.statuses == [503, 503, 200]
    assert [answer.body for answer in told.answers] == [GIF] * 3
    assert events == 1


@both_ways
def test_a_pixel_is_answered_by_its_deadline_however_long_the_disk_takes(tmp_path, lean):
    async def scenario(door):
        door.disk.going.clear()
        client, other = await door.client(), await door.client()
        await client.send(a_pixel())
        await other.send(a_request(a_body([an_event()])))
        late = await client.until(1)
        assert other.heard().answers == [], "events wait: their client has them still"
        door.disk.going.set()
        again = await client.ask(a_pixel())
        return late, again, (await other.told()).statuses, len(door.ads()), door.intake.tally._refused["ad_deadline"]

    late, again, other, events, refused = over(tmp_path, scenario, lean=lean, on=HeldDisk, ad_deadline_s=1)
    assert (late.statuses, late.answers[0].body) == ([503], GIF)
    assert again.statuses == [503, 200]
    assert (other, events, refused) == ([200], 2, 1)


@both_ways
def test_a_page_that_is_left_loses_no_pixel(tmp_path, lean):
    async def scenario(door):
        door.disk.going.clear()
        client = await door.client()
        await client.send(a_pixel())
        client.hang_up(at_once=True)
        door.disk.going.set()
        await until(lambda: len(door.ads()) == 1)
        await until(lambda: door.intake.admission.inflight_bytes == 0)

    over(tmp_path, scenario, lean=lean, on=HeldDisk)


CLICK: Final = f"/v1/ad/click?imp={IMP}&cmp={CONTENT_ID}&to=https%3A%2F%2Fshop.example%2F%3Fa%3D1%26b%3D2"
SHOP: Final = AdsSettings(click_secret="s" * 32, click_hosts="shop.example")


def test_a_click_is_kept_and_then_sent_on(tmp_path):
    async def scenario(door):
        told = await door.ask(a_pixel(CLICK) + a_pixel(CLICK, origin=ORIGIN) + a_request(target=CLICK))
        head = await door.ask(a_pixel(CLICK, method="HEAD"), of_head=True)
        return told, head, [(row.event, str(row.impression_id)) for row in door.ads()]

    told, head, kept = over_both(tmp_path, scenario, ads=SHOP)
    assert told.statuses == [302] * 3
    assert head.statuses == [302]
    for answer in told.answers:
        assert answer.header("location") == "https://shop.example/?a=1&b=2"
        assert answer.header("cache-control") == "no-store"
    assert kept == [("click", IMP)] * 4


def test_a_click_to_nowhere_we_know_is_refused_and_not_kept(tmp_path):
    elsewhere = CLICK.replace("shop", "evil")

    async def scenario(door):
        told = await door.ask(a_pixel(elsewhere) + a_pixel(elsewhere + "&sig=x") + a_pixel("/v1/ad/click?to=x"))
        return told, dict(door.intake.tally._refused), len(door.ads())

    told, refused, kept = over_both(tmp_path, scenario, ads=SHOP)
    codes = ["unsigned_target", "invalid_signature", "invalid_target"]
    assert [(answer.status, json.loads(answer.body)["error"]) for answer in told.answers] == [(400, c) for c in codes]
    assert (refused, kept) == (dict.fromkeys(codes, 1), 0)


def test_a_click_without_an_impression_goes_on_uncounted(tmp_path):
    async def scenario(door):
        told = await door.ask(a_pixel(CLICK.replace(IMP, "[IMPRESSION_ID]")) + a_pixel(f"/v1/ad/click?imp={IMP}"))
        return told, dict(door.intake.tally._rejected), len(door.ads())

    told, rejected, kept = over_both(tmp_path, scenario, ads=SHOP)
    assert (told.statuses, rejected, kept) == ([302, 200], {"missing_field": 1}, 1)


def test_a_click_that_cannot_be_kept_is_not_sent_on(tmp_path):
    async def scenario(door):
        door.intake.admission.spool_full = True
        return await door.ask(a_pixel(CLICK)), door.ads()

    told, kept = over_both(tmp_path, scenario, ads=SHOP)
    assert (told.statuses, kept) == ([503], [])
