"""A report of CMCD over either way to read HTTP: 204 for whatever could be read, its lines on disk first."""

import gzip
from typing import Any, Final
from uuid import UUID

import pytest

from config.settings import DoorSettings
from tests.builders import CONTENT_ID, RECEIVED_AT_US, a_body, an_event
from tests.contract.http_client import until
from tests.contract.http_door import HeldDisk, over, over_both
from tests.contract.http_request import a_request, byte_by_byte, chunked
from tests.incarnations import FailingDisk

ORIGIN: Final = "https://watch.example"
CRAWLER: Final = "Googlebot/2.1 (+http://www.google.com/bot.html)"
TS: Final = RECEIVED_AT_US // 1_000
LINE: Final = f'br=(900;v 64;a),cid="film-1",e=ps,sid="session-1",sn=1,sta=p,ts={TS},v=2'
FORM: Final = LINE.replace("=", "%3D").replace(",", "%2C").replace('"', "%22").replace(" ", "+").replace(";", "%3B")
BODY: Final = f"{LINE}\n{LINE.replace('sn=1', 'sn=2').replace('e=ps', 'e=t')}\n".encode()
HEADERS: Final = [
    'CMCD-Session: sid="of-headers",v=2', "CMCD-Object: br=(900)", f"CMCD-Request: e=ps,sn=7,ts={TS}",
    "CMCD-Status: sta=p",
]  # fmt: skip


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("ingest.connection.LINGERING_S", 0.1)
    monkeypatch.setattr("ingest.spool.appender.REOPEN_INTERVAL_S", 0.01)


both_ways = pytest.mark.parametrize("lean", [True, False], ids=["lean", "general"])


def a_report(body: bytes = BODY, target: str = "/v1/cmcd", **changes: Any) -> bytes:
    """As hls.js posts it."""
    return a_request(body, target=target, **({"content_type": "application/cmcd"} | changes))


def a_fetched_report(target: str = f"/v1/cmcd?CMCD={FORM}", **changes: Any) -> bytes:
    """As shaka 5.1 fetches it."""
    return a_request(method="GET", target=target, **({"content_type": None, "content_length": None} | changes))


ZIPPED: Final = gzip.compress(BODY)
PLAIN: Final = {
    "a report": (a_report(), [204], 2),
    "its older type": (a_report(content_type="text/cmcd"), [204], 2),
    "a beacon": (a_report(content_type="text/plain;charset=UTF-8"), [204], 2),
    "no type": (a_report(content_type=None), [204], 2),
    "a type of something else": (a_report(content_type="application/json"), [204], 2),
    "with a context": (a_report(target="/v1/cmcd?device=tv&key=k"), [204], 2),
    "gzip": (a_report(ZIPPED, content_encoding="gzip"), [204], 2),
    "gzip by its magic": (a_report(ZIPPED, content_type="text/plain"), [204], 2),
    "gzip by the URL": (a_report(ZIPPED, target="/v1/cmcd?enc=gzip"), [204], 2),
    "gzip that is none": (a_report(content_encoding="gzip"), [204], 0),
    "gzip that is none by the URL": (a_report(target="/v1/cmcd?enc=gzip"), [204], 0),
    "gzip cut short": (a_report(ZIPPED[:-9], content_encoding="gzip"), [204], 0),
    "gzip of too much": (a_report(gzip.compress(b"x" * 200_000), content_encoding="gzip"), [204], 0),
    "an encoding nobody knows": (a_report(content_encoding="br"), [204], 0),
    "nonsense": (a_report(b"<html>\xff\x00"), [204], 0),
    "JSON": (a_report(b'{"sid":"s"}'), [204], 0),
    "nothing": (a_report(b""), [204], 0),
    "fetched": (a_fetched_report(), [204], 1),
    "fetched with nothing": (a_fetched_report("/v1/cmcd"), [204], 0),
    "fetched, with two lines": (a_fetched_report(f"/v1/cmcd?CMCD={FORM}&CMCD=e%3Dt&device=tv"), [204], 1),
    "fetched, in headers": (a_fetched_report("/v1/cmcd", lines=HEADERS), [204], 1),
    "posted, in headers": (a_report(lines=HEADERS), [204], 1),
    "an origin": (a_report(origin=ORIGIN), [204], 2),
    "hang up": (a_report(connection="close"), [204, 0], 2),
    "a preflight": (a_report(b"", method="OPTIONS", content_length=None, origin=ORIGIN), [204], 0),
}
"""Name → (request, statuses and 0 for a hang-up, lines stored), answered without aiohttp."""
UNUSUAL: Final = {
    "too much": (a_report(b"x" * 100_001), [204, 0], 0),
    "in chunks": (
        a_report(b"", content_length=None, transfer_encoding="chunked") + chunked(BODY, size_bytes=7), [204], 2,
    ),
    "too much, in chunks": (
        a_report(b"", content_length=None, transfer_encoding="chunked") + chunked(b"x" * 200_000), [204, 0], 0,
    ),
    "that expects": (a_report(expect="100-continue"), [204], 2),
    "HTTP/1.0": (a_report().replace(b"HTTP/1.1", b"HTTP/1.0"), [204, 0], 2),
    "a header twice": (a_fetched_report("/v1/cmcd", lines=[*HEADERS, "CMCD-Status: bs"]), [204], 1),
    "an encoded path": (a_report(target="/v1/%63mcd"), [204], 2),
    "PUT": (a_report(method="PUT"), [405], 0),
    "a path below": (a_report(target="/v1/cmcd/hls"), [404], 0),
    "no host": (a_report(host=None), [400, 0], 0),
}  # fmt: skip
"""The same of requests that aiohttp answers over both ways."""


