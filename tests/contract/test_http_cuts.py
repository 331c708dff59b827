"""However the bytes of requests are cut on their way, the answers are the same, and each event is on disk once."""

from itertools import pairwise
from typing import Final

import pytest

from tests.contract.http_client import Told
from tests.contract.http_door import Door, over_both
from tests.contract.http_request import a_request, an_event_text, byte_by_byte, chunked

ORIGIN: Final = "https://watch.example"


def a_plain_request() -> bytes:
    return a_request(an_event_text(), origin=ORIGIN)


def in_chunks() -> bytes:
    return a_request(content_length=None, transfer_encoding="chunked") + chunked(an_event_text(), size_bytes=100)


def refused() -> bytes:
    return a_request(b"[1]", connection="keep-alive")


def preflight() -> bytes:
    return a_request(method="OPTIONS", content_type=None, content_length=None, origin=ORIGIN)


def aloft() -> bytes:
    return a_request(b"[]", target="/v1/events/")


def last() -> bytes:
    return a_request(an_event_text(), connection="close")


PIPELINES: Final = {
    "one": ([a_plain_request], [200]),
    "in chunks": ([in_chunks], [200]),
    "plain ones": ([a_plain_request, preflight, refused, last], [200, 204, 400, 200, 0]),
    "one among plain ones that is not": ([a_plain_request, in_chunks, refused, aloft], [200, 200, 400, 404]),
}
"""Name → (requests sent in one go, statuses)."""


def ids_in(data: bytes) -> list[str]:
    """The event ids of these requests."""
    return [text[:36].decode() for text in data.replace(b"\r\n64\r\n", b"").split(b'"event_id":"')[1:]]


@pytest.mark.parametrize("name", PIPELINES)
def test_requests_cut_in_two_anywhere_are_answered_as_in_one_piece(tmp_path, name):
    makers, statuses = PIPELINES[name]
    size_bytes = len(b"".join(make() for make in makers))
    sent = [b"".join(make() for make in makers) for _ in range(size_bytes)]

    async def scenario(door: Door) -> tuple[list[Told], list[list[str]]]:
        told, stored = [], list[list[str]]()
        for cut, data in enumerate(sent):
            since = len(door.stored())
            told.append(await door.ask(data[:cut], data[cut:]))
            stored.append([str(row.event_id) for row in door.stored()[since:]])
        return told, stored

    told, stored = over_both(tmp_path, scenario)
    assert told[0].statuses == statuses
    assert [cut for cut, one in enumerate(told) if one != told[0]] == []
    assert stored == [ids_in(data) for data in sent]


@pytest.mark.parametrize("name", PIPELINES)
def test_requests_sent_byte_by_byte_are_answered_as_in_one_piece(tmp_path, name):
    makers, statuses = PIPELINES[name]
    data, again = (b"".join(make() for make in makers) for _ in range(2))

    async def scenario(door: Door) -> tuple[Told, Told, list[str]]:
        whole = await door.ask(data)
        return whole, await door.ask(*byte_by_byte(again)), [str(row.event_id) for row in door.stored()]

    whole, single, stored = over_both(tmp_path, scenario)
    assert whole == single
    assert single.statuses == statuses
    assert stored == ids_in(data + again)


@pytest.mark.parametrize("size_bytes", [7, 64, 331, 1_000, 4_096, 65_535, 300_000])
def test_a_hundred_requests_in_pieces_of_any_size_are_answered_in_order(tmp_path, size_bytes):
    """Each with a body of its own size, so that pieces end everywhere; preflights between them mark the order."""
    requests = [
        preflight() if number % 5 == 4 else a_request(b"[" + b" " * number + an_event_text() + b"]")
        for number in range(100)
    ]
    data = b"".join(requests)
    pieces = [data[begin:end] for begin, end in pairwise([*range(0, len(data), size_bytes), len(data)])]

    async def scenario(door: Door) -> tuple[list[int], list[str]]:
        told = await door.ask(*pieces)
        return told.statuses, [str(row.event_id) for row in door.stored()]

    statuses, stored = over_both(tmp_path, scenario)
    assert statuses == [204 if number % 5 == 4 else 200 for number in range(100)]
    assert stored == ids_in(data)


def test_a_large_body_in_many_pieces_is_taken_whole(tmp_path):
    body = b"[" + b",".join(an_event_text() for _ in range(1_000)) + b"]"
    request = a_request(body)
    pieces = [request[at : at + 1_777] for at in range(0, len(request), 1_777)]

    async def scenario(door: Door) -> tuple[Told, int]:
        return await door.ask(*pieces, another), len(door.stored())

    another = a_plain_request()
    told, events = over_both(tmp_path, scenario)
    assert (told.statuses, events) == ([200, 200], 1_001)
