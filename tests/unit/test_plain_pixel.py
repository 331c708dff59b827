"""A pixel's head that is compared with the last one means what it would mean if it were read."""

from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.plain import NOT_PLAIN, NOT_WHOLE, PlainReader
from tests.contract.http_request import a_request
from tests.contract.test_http_mutations import MUTATIONS

THOROUGH: Final = settings(max_examples=600, deadline=None)


def a_pixel(target: str = "/v1/ad/start?imp=1&cr=[X]", **changes: Any) -> bytes:
    return a_request(target=target, **({"method": "GET", "content_type": None, "content_length": None} | changes))


PIXELS: Final = [
    a_pixel(),
    a_pixel(origin="https://watch.example", connection="keep-alive", user_agent="Googlebot/2.1 (bot)"),
    a_pixel("/v1/ad/", content_length="0", lines=["X-Empty:"]),
]
LETTERS: Final = "?&=#%[]{}|\\^`\"'<>/:;@!$()*+,-._~ \t\r\n\0\x7féa"
PIECES: Final = st.sampled_from([*LETTERS, " HTTP/1.1", "HTTP/1.1\r\n", "../"])


def a_reader(header_max_bytes: int = 16_384) -> PlainReader:
    return PlainReader(10_000, header_max_bytes, b"cf-ipcountry")


def read(reader: PlainReader, data: bytes) -> Any:
    """What a reader makes of what begins with a head."""
    body_at = reader.next(data, 0)
    said = (reader.length_bytes, reader.last, reader.origin, reader.keep_alive, reader.path, reader.bodiless)
    return (body_at, *said) if body_at > 0 else body_at


def behind(first: bytes) -> PlainReader:
    """A reader, behind a whole pixel."""
    reader = a_reader()
    assert reader.next(first, 0) == len(first)
    assert reader._pixel_behind, "the next one is compared"
    return reader


def hold_together(first: bytes, data: bytes) -> bool:
    """Whether `data` was compared."""
    compared = behind(first)
    parser, compared._parser = compared._parser, None
    found = read(compared, data)
    was_read = compared._parser is not None
    if not was_read:  # compared, or not whole
        assert found == read(a_reader(), data)
    compared._parser = parser
    assert read(behind(first), data) == read(a_reader(), data), "nor is anything left of the one before"
    return not was_read and found != NOT_WHOLE


@THOROUGH
@given(st.sampled_from(PIXELS), st.lists(MUTATIONS, min_size=1, max_size=3))
def test_a_head_like_the_last_one_is_what_it_would_be_alone(first, mutations):
    data = first
    for mutation in mutations:
        data = mutation.of(data)
    hold_together(first, data)


@THOROUGH
@given(st.sampled_from(PIXELS), st.lists(PIECES, max_size=6).map("".join))
@example(PIXELS[0], "start?a#b")
@example(PIXELS[0], "x HTTP/1.1\r\nContent-Length: 5\r\nX: ")
def test_whatever_stands_in_the_place_of_the_url_means_what_it_would_alone(first, tail):
    reader = behind(first)
    hold_together(first, b"GET /v1/ad/" + tail.encode() + reader._pixel_behind)


def test_another_url_is_compared():
    for first in PIXELS:
        assert hold_together(first, b"GET /v1/ad/x/complete?imp=2" + behind(first)._pixel_behind + b"GET /")


@pytest.mark.parametrize("other", [
    a_pixel(method="HEAD"), a_pixel(connection="close"), a_pixel(method="OPTIONS"), a_request(b"[]"),
])  # fmt: skip
def test_what_follows_something_else_is_read(other):
    reader = behind(PIXELS[0])
    body_at = reader.next(other, 0)
    assert body_at > 0
    reader.end(other[body_at:])
    assert not reader._pixel_behind
    if reader.keep_alive:
        assert read(reader, PIXELS[1]) == read(a_reader(), PIXELS[1])


def test_a_head_does_not_outgrow_its_bound_by_its_url():
    for more_bytes, body_at in ((0, True), (1, False)):
        reader = a_reader(len(PIXELS[0]))
        assert reader.next(PIXELS[0], 0) == len(PIXELS[0])
        found = reader.next(PIXELS[0].replace(b"start", b"start" + b"t" * more_bytes), 0)
        assert (found > 0) is body_at
        assert body_at or found == NOT_PLAIN