@pytest.mark.parametrize("name", [*PLAIN, *UNUSUAL])
def test_a_report_has_one_answer_over_both_ways(tmp_path, name):
    request, statuses, lines = (PLAIN | UNUSUAL)[name]

    async def scenario(door):
        told = await door.ask(request, closed=statuses[-1] == 0)
        assert door.handed_over or (door.lean and name in PLAIN)
        assert not (door.handed_over and door.lean and name in PLAIN)
        return told, len(door.lines())

    told, kept = over_both(tmp_path, scenario, body_max_bytes=100_000, decoded_max_bytes=150_000)
    assert ([status for status in told.statuses if status != 100], kept) == (statuses, lines)
    for answer in told.answers:
        if answer.status == 204:
            assert answer.body == b"" and answer.header("content-length") is None
            assert answer.header("access-control-allow-origin") == (
                ORIGIN if "Origin" in request.decode("latin-1") else "*"
            )


def test_what_a_report_and_its_request_say_is_in_its_lines(tmp_path):
    query = f"profile={CONTENT_ID}&platform=tizen&cdn=edge-1&key=secret"
    about: dict[str, Any] = {
        "user_agent": "Mozilla/5.0 (X11; Linux)",
        "sec_ch_ua_platform": '"Chrome OS"',
        "cf_ipcountry": "DE",
    }

    async def scenario(door):
        await door.ask(a_report(target=f"/v1/cmcd?{query}", **about))
        await door.ask(a_fetched_report(f"/v1/cmcd?{query}&CMCD={FORM}", **about))
        return door.lines()

    posted, beat, fetched = over_both(tmp_path, scenario, country_header="CF-IPCountry")
    assert fetched == posted, "it is the same target, too"
    assert (posted.session_id, posted.sequence, posted.event, posted.state) == ("session-1", 1, "ps", "p")
    assert (posted.content_id, posted.bitrate_kbps, posted.owner) == ("film-1", 900, "")
    assert (posted.profile_id, posted.device_type, posted.platform) == (UUID(CONTENT_ID), "web", "tizen")
    assert (posted.cdn_edge, posted.country, posted.received_at_us) == ("edge-1", "DE", RECEIVED_AT_US)
    assert (beat.event, beat.sequence, beat.target) == ("t", 2, posted.target)


def test_headers_go_before_the_query_and_the_query_before_the_body(tmp_path):
    async def scenario(door):
        await door.ask(a_report(target=f"/v1/cmcd?CMCD={FORM.replace('sn%3D1', 'sn%3D5')}", lines=HEADERS))
        await door.ask(a_report(target=f"/v1/cmcd?CMCD={FORM.replace('sn%3D1', 'sn%3D5')}"))
        return [line.sequence for line in door.lines()]

    assert over_both(tmp_path, scenario) == [7, 5]


