"""The browser module over either way to read HTTP: whole, cached, and no burden to the connections of events."""

import gzip
from typing import Any, Final

import pytest

import sdk
from tests.builders import a_body, an_event
from tests.contract.http_door import over, over_both
from tests.contract.http_request import a_request

ORIGIN: Final = "https://watch.example"
BODIES: Final = {"/sdk/v1.js": sdk.module(), "/sdk/v1.d.ts": sdk.types()}
HEADERS: Final = {
    "access-control-allow-origin": "*",
    "cache-control": "public, max-age=3600",
    "connection": "close",
    "cross-origin-resource-policy": "cross-origin",
    "server": "streamverse-ingest",
    "vary": "Accept-Encoding",
    "x-content-type-options": "nosniff",
}


def asked(path: str = "/sdk/v1.js", method: str = "GET", **headers: Any) -> bytes:
    """As a browser asks for a module of another origin."""
    return a_request(
        method=method, target=path, content_type=None, content_length=None, origin=ORIGIN, **headers
    )  # fmt: skip


def told(tmp_path: Any, request: bytes, *, of_head: bool = False) -> Any:
    async def scenario(door):
        return await door.ask(request, closed=True, of_head=of_head)

    answers, closed = over_both(tmp_path, scenario)
    assert closed, "the connection is aiohttp's now, and events are to have a lean one"
    (answer,) = answers
    return answer


@pytest.mark.parametrize("path", BODIES)
def test_it_is_served_to_any_page_as_it_is_and_gzipped(tmp_path, path):
    plain, packed = told(tmp_path, asked(path)), told(tmp_path, asked(path, accept_encoding="br, gzip;q=0.5"))
    assert plain.body == gzip.decompress(packed.body) == BODIES[path]
    kind = "text/javascript" if path.endswith(".js") else "text/plain"
    for answer in (plain, packed):
        headers = dict(answer.headers)
        tag, length = headers.pop("etag"), headers.pop("content-length")
        assert headers.pop("content-encoding", None) == ("gzip" if answer is packed else None)
        assert tag.startswith('"') and int(length) == len(answer.body)
        assert headers == HEADERS | {"content-type": f"{kind}; charset=utf-8"}
    assert plain.header("etag") != packed.header("etag"), "a strong tag is of bytes"


@pytest.mark.parametrize("coding", ["", "identity", "gzip;q=0", "gzip; q=0.000", "br"])
def test_who_does_not_take_gzip_gets_none(tmp_path, coding):
    assert told(tmp_path, asked(accept_encoding=coding)).body == BODIES["/sdk/v1.js"]


def test_who_has_it_is_told_so_and_gets_no_body(tmp_path):
    tag = told(tmp_path, asked()).header("etag")
    for given in (tag, f'"x", W/{tag}', "*"):
        answer = told(tmp_path, asked(if_none_match=given))
        assert (answer.status, answer.body, answer.header("etag")) == (304, b"", tag)
        assert answer.header("cache-control") == HEADERS["cache-control"]
    assert told(tmp_path, asked(if_none_match='"x"')).status == 200
    assert told(tmp_path, asked(if_none_match=tag, accept_encoding="gzip")).status == 200, "of other bytes"


def test_head_tells_the_same_without_it(tmp_path):
    answer = told(tmp_path, asked(method="HEAD"), of_head=True)
    assert (answer.status, answer.header("content-length")) == (200, str(len(BODIES["/sdk/v1.js"])))


def test_other_methods_and_paths_are_refused(tmp_path):
    answer = told(tmp_path, asked(method="DELETE"))
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")

    async def scenario(door):
        return [(await door.ask(asked(path))).statuses for path in ("/sdk/", "/sdk/v2.js", "/sdk/../gw", "/sdk")]

    assert over_both(tmp_path, scenario) == [[404]] * 4


def test_events_of_who_fetched_it_come_over_a_lean_connection(tmp_path):
    async def scenario(door):
        assert (await door.ask(asked(), closed=True)).statuses == [200, 0]
        before = door.entrance.general.requests_count
        assert (await door.ask(a_request(a_body([an_event()]), origin=ORIGIN))).statuses == [200]
        return door.entrance.general.requests_count - before

    assert over(tmp_path, scenario, lean=True) == 0
