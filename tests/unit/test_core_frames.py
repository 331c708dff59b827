"""Frames, signs and fingerprints by the Rust core are those of its Python twin, byte for byte and answer for answer."""

import random
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.limits import FRAME_SIZE_MAX_BYTES
from ingest.batch import HEARTBEAT_FLAGS, KIND_PLAYBACK, KIND_SIGNAL, FrameBody
from ingest.core import RustCore, chosen
from ingest.decode import decode, door_of
from ingest.spool import frame
from ingest.spool.frame import Frame, MonthTotals, Totals
from ingest.spool.framing import Framing, RustFraming
from ingest.spool.state import State
from ingest.spool.window import Window
from storage.postgres.fingerprint import Generations
from storage.redis.sign import Gathering, RustGathering
from tests.builders import RECEIVED_AT_US
from tests.incarnations import a_frame_body
from tests.signs import DAY, LEASE, NOW, SECOND, a_frame, a_sign, row
from tests.unit.test_decode_both_ways import LIMITS, MEDIA, bodies

pytestmark = pytest.mark.usefixtures("rust_core")

THOROUGH = settings(max_examples=300, deadline=None)
TUPLES = st.lists(st.binary(max_size=40), min_size=1, max_size=6)
U64 = st.integers(0, 2**64 - 1)
SEED = 0x0102030405060708


def rust() -> RustCore:
    assert chosen.rust is not None
    return chosen.rust


def by_twin(work: Any, *arguments: Any, **more: Any) -> Any:
    """What the twin makes of it."""
    before = chosen.rust
    chosen.choose("python")
    try:
        return work(*arguments, **more)
    finally:
        chosen.rust = before


COUNTS = st.integers(0, 2**40)
CODES = st.dictionaries(st.integers(0, 20), st.integers(1, 2**40), max_size=3)
NOTES = st.builds(lambda repeats, codes: (repeats + sum(codes.values()), repeats, codes), COUNTS, CODES)
HEADS = st.tuples(
    st.sampled_from([KIND_PLAYBACK, KIND_SIGNAL]), st.integers(0, 255), st.sampled_from([0, 1, 24_000, 2**32 - 1]), U64
)


def a_body(tuples: list[bytes], fields: tuple[int, int, int, int]) -> FrameBody:
    kind, flags, month, rows_hash = fields
    return FrameBody.of(kind, flags, month, tuples)._replace(rows_hash=rows_hash)


BODIES = st.builds(a_body, TUPLES, HEADS)


@THOROUGH
@given(st.lists(BODIES | NOTES, max_size=8), U64, st.integers(-(2**63), 2**63 - 1))
def test_frames_and_totals_are_the_same(steps, seed, received_at_us):
    twin, ours = Framing(seed), RustFraming(rust(), seed)
    for step in steps:
        for one in (twin, ours):
            if isinstance(step, FrameBody):
                one.add(step, received_at_us)
            else:
                one.note(*step)
        assert ours.state() == twin.state()
        if len(step) == 3:
            assert b"".join(ours.take_out()) == b"".join(twin.take_out())
    assert b"".join(ours.take_out()) == b"".join(twin.take_out())
    assert ours.take_out() == twin.take_out() == []


@settings(THOROUGH, max_examples=400)
@given(
    st.lists(bodies(), min_size=1, max_size=3),
    MEDIA,
    st.sampled_from([None, "DE"]),
    st.sampled_from([b"", b"owner"]),
    st.integers(0, 15),
)
def test_a_body_taken_in_is_the_frames_that_the_twins_make_of_it(requests, media, country, owner, heartbeat):
    twin, ours = Framing(SEED), RustFraming(rust(), SEED)
    door = door_of(LIMITS, owner, heartbeat)
    assert door is not None
    for body in requests:
        counts = ours.take_in(door, body, media, RECEIVED_AT_US, country)
        if counts is not None:
            batch = by_twin(decode, body, media, RECEIVED_AT_US, LIMITS, owner, country, heartbeat=heartbeat)
            assert counts == (batch.received, batch.duplicates) and not batch.rejected
            if batch.duplicates:
                twin.note(batch.duplicates, batch.duplicates, {})
            for one in batch.bodies:
                twin.add(one, RECEIVED_AT_US)
        assert ours.state() == twin.state()
    assert b"".join(ours.take_out()) == b"".join(twin.take_out())


def test_what_no_frame_can_say_is_an_error_on_both_and_counts_as_nothing():
    body = a_frame_body()
    too_long = body._replace(payload=bytes(FRAME_SIZE_MAX_BYTES + 1))
    many = (body._replace(kind=256), body._replace(month=2**32), body._replace(rows_hash=2**64), too_long)
    for one in (Framing(SEED), RustFraming(rust(), SEED)):
        for broken in (*many, body._replace(count=0)):
            with pytest.raises(Exception, match=r"^"):
                one.add(broken, 0)
        assert one.state() == State() and one.take_out() == []


def run(data: bytes, at: int, sequence: int, until: int, size_bytes: int) -> tuple[list[Frame], int]:
    """Of a window that the data is behind."""
    window = Window(lambda offset, size: data[offset : offset + size], SEED)
    runs, after = window.runs(at, sequence, until, size_bytes)
    return [one for run in runs for one in run.frames], after


def a_log(frames_count: int = 6) -> tuple[bytes, list[int]]:
    """Frames numbered from 3 on, with refusals in some; and where each begins."""
    begins, data = [], b""
    for number in range(frames_count):
        body = a_frame_body([b"row" * (number + 1), b"another"], kind=KIND_SIGNAL if number % 3 == 1 else KIND_PLAYBACK)
        begins.append(len(data))
        totals, rejected = Totals(number * 2, number, number), (1, number) if number % 2 else ()
        data += frame.encode(body, 3 + number, number, MonthTotals(number, 9), totals, rejected, SEED)
    return data, begins


