"""A frame is told from everything that is none: cut, flipped, forged, or of another incarnation."""

import random
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from ingest.batch import FLAG_CLOCK_BROKEN, KIND_SIGNAL, FrameBody
from ingest.spool import frame
from ingest.spool.frame import CutFrame, MonthTotals, TornFrame, Totals
from tests.incarnations import MONTH, a_frame_body

pytestmark = pytest.mark.usefixtures("each_core")

SEED = 0x0102030405060708
some_tuples = st.lists(st.binary(max_size=40), min_size=1, max_size=6)
u64 = st.integers(0, 2**64 - 1)


def a_frame(
    body: FrameBody | None = None, sequence: int = 7, rejected: tuple[int, ...] = (), seed: int = SEED
) -> bytes:
    totals = Totals(received=30, rows=10, signals=9, duplicates=8, rejected=3)
    return frame.encode(body or a_frame_body(), sequence, 1_795, MonthTotals(10, 99), totals, rejected, seed)


def is_a_frame(data: bytes, at: int = 0, seed: int = SEED) -> bool:
    try:
        frame.decode(data, at, seed)
    except TornFrame:
        return False
    return True


@given(some_tuples, st.lists(u64, max_size=5), u64, st.integers(-(2**63), 2**63 - 1), u64, u64)
def test_a_frame_comes_back_as_it_was_written(tuples, rejected, sequence, received_at_us, month_hash, seed):
    totals = Totals(*range(sequence % 1000, sequence % 1000 + 5))
    body = a_frame_body(tuples)._replace(flags=FLAG_CLOCK_BROKEN)
    data = frame.encode(body, sequence, received_at_us, MonthTotals(5, month_hash), totals, tuple(rejected), seed)

    found, after = frame.decode(data, 0, seed)

    assert after == len(data) and after % 8 == 0
    assert found.tuples() == tuples and found.rows == b"".join(tuples)
    assert (found.kind, found.flags, found.schema, found.month) == (body.kind, FLAG_CLOCK_BROKEN, body.schema, MONTH)
    assert (found.sequence, found.received_at_us, found.count) == (sequence, received_at_us, len(tuples))
    assert (found.rows_hash, found.month_totals) == (body.rows_hash, MonthTotals(5, month_hash))
    assert (found.totals, found.rejected_by_code) == (totals, tuple(rejected))


def test_its_bytes_lie_where_the_specification_says():
    data = a_frame(a_frame_body([b"one", b"three!"]), sequence=7, rejected=(4, 5))
    head = data[:112] + pack("<Q", xxh3_64_intdigest(data[128:161], SEED))
    assert data[:8] == b"SVFRAME1"
    assert data[8:24] == pack("<BBHIIHH", 1, 0, 1, 2, 2 * 8 + 2 * 4 + 9, 2, 0)
    assert data[24:48] == pack("<QqII", 7, 1_795, MONTH, 0)
    assert data[56:112] == pack("<7Q", 10, 99, 30, 10, 9, 8, 3)
    assert data[:128] == head + pack("<Q", xxh3_64_intdigest(head, SEED))
    assert data[128:] == pack("<QQII", 4, 5, 3, 9) + b"onethree!" + bytes(7)


@given(some_tuples, st.data())
def test_a_frame_cut_anywhere_is_none_and_says_how_much_is_needed(tuples, data):
    whole = a_frame(a_frame_body(tuples))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(CutFrame) as caught:
        frame.decode(whole[:cut], 0, SEED)
    assert cut < caught.value.needed_bytes <= len(whole)


def test_a_frame_with_any_bit_flipped_is_none_unless_it_is_padding():
    whole = a_frame(a_frame_body([b"a tuple", b"!"]))
    padding = -(len(whole) - len(whole.rstrip(b"\0")))
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        assert is_a_frame(bytes(flipped)) == (bit // 8 >= len(whole) + padding), bit


@given(st.binary(max_size=400), st.integers(0, 500), u64)
def test_no_bytes_make_decode_raise_anything_else(data, at, seed):
    for bytes_ in (data, frame.MAGIC_BYTES + data):
        assert not is_a_frame(bytes_, at, seed)
        assert frame.find_next(bytes_, at, seed) is None


def test_a_frame_whose_payload_is_damaged_still_says_how_far_it_goes_and_what_was_in_it():
    whole = a_frame(a_frame_body([b"a tuple", b"another"]))
    damaged = whole[:140] + b"\xff" * (len(whole) - 140)
    assert not is_a_frame(damaged)
    found, after = frame.decode_head(damaged, 0, SEED)
    assert (found.sequence, found.count, found.totals.received, after) == (7, 2, 30, len(whole))
    assert frame.decode_head(whole[:128], 0, SEED) == (found, after)
    with pytest.raises(TornFrame):
        frame.decode_head(b"\0" + damaged[1:], 0, SEED)


def test_a_length_is_not_believed_before_its_checksum():
    whole = bytearray(a_frame())
    whole[16:20] = pack("<I", 2**31)
    with pytest.raises(TornFrame) as caught:
        frame.decode(bytes(whole), 0, SEED)
    assert not isinstance(caught.value, CutFrame)  # it would have asked the disk for 2 GiB


@given(st.binary(max_size=50), some_tuples)
def test_the_next_frame_is_found_behind_any_bytes(noise, tuples):
    whole = a_frame(a_frame_body(tuples))
    before = frame.MAGIC_BYTES + noise + bytes(-len(noise) % 8)
    assert frame.find_next(before + whole, 0, SEED) == len(before)
    assert frame.find_next(before + b"1234" + whole, 0, SEED) is None  # frames begin on multiples of 8


def test_a_frame_of_another_incarnation_is_none():
    assert is_a_frame(a_frame())
    assert not is_a_frame(a_frame(), seed=SEED + 1)


def test_a_frame_forged_inside_an_event_is_not_taken_for_one():
    """An identifier is 16 bytes of the player's choice; here the player even gets a whole frame into a tuple."""
    forged = a_frame(a_frame_body([b"forged"]), seed=0)
    for pad in range(8):  # whatever alignment the tuple lands on
        whole = a_frame(a_frame_body([bytes(pad) + forged]))
        assert frame.find_next(whole, 0, SEED) == 0
        assert frame.find_next(whole, 8, SEED) is None
    assert frame.find_next(a_frame(a_frame_body([bytes(4) + forged]), seed=0), 8, 0) is not None, (
        "the seed is the reason"
    )


def test_an_empty_or_oversized_body_is_a_mistake_of_ours(monkeypatch):
    with pytest.raises(AssertionError):
        a_frame(a_frame_body([]))
    monkeypatch.setattr(frame, "FRAME_SIZE_MAX_BYTES", 100)
    with pytest.raises(AssertionError):
        a_frame(a_frame_body([bytes(100)]))


def test_signals_are_frames_of_no_month():
    found, _ = frame.decode(a_frame(a_frame_body(kind=KIND_SIGNAL)), 0, SEED)
    assert found.kind == KIND_SIGNAL and found.month == 0


def test_frames_one_behind_the_other_are_found_from_any_place_on():
    shape = random.Random(1)
    whole = [a_frame(a_frame_body([shape.randbytes(shape.randrange(50))]), sequence=number) for number in range(20)]
    log, begins = b"".join(whole), [0]
    for one in whole:
        begins.append(begins[-1] + len(one))
    for at in range(len(log)):
        following = frame.find_next(log, at, SEED)
        assert following == next((begin for begin in begins[:-1] if begin >= at), None)