def test_a_preflight_allows_what_players_send(tmp_path):
    async def scenario(door):
        return await door.ask(PLAIN["a preflight"][0])

    (answer,) = over_both(tmp_path, scenario).answers
    assert answer.header("access-control-allow-methods") == "GET, POST, OPTIONS"
    assert answer.header("access-control-max-age") == "7200"
    assert answer.header("access-control-allow-credentials") == "true"
    allowed = set(str(answer.header("access-control-allow-headers")).split(", "))
    assert allowed >= {
        "content-type", "content-encoding", "authorization", "cmcd-request", "cmcd-object", "cmcd-status",
        "cmcd-session",
    }  # fmt: skip


def test_reports_and_events_share_a_connection_however_it_is_cut(tmp_path):
    event = a_request(a_body([an_event()]))
    requests = [a_report(), a_report(), event, a_fetched_report(), a_report(b"x"), event, a_report()]

    async def scenario(door):
        together = await door.ask(b"".join(requests))
        cut = await door.ask(*byte_by_byte(b"".join(requests)))
        assert cut == together
        assert door.handed_over is not door.lean
        return together.statuses, len(door.lines()), len(door.stored())

    assert over_both(tmp_path, scenario) == ([204, 204, 200, 204, 204, 200, 204], 14, 4)


def test_what_is_not_kept_is_in_the_books_and_what_cannot_be_read_is_counted(tmp_path):
    old, new = LINE.replace(str(TS), "1"), LINE.replace(str(TS), f"{TS + 10**8}")
    lines = ["<html>", f"e=ps,ts={TS},v=2", LINE + ",v=3", old, new]

    async def scenario(door):
        await door.ask(a_report("\n".join(lines).encode()) + a_report(("\n".join(lines) + "\n" + LINE).encode()))
        for name in ("gzip cut short", "gzip of too much", "an encoding nobody knows"):
            await door.ask(PLAIN[name][0])
        await door.ask(UNUSUAL["too much"][0], closed=True)
        door.stored()
        (reader,) = door._readers.values()
        tally = door.intake.tally
        return reader.state.rejected_by_code, dict(tally._rejected), dict(tally._refused), tally._accepted

    books, rejected, refused, accepted = over_both(
        tmp_path, scenario, body_max_bytes=100_000, decoded_max_bytes=150_000
    )
    codes = ["cmcd_unreadable", "cmcd_no_session", "cmcd_version", "too_old", "too_new"]
    assert (rejected, accepted) == (dict.fromkeys(codes, 2), 1)
    assert (books[18], books[19], books[22:25]) == (2, 2, (2, 2, 2))
    assert refused == {"corrupt_encoding": 1, "body_too_large": 2, "unsupported_encoding": 1}


def test_what_a_crawler_reports_is_a_test_unless_it_shall_count(tmp_path):
    async def scenario(door):
        await door.ask(a_report(user_agent=CRAWLER) + a_fetched_report(user_agent="okhttp/4.9.3"))
        return [line.test for line in door.lines()], door.intake.tally.crawlers

    assert over_both(tmp_path / "kept out", scenario) == ([True, True, False], 1)
    counted = DoorSettings(crawlers_are_tests=False)
    assert over_both(tmp_path / "counted", scenario, door=counted) == ([False] * 3, 0)


@pytest.mark.parametrize("code", ["spool_full", "draining"])
@pytest.mark.parametrize("request_", [a_report(), a_fetched_report()], ids=["posted", "fetched"])
def test_a_closed_door_is_said_for_it_is_worth_trying_again(tmp_path, code, request_):
    async def scenario(door):
        setattr(door.intake.admission, code, True)
        return await door.ask(request_), len(door.lines())

    told, kept = over_both(tmp_path, scenario)
    (answer,) = told.answers
    assert (answer.status, kept) == (503, 0)
    assert answer.header("retry-after") in ("2", "3")
    assert answer.header("access-control-allow-origin") == "*"


