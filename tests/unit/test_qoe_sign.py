"""What tuples say about the quality of experience, by both cores."""

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.batch import KIND_AD, KIND_PLAYBACK, KIND_SIGNAL, FrameBody
from ingest.event import EVENT_TYPES
from ingest.spool import frame
from ingest.spool.frame import MonthTotals, Totals
from ingest.spool.run import Run
from ingest.spool.window import Window
from ingest.tuple import Row, encode
from storage.qoe.sign import UnknownSchema, read
from tests.signs import DAY, HOUR, NOW, SECOND

THOROUGH = settings(max_examples=150, deadline=None)


def a_row(**changes: Any) -> Row:
    values: dict[str, Any] = {
        "event_id": UUID(int=0xE7 << 64 | 0x11),
        "content_id": UUID(int=0xC0),
        "session_id": UUID(int=0x5E),
        "occurred_at_us": NOW - SECOND,
        "received_at_us": NOW,
        "event_type": "play",
    }
    return Row(**values | changes)


@dataclass(frozen=True)
class Body:
    rows: list[Row]
    kind: int = KIND_PLAYBACK
    schema: int = 1
    flags: int = 0


def a_run(*bodies: Body) -> Run:
    """Read back from disk's bytes by the core that was chosen."""
    log = b""
    for number, body in enumerate(bodies):
        made = FrameBody.of(body.kind, body.flags, 0, [encode(row) for row in body.rows], body.schema)
        log += frame.encode(made, number, NOW, MonthTotals(), Totals())
    (run,), _ = Window(lambda at, size: log[at : at + size], 0).runs(0, 0, len(bodies), len(log))
    return run


def signs(*bodies: Body, zero_bits: int = 0):
    return list(read(a_run(*bodies), zero_bits).signs)


@pytest.fixture(params=["python", "rust"])
def each(request, monkeypatch):
    from ingest.core import chosen

    before = chosen.rust
    chosen.choose(request.param)
    yield
    chosen.rust = before


@pytest.mark.usefixtures("each")
class TestOnEachCore:
    def test_all_that_an_event_tells_is_in_its_sign(self):
        told = a_row(
            sequence=7, position_s=61, bitrate_kbps=4_500, buffer_duration_ms=240, startup_ms=810, platform="tizen",
            cdn_edge="fra-03", country="DE", quality="1080p", metadata="{}", profile_id=UUID(int=9), sent_at_us=NOW,
        )  # fmt: skip
        ((session, sign),) = signs(Body([told], flags=0xA0))
        assert session == UUID(int=0x5E).bytes
        place = (UUID(int=0xC0).bytes, b"tizen", b"fra-03", b"DE")
        assert sign == (UUID(int=0x11).bytes[8:], 1, 7, NOW - SECOND, NOW, 61, 4_500, 240, 810, place, 10)

    def test_what_it_does_not_tell_is_below_zero_or_empty(self):
        ((_, sign),) = signs(Body([a_row(event_type="heartbeat")], KIND_SIGNAL))
        assert sign[1:] == (2, -1, NOW - SECOND, NOW, -1, -1, -1, -1, (UUID(int=0xC0).bytes, b"", b"", b""), 0)

    @pytest.mark.parametrize(
        "row",
        [a_row(test=True), a_row(occurred_at_us=NOW - 16 * 60 * SECOND), a_row(occurred_at_us=NOW - DAY)],
        ids=["test", "old", "older"],
    )
    def test_test_traffic_and_old_events_are_no_signs(self, row):
        reading = read(a_run(Body([row])), 0)
        assert (list(reading.signs), reading.old) == ([], 0 if row.test else 1)

    def test_a_broken_clock_is_counted_back_from_the_receipt(self):
        ((_, sign),) = signs(Body([a_row(occurred_at_us=NOW - 2 * SECOND - DAY, sent_at_us=NOW - DAY)]))
        assert sign.time_us == NOW - 2 * SECOND

    def test_a_clock_that_nobody_knows_to_be_ahead_is_the_receipts(self):
        ((_, sign),) = signs(Body([a_row(occurred_at_us=NOW + HOUR)]))
        assert sign.time_us == NOW

    @pytest.mark.parametrize(
        ("ago_us", "buffer_ms", "over_ago_us"),
        [
            (9 * SECOND, 8_000, SECOND), (9 * SECOND, 10_000, 0), (9 * SECOND, None, 9 * SECOND),
            (9 * SECOND, 0, 9 * SECOND), (-SECOND, 5_000, -SECOND), (9 * SECOND, 2**31 - 1, 0),
        ],
    )  # fmt: skip
    def test_a_stall_with_its_duration_is_a_sign_of_its_end(self, ago_us, buffer_ms, over_ago_us):
        """Its time is its begin; nothing that was received was over later than that."""
        told = a_row(event_type="buffering", occurred_at_us=NOW - ago_us, buffer_duration_ms=buffer_ms)
        ((_, sign),) = signs(Body([told]))
        assert sign.time_us == NOW - over_ago_us
        ((_, sign),) = signs(Body([a_row(occurred_at_us=NOW - ago_us, buffer_duration_ms=buffer_ms)]))
        assert sign.time_us == NOW - ago_us, "of no other event"

    def test_ads_are_passed_over_and_frames_of_a_newer_gateway_are_not_read(self):
        assert len(signs(Body([a_row()], KIND_AD), Body([a_row()]))) == 1
        with pytest.raises(UnknownSchema):
            signs(Body([a_row()]), Body([a_row()], schema=2))


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


ROWS = st.builds(
    a_row,
    event_id=st.uuids(),
    content_id=st.uuids(),
    session_id=st.uuids(),
    occurred_at_us=st.integers(NOW - DAY, NOW + DAY) | st.integers(NOW - 20 * 60 * SECOND, NOW),
    event_type=st.sampled_from(EVENT_TYPES),
    test=st.booleans(),
    sent_at_us=maybe(st.integers(NOW - 2 * DAY, NOW + 2 * DAY) | st.just(NOW)),
    sequence=maybe(st.integers(0, 2**53 - 1)),
    position_s=maybe(st.integers(0, 2**31 - 1)),
    profile_id=maybe(st.uuids()),
    quality=maybe(st.text(max_size=20)),
    bitrate_kbps=maybe(st.integers(0, 2**31 - 1)),
    device_type=maybe(st.text(max_size=50)),
    platform=maybe(st.text(max_size=50)),
    cdn_edge=maybe(st.text(max_size=100)),
    buffer_duration_ms=maybe(st.integers(0, 2**31 - 1)),
    startup_ms=maybe(st.integers(0, 2**31 - 1)),
    error_code=maybe(st.text(max_size=50)),
    country=maybe(st.sampled_from(["DE", "FR"])),
    metadata=maybe(st.just('{"a":1}')),
)


@pytest.mark.usefixtures("rust_core")
@THOROUGH
@given(
    st.lists(
        st.tuples(st.sampled_from([KIND_PLAYBACK, KIND_SIGNAL]), st.lists(ROWS, min_size=1, max_size=5)), min_size=1
    ),
    st.integers(0, 3),
)
def test_the_rust_core_reads_what_its_twin_reads(given_bodies, zero_bits):
    run = a_run(*(Body(rows, kind) for kind, rows in given_bodies))
    assert run.packed is not None
    reading = read(run, zero_bits)
    by_rust = list(reading.signs), reading.old
    with patch("ingest.core.chosen.rust", None):
        twin = read(run, zero_bits)
    assert by_rust == (list(twin.signs), twin.old)
