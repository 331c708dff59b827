"""Rows that a rebuild reads are the signs that frames brought, wherever the stream of COPY is cut."""

from itertools import accumulate
from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from ingest.tuple import NULL, walk
from storage.postgres.signs import Stream
from storage.redis.sign import Gathering
from tests.signs import DAY, NOW, SECOND, Sign, row

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
KINDS = ["play", "play", "pause", "stop", "seek", "quality_change", "error"]


def as_selected(whole: bytes) -> bytes:
    """The columns up to `sequence`, as COPY sends them."""
    wanted = walk(whole)[:9]
    return pack(">h", 9) + b"".join(NULL if value is None else pack(">i", len(value)) + value for value in wanted)


@st.composite
def stories(draw: st.DrawFn) -> list[Sign]:
    return [
        Sign(
            draw(st.sampled_from(KINDS)),
            occurred_us=NOW - draw(st.integers(0, 30 * DAY)),
            received_us=NOW - draw(st.integers(0, 60 * SECOND)),
            session=draw(st.integers(0, 5)),
            content=draw(st.integers(0, 2)),
            sequence=draw(st.none() | st.integers(0, 9)),
            sent_us=draw(st.none() | st.integers(NOW - 400 * SECOND, NOW)),
            event=number,
        )
        for number in range(draw(st.integers(1, 12)))
    ]


def gathered(takes: list[tuple[bytes, list[int]]]) -> tuple[object, ...]:
    gathering = Gathering(NOW, 100 * SECOND)
    for rows, ends in takes:
        gathering.take(rows, ends)
    return gathering.views, gathering.sessions, gathering.ids, gathering.single


def selected(story: list[Sign]) -> bytes:
    return HEAD + b"".join(as_selected(row(sign)) for sign in story) + b"\xff\xff"


@given(stories())
def test_selected_columns_say_what_whole_tuples_say(story: list[Sign]) -> None:
    whole = list(map(row, story))
    found = [(one.rows, one.ends) for one in Stream().feed(selected(story))]
    assert gathered(found) == gathered([(b"".join(whole), list(accumulate(map(len, whole))))])


@given(stories(), st.lists(st.integers(1, 300), min_size=1), st.integers(1, 5))
def test_a_stream_cut_anywhere_yields_the_same_some_at_a_time(story: list[Sign], sizes: list[int], most: int) -> None:
    stream, data, found, number = Stream(), selected(story), [], 0
    while data:
        size_bytes, number = sizes[number % len(sizes)], number + 1
        found += list(stream.feed(data[:size_bytes], most))
        data = data[size_bytes:]
    assert all(0 < len(one.ends) <= most for one in found)
    assert sum(len(one.ends) for one in found) == len(story)
    assert gathered([(one.rows, one.ends) for one in found]) == gathered(
        [(one.rows, one.ends) for one in Stream().feed(selected(story))]
    )
    received_us = [sign.received_us for sign in story]
    for one in found:
        count = len(one.ends)
        assert one.received_us == max(received_us[:count])
        received_us = received_us[count:]