def test_a_report_that_cannot_be_put_on_disk_is_told_so(tmp_path):
    async def scenario(door):
        door.disk.nth, door.disk.broken = len(door.disk.made), True
        client = await door.client()
        failing, gone = await client.ask(a_report()), await client.ask(a_fetched_report())
        door.disk.nth = -1
        await until(lambda: bool(door.appender.writable))
        return failing, gone, await client.ask(a_report()), len(door.lines())

    *_, told, lines = over_both(tmp_path, scenario, on=FailingDisk)
    assert (told.statuses, lines) == ([503, 503, 204], 2)


@both_ways
def test_a_report_waits_for_the_disk_and_a_page_that_is_left_loses_none(tmp_path, lean):
    async def scenario(door):
        door.disk.going.clear()
        client, leaving = await door.client(), await door.client()
        await client.send(a_report())
        await leaving.send(a_report())
        assert client.heard().answers == []
        leaving.hang_up(at_once=True)
        door.disk.going.set()
        assert (await client.told()).statuses == [204]
        await until(lambda: len(door.lines()) == 4)
        await until(lambda: door.intake.admission.inflight_bytes == 0)

    over(tmp_path, scenario, lean=lean, on=HeldDisk)


RAW: Final = "/v1/cmcd?title=le caf\xe9&CMCD=" + LINE.replace(";", "%3B")


def test_a_url_that_nobody_escaped_is_read_and_behind_another_one_where_we_read_it(tmp_path):
    raw = RAW
    chunks = a_report(b"", raw, content_length=None, transfer_encoding="chunked") + chunked(BODY)

    async def scenario(door):
        whole = await door.ask(a_fetched_report(raw) + a_report(target=raw) + chunks)
        assert await door.ask(*byte_by_byte(a_fetched_report(raw))) == await door.ask(a_fetched_report(raw))
        return whole.statuses, {line.content_id for line in door.lines()}, len(door.lines())

    assert over(tmp_path, scenario, lean=True) == ([204] * 3, {"film-1"}, 5)
    assert over(tmp_path, scenario, lean=False) == ([400, 0], {"film-1"}, 2), (
        "in one piece with others aiohttp refuses it"
    )


def test_a_url_that_nobody_escaped_is_read_by_either_way_however_it_is_cut(tmp_path):
    async def scenario(door):
        told = [
            await door.ask(a_fetched_report(RAW)),
            await door.ask(*byte_by_byte(a_fetched_report(RAW))),
            await door.ask(b"GET /v1/cm", a_fetched_report(RAW)[10:]),
            await door.ask(a_report(target=RAW)),
        ]
        return [one.statuses for one in told], {line.content_id for line in door.lines()}, len(door.lines())

    assert over_both(tmp_path, scenario) == ([[204]] * 4, {"film-1"}, 4)


def test_a_raw_line_that_does_not_end_is_refused_by_either_way(tmp_path):
    async def scenario(door):
        told = await door.ask(b"GET /v1/cmcd?CMCD=" + b"\xe9" * 70_000)
        return told.statuses[0]

    assert over_both(tmp_path, scenario) in (400, 431)


def test_an_answer_is_kept_by_no_cache_and_a_slash_at_the_end_is_no_other_place(tmp_path):
    async def scenario(door):
        told = await door.ask(a_fetched_report(f"/v1/cmcd/?CMCD={FORM}") + a_report(target="/v1/cmcd/"))
        assert [answer.header("cache-control") for answer in told.answers] == ["no-store"] * 2
        told = await door.ask(a_fetched_report(f"/v1/cmcd?CMCD={FORM}"))
        assert told.answers[0].header("cache-control") == "no-store"
        return len({line.target for line in door.lines()}), len(door.lines())

    assert over_both(tmp_path, scenario) == (1, 4)


def test_a_long_url_is_read(tmp_path):
    target = f"/v1/cmcd?CMCD={FORM}&x=" + "y" * 15_000

    async def scenario(door):
        return (await door.ask(a_fetched_report(target))).statuses, len(door.lines())

    assert over_both(tmp_path, scenario) == ([204], 1)
