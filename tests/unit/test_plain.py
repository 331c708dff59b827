"""A head that is compared with the last one means what it would mean if it were read."""

from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.plain import NOT_PLAIN, NOT_WHOLE, SAME_DIGITS_MAX, PlainReader
from tests.contract.http_request import a_request
from tests.contract.test_http_mutations import MUTATIONS
from tests.contract.test_http_smuggling import READ_TO_ITS_END, REFUSED_WHOLE

BODY: Final = b"[{}]"
BODY_MAX_BYTES: Final = 10_000
PLAIN: Final = [
    a_request(BODY),
    a_request(BODY, origin="https://watch.example", connection="keep-alive", lines=["X-Empty:", "Accept: */*"]),
    a_request(BODY, target="/v1/events?dry_run=1", content_encoding="identity", prefer="return=minimal"),
    a_request(BODY, lines=["CF-IPCountry: DE", "X-Length: Content-Length: 4"]),
    a_request(content_length=None, lines=["CONTENT-length:\t 0004"]) + BODY,
]
THOROUGH: Final = settings(max_examples=600, deadline=None)
DIGITS: Final = st.integers(0, 10**9).map(b"%d".__mod__) | st.text("0123456789+-_., \t\r\n\0x٥", max_size=12).map(
    str.encode
)


def a_reader(header_max_bytes: int = 16_384) -> PlainReader:
    return PlainReader(BODY_MAX_BYTES, header_max_bytes, b"cf-ipcountry")


def read(reader: PlainReader, data: bytes) -> Any:
    """What a reader makes of what begins with a head."""
    body_at = reader.next(data, 0)
    return (body_at, reader.length_bytes, reader.last, reader.origin, reader.keep_alive) if body_at > 0 else body_at


def behind(first: bytes, reader: PlainReader) -> PlainReader:
    """The reader, behind a whole request."""
    body_at = reader.next(first, 0)
    assert body_at > 0 and reader.length_bytes == len(BODY)
    reader.end(first[body_at:])
    assert reader._before, "the next one is compared"
    return reader


def hold_together(first: bytes, data: bytes) -> None:
    reader = behind(first, a_reader())
    parser, reader._parser = reader._parser, None
    compared = read(reader, data)
    if reader._parser is None:  # nothing was read: compared, or not whole
        assert compared == read(a_reader(), data)
    reader._parser = parser
    assert read(behind(first, a_reader()), data) == read(a_reader(), data), "nor is anything left of the one before"


@THOROUGH
@given(st.sampled_from(PLAIN), st.lists(MUTATIONS, min_size=1, max_size=3))
def test_a_head_like_the_last_one_is_what_it_would_be_alone(first, mutations):
    data = first
    for mutation in mutations:
        data = mutation.of(data)
    hold_together(first, data)


@THOROUGH
@given(st.sampled_from(PLAIN), DIGITS)
@example(PLAIN[0], b"0")
@example(PLAIN[0], b"")
@example(PLAIN[0], b"00000004")
@example(PLAIN[0], b"000000004")
@example(PLAIN[0], b"%d" % (BODY_MAX_BYTES + 1))
@example(PLAIN[0], b"4\r\nContent-Length: 4")
@example(PLAIN[0], b"4\r\n\r\n")
def test_whatever_stands_in_the_place_of_the_digits_means_what_it_would_alone(first, digits):
    reader = behind(first, a_reader())
    hold_together(first, reader._before + digits + reader._behind + BODY)


@pytest.mark.parametrize("data", [*REFUSED_WHOLE.values(), *(one[0] for one in READ_TO_ITS_END.values())])
def test_what_hides_a_request_hides_it_no_better_behind_a_plain_one(data):
    for first in PLAIN:
        hold_together(first, data)


@pytest.mark.parametrize("first", PLAIN)
def test_only_the_digits_may_differ(first):
    reader = behind(first, a_reader())
    head = reader._before + b"17" + reader._behind
    assert reader.next(b"##" + head, 2) == 2 + len(head) and reader.length_bytes == 17
    for cut in range(len(head)):
        assert reader.next(head[:cut], 0) == NOT_WHOLE
    assert reader._before, "none of them was read by llhttp"


def test_a_last_request_and_one_without_a_body_are_compared_with_nothing():
    for one in (a_request(BODY, connection="close"), a_request(b""), a_request(method="OPTIONS")):
        reader = behind(PLAIN[0], a_reader())
        body_at = reader.next(one, 0)
        assert body_at > 0
        reader.end(one[body_at:])
        assert not reader._before


def test_a_head_does_not_outgrow_its_bound_by_its_digits():
    size_bytes = PLAIN[0].index(BODY)
    for room_bytes, compared in ((SAME_DIGITS_MAX - 1, False), (SAME_DIGITS_MAX, True)):
        reader = a_reader(size_bytes + room_bytes)
        assert reader.next(PLAIN[0], 0) == size_bytes
        assert bool(reader._before) is compared
    assert a_reader(size_bytes - 1).next(PLAIN[0], 0) == NOT_PLAIN
