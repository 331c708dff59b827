"""Whatever becomes of a request's bytes, both ways give the same answers and store the same events."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from config.settings import AdsSettings
from ingest.ad import AdRow
from ingest.tuple import Row
from tests.builders import a_uuid
from tests.contract.http_client import Told
from tests.contract.http_door import Door, opened
from tests.contract.http_request import a_request, an_event_text, byte_by_byte

BODY: Final = an_event_text()
REQUESTS: Final = [
    a_request(BODY),
    a_request(BODY, origin="https://watch.example", connection="keep-alive", lines=["X-Empty:", "Accept: */*"]),
    a_request(b"[%b,%b]" % (BODY, an_event_text()), target="/v1/events?a=b", content_encoding="identity"),
    a_request(method="OPTIONS", origin="https://watch.example"),
    a_request(BODY, prefer="return=minimal", connection="close"),
    a_request(content_length=None, transfer_encoding="chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    a_request(method="GET", target=f"/v1/ad/start?imp={a_uuid()}&cr=[X]", content_type=None, content_length=None),
    a_request(method="GET", target=f"/v1/ad/click?imp={a_uuid()}&to=https://shop.example/", connection="close"),
]
SHOP: Final = AdsSettings(click_hosts="shop.example")
BEHIND: Final = a_request(an_event_text())
"""A valid one follows, and is answered or not."""
PIECES: Final = [
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b",", b";", b"#", b"?", b"%", b"/"),
    *(b"\0", b"\x01", b"\x7f", b"\xff"),
    *(b"0", b"5", b"+", b"-", b"0x", b"chunked", b"close", b"HTTP/1.0", b"HTTP/0.9", b" HTTP/1.1", b"PUT "),
]  # fmt: skip
LINES: Final = [
    *("Transfer-Encoding: chunked", "Transfer-Encoding:\tchunked", "Transfer-Encoding: identity", "Transfer-Encoding:"),
    *("Transfer-Encoding: gzip, chunked", "Transfer-Encoding: , chunked", "Transfer-Encoding: Chunked "),
    *("Content-Length: 5", "Content-Length: 0", "Content-Length : 5", "Content-Length:", "content-length: +5"),
    *("Connection: close", "Connection: upgrade", "Connection:", "Proxy-Connection: close", "Keep-Alive: 5"),
    *("Upgrade: websocket", "Expect: 100-continue", "Expect: 1", "Trailer: X", "TE: trailers", "Host: b", "Host:"),
    *("Sec-WebSocket-Key1: 1", "Origin: a ", "Origin:", "Content-Type: text/plain ;a", "Content-Type: x", "ETag: 1"),
    *("Content-Encoding: gzip", "Prefer: return=minimal", "X:", ":", "X", " X: folded", "X: \x01", "X: \xe4"),
]


class Mutation(NamedTuple):
    """`at` is taken by the length of what it is done to; `removed` bytes there make room for `inserted`."""

    at: int
    removed: int
    inserted: bytes

    def of(self, data: bytes) -> bytes:
        at = self.at % (len(data) + 1)
        if self.inserted.endswith(b"\n"):  # a line is put between lines
            at = data.find(b"\r\n", at) + 2
        return data[:at] + self.inserted + data[at + self.removed :]


HEAD_ENDS: Final = 200
"""About there: two thirds of the mutations are before it."""
PLACES: Final = st.integers(0, HEAD_ENDS) | st.integers(0, 100) | st.integers(0, 10_000)
LINE_BYTES: Final = [f"{line}\r\n".encode("latin-1") for line in LINES]
INSERTED: Final = st.sampled_from([*PIECES, *LINE_BYTES]) | st.binary(max_size=2)
MUTATIONS: Final = st.builds(Mutation, PLACES, st.integers(0, 3), INSERTED)
THOROUGH: Final = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


class Heard(NamedTuple):
    """What became of the bytes."""

    told: Told
    rows: list[Row | AdRow]


class Doors:
    """Both ways in, over many examples."""

    def __init__(self, runner: asyncio.Runner, lean: Door, general: Door) -> None:
        self._runner, self.lean, self.general = runner, lean, general

    def hear(self, door: Door, *pieces: bytes) -> Heard:
        async def asked() -> Heard:
            events, ads = len(door.stored()), len(door.ads())
            told = await door.ask(*pieces)
            return Heard(told, [*door.stored()[events:], *door.ads()[ads:]])

        return self._runner.run(asked())


@pytest.fixture
def doors(tmp_path) -> Iterator[Doors]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = AsyncExitStack()

        async def enter(*, lean: bool) -> Door:
            return await stack.enter_async_context(opened(tmp_path, lean=lean, ads=SHOP))

        try:
            yield Doors(runner, runner.run(enter(lean=True)), runner.run(enter(lean=False)))
        finally:
            runner.run(stack.aclose())


def dropped_by_aiohttp(lean: Heard, general: Heard) -> bool:
    """The exception of test_http_smuggling: what came in one piece with broken HTTP, it never handles."""
    if not general.told.closed or general.told.statuses[-2] not in (400, 431):
        return False
    handled = len(general.told.answers) - 1
    return general.told.answers[:handled] == lean.told.answers[:handled] and len(general.rows) <= len(lean.rows)


@THOROUGH
@given(st.sampled_from(REQUESTS), st.lists(MUTATIONS, min_size=1, max_size=4))
@example(REQUESTS[0], [Mutation(24, 0, b"Connection: upgrade\r\n")])
@example(REQUESTS[0], [Mutation(24, 0, b"Proxy-Connection: close\r\n")])
@example(REQUESTS[2], [Mutation(19, 0, b"#")])
def test_a_mutated_request_has_one_answer_over_both_ways(doors, request_bytes, mutations):
    data = request_bytes
    for mutation in mutations:
        data = mutation.of(data)
    pieces = byte_by_byte(data + BEHIND)
    assert doors.hear(doors.lean, *pieces) == doors.hear(doors.general, *pieces)
    for before in ((), (request_bytes,)):  # behind the whole request, its head is compared
        lean, general = (doors.hear(door, *before, data + BEHIND) for door in (doors.lean, doors.general))
        assert lean == general or dropped_by_aiohttp(lean, general)