@THOROUGH
@given(st.integers(0, 6), st.integers(0, 12), st.integers(-1, 2_000), st.integers(2, 5))
def test_a_run_of_frames_is_read_alike(begin, until, size_bytes, sequence):
    data, begins = a_log()
    at = [*begins, len(data)][begin]
    found = run(data, at, sequence, until, size_bytes)
    assert found == by_twin(run, data, at, sequence, until, size_bytes)
    assert all(type(one) is Frame and type(one.totals) is Totals for one in found[0])
    assert all(type(one.month_totals) is MonthTotals and one.tuples()[-1] == b"another" for one in found[0])


def test_a_run_ends_at_damage_alike_wherever_it_is():
    whole, begins = a_log(3)
    for at in range(len(whole)):
        data = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        found = run(data, 0, 3, 9, 10**6)
        assert found == by_twin(run, data, 0, 3, 9, 10**6)
        number = sum(begin <= at for begin in begins) - 1
        length_bytes = int.from_bytes(whole[begins[number] + 16 : begins[number] + 20], "little")
        is_padding = at >= begins[number] + 128 + length_bytes
        assert len(found[0]) == (3 if is_padding else number)


def test_a_run_cut_anywhere_is_the_frames_before_the_cut():
    whole, begins = a_log(3)
    for cut in range(len(whole) + 1):
        found, after = run(whole[:cut], 0, 3, 9, 10**6)
        assert len(found) == sum(end <= cut for end in [*begins[1:], len(whole)])
        assert (found, after) == by_twin(run, whole[:cut], 0, 3, 9, 10**6)


def test_an_end_beyond_its_rows_or_before_the_last_is_an_error_and_no_crash():
    one = row(a_sign())
    for ends in ((len(one) + 1,), (len(one), 10), (2**32 - 1,), (0,), (89,)):
        table = pack(f"<{len(ends)}I", *ends)
        with pytest.raises(ValueError, match="cut short"):
            rust().Signs(NOW, DAY).add(one, table, 0)
    with pytest.raises(ValueError, match="cut short"):
        rust().Generations(9).suspect(b"x" * 21, pack("<I", 21))


SIGNS = st.builds(
    a_sign,
    kind=st.sampled_from(
        ["play", "pause", "heartbeat", "stop", "completed", "seek", "error", "buffering", "quality_change"]
    ),
    ago=st.sampled_from([0, SECOND, 2 * SECOND, LEASE, 5 * LEASE, 900 * SECOND, 900 * SECOND + 1])
    | st.integers(-2 * DAY, 40 * DAY),
    session=st.integers(1, 3),
    content=st.integers(1, 2),
    sequence=st.none() | st.integers(0, 4) | st.just(2**53 - 1),
    sent_us=st.none() | st.sampled_from([NOW, NOW - 300 * SECOND, NOW + 301 * SECOND, 0]) | st.integers(0, 2 * NOW),
    test=st.sampled_from([False, False, False, True]),
    profile=st.none() | st.integers(1, 2),
)


@settings(THOROUGH, max_examples=500)
@given(
    st.lists(st.lists(SIGNS, min_size=1, max_size=50), min_size=1, max_size=3),
    st.lists(st.sampled_from(HEARTBEAT_FLAGS), min_size=3, max_size=3),
)
def test_signs_are_gathered_alike(frames_of_signs, flags):
    twin, ours = Gathering(NOW, 4 * LEASE), RustGathering(rust(), NOW, 4 * LEASE)
    for number, signs in enumerate(frames_of_signs):
        kind = KIND_PLAYBACK if number % 2 else KIND_SIGNAL
        one = a_frame([row(sign) for sign in signs], number, kind, flags=flags[number])
        twin.add(one)
        ours.add(one)
        assert ours.entries == twin.entries
    positions = [("5b" * 16, 0, len(frames_of_signs))]
    assert ours.batch(positions) == twin.batch(positions)


@settings(THOROUGH, max_examples=200)
@given(st.integers(0, 2**32), st.integers(2, 12))
def test_suspicions_are_the_twins(seed, most):
    rng = random.Random(seed)
    ids = [rng.randbytes(16) for _ in range(12)]
    twin, ours = Generations(most), rust().Generations(most)
    for _ in range(40):
        step = rng.randrange(8)
        if step == 0:
            twin.keep()
            ours.keep()
        elif step == 1:
            twin.forget()
            ours.forget()
        elif step == 2 and rng.random() < 0.2:
            some = rng.sample(ids, 2)
            assert ours.always(some) == twin.always(some)
        else:
            rows = [b"\0" * 6 + rng.choice(ids) for _ in range(rng.randint(1, 3))]
            table = pack(f"<{len(rows)}I", *(22 * (number + 1) for number in range(len(rows))))
            assert ours.suspect(b"".join(rows), table) == twin.suspect(b"".join(rows), table)


@pytest.mark.parametrize("count", [31, 32, 33, 300])
def test_of_many_signs_without_a_sequence_the_latest_ids_are_told_alike(count):
    one = a_frame([row(a_sign("heartbeat", ago=SECOND * (count - number))) for number in range(count)], 0)
    twin, ours = Gathering(NOW, DAY), RustGathering(rust(), NOW, DAY)
    twin.add(one)
    ours.add(one)
    assert ours.batch([]) == twin.batch([])
