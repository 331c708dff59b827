"""A row of the stage is what the line said, in our columns, under ids that anybody can compute again."""

import json
from hashlib import sha1
from uuid import UUID

import pytest

from ingest.batch import KIND_PLAYBACK, KIND_SIGNAL
from ingest.cmcd import encode
from ingest.tuple import decode
from storage.stage import identity
from storage.stage.frames import LAYERS_MAX, bodies_of
from storage.stage.line import Line
from storage.stage.row import month, tuple_of
from storage.stage.verdict import Verdict
from tests.cmcd_lines import NOW_US, a_line

NAMESPACE = UUID("8a4f0f5b-61c9-4dd0-b1f2-7c0e93d5a6e4")
PROFILE = UUID(int=5)


def row_of(kind="play", is_signal=False, content="movie 1", buffer_ms=-1, startup_ms=-1, **changes):
    found = Line(encode(a_line(**({"sequence": 3, "state": "p", "content_id": content} | changes))))
    return decode(tuple_of(Verdict(found, kind.encode(), is_signal, content.encode(), buffer_ms, startup_ms)))


def uuid_of(name: bytes) -> UUID:
    """UUIDv5 of bytes, as RFC 9562 §5.5 has it."""
    return UUID(bytes=sha1(NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16], version=5)


def test_ids_are_uuids_of_a_fixed_encoding():
    numbers = (-2).to_bytes(8, "big", signed=True) + (3).to_bytes(8, "big") + NOW_US.to_bytes(8, "big")
    row = row_of(session_id="s", owner="key", target=-2, at_ms=0)
    assert row.event_id == uuid_of(b"\x01\x03\x00\x03key" + numbers + b"\x02ps" + b"s")
    assert row.session_id == uuid_of(b"\x01\x01\x00\x03key" + b"s")
    assert row.content_id == uuid_of(b"\x01\x02\x00\x03key" + b"movie 1")


def test_vectors_of_ids_never_change():
    vectors = {
        "6558b06a79ef5b2b97cedb36b6f553ff": (b"", b"sid-1", 7, 3, b"ps", NOW_US),
        "0b9528153c355f9581b329565551c57f": (b"acme", b"sid-1", -7, 2**53 - 1, b"t", 0),
    }
    assert {identity.event_id(*identified).hex(): identified for identified in vectors.values()} == vectors


def test_a_uuid_is_taken_as_it_is():
    session, content = "9110210B-5F5C-4B6E-9D5C-1A0F6D2C7E01", "c0ffee00111142228333444455556666"
    row = row_of(session_id=session, content=content)
    assert (row.session_id, row.content_id) == (UUID(session), UUID(content))
    assert row.metadata == '{"sn":3}'


def test_names_that_are_no_uuids_are_kept_as_sent():
    row = row_of(session_id='s"1', content="movie ä")
    assert json.loads(row.metadata) == {"sn": 3, "sid": 's"1', "cid": "movie ä"}
    assert row.session_id.version == row.content_id.version == 5


def test_who_has_another_owner_is_another_session():
    assert row_of(session_id="s", owner="a").session_id != row_of(session_id="s", owner="b").session_id


def test_everything_that_a_line_says_is_in_its_row():
    said = {
        "profile_id": PROFILE, "quality": "1080p", "bitrate_kbps": 4_500, "device_type": "tv", "platform": "tizen",
        "cdn_edge": "fra-03", "error_code": "25", "player": "hls.js", "app_version": "7.1", "country": "DE",
        "test": True,
    }  # fmt: skip
    row = row_of("error", **said)
    assert {name: getattr(row, name) for name in said} == said
    line = a_line(3)
    assert (row.occurred_at_us, row.received_at_us, row.sequence) == (line.occurred_at_us, line.received_at_us, None)
    assert (row.sent_at_us, row.duration_s, row.position_s, row.buffer_duration_ms, row.startup_ms) == (None,) * 5


def test_times_and_places_are_in_our_units():
    row = row_of("buffering", buffer_ms=1_500, startup_ms=0, position_ms=61_999)
    assert (row.buffer_duration_ms, row.startup_ms, row.position_s) == (1_500, 0, 61)


def test_a_code_that_is_repeated_behind_its_error_is_not_told_again():
    assert row_of("pause", error_code="25").error_code is None


def test_what_has_no_column_is_in_the_metadata():
    said = {"metadata": '{"bl":12000}', "rate_thousandths": 1_500, "custom_event": "like"}
    row = row_of(position_ms=NOW_US // 1_000, **said)
    told = {"bl": 12_000, "sn": 3, "cid": "movie 1", "pr": 1.5, "cen": "like", "pt": NOW_US // 1_000}
    assert json.loads(row.metadata) == told
    assert row.position_s is None


@pytest.mark.parametrize("rate", [-2_000, -1, 0, 500, 2_147_483_647])
def test_a_rate_is_told_to_its_thousandth_also_backwards(rate):
    assert json.loads(row_of(rate_thousandths=rate).metadata)["pr"] == rate / 1_000


def test_a_signal_is_short():
    assert row_of("heartbeat", is_signal=True, metadata='{"bl":12000}').metadata is None


def test_its_month_is_that_of_its_time():
    one = Verdict(Line(encode(a_line(occurred_at_us=NOW_US))), b"play", False, b"")
    assert month(one) == 2026 * 12 + 10


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_tuple_that_is_not_whole_is_none(cut):
    raw = encode(a_line())
    for bad in (raw[:-cut], raw + b"\0" * cut, b"\0\x19" + raw[2:]):
        with pytest.raises(ValueError, match="tuple"):
            Line(bad).begins()


def test_frames_keep_the_order_of_a_stream_and_are_as_few_as_its_kinds_change():
    def verdicts(session, kinds):
        for number, kind in enumerate(kinds.split()):
            found = Line(encode(a_line(number, session_id=session)))
            yield Verdict(found, kind.encode(), kind == "heartbeat", b"")

    told = dict.fromkeys(("one", "two"), "play heartbeat heartbeat pause play") | {"three": "heartbeat completed"}
    bodies = bodies_of([one for session, kinds in told.items() for one in verdicts(session, kinds)])
    assert [body.kind for body in bodies] == [KIND_SIGNAL, KIND_PLAYBACK, KIND_SIGNAL, KIND_PLAYBACK]
    found: dict[UUID, list[str]] = {}
    for row in (decode(row) for body in bodies for row in body.tuples):
        found.setdefault(row.session_id, []).append(row.event_type)
    assert sorted(" ".join(kinds) for kinds in found.values()) == sorted(told.values())


def test_a_stream_that_changes_all_the_time_still_makes_few_frames():
    found = Line(encode(a_line()))
    bodies = bodies_of([Verdict(found, b"play", bool(number & 1), b"") for number in range(200)])
    assert len(bodies) <= LAYERS_MAX and sum(body.count for body in bodies) == 200
