"""A segment's header carries the state before its first frame; a damaged one is damage, a newer one is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from ingest.spool import segment
from ingest.spool.frame import MonthTotals, Totals
from ingest.spool.segment import SegmentHead, TornSegment, UnknownVersion

u64 = st.integers(0, 2**64 - 1)
heads = st.builds(
    SegmentHead,
    incarnation=st.binary(min_size=16, max_size=16),
    base_sequence=u64,
    created_at_us=st.integers(-(2**63), 2**63 - 1),
    totals=st.builds(Totals, u64, u64, u64, u64, u64),
    months=st.dictionaries(st.integers(0, 2**32 - 1), st.builds(MonthTotals, u64, u64), max_size=4),
    rejected_by_code=st.lists(u64, max_size=4).map(tuple),
)
HEAD = SegmentHead(b"i" * 16, 5, 1, Totals(9, 5, 1, 2, 1), {24_322: MonthTotals(5, 77)}, (0, 1))


@given(heads, st.binary(max_size=100))
def test_a_header_comes_back_as_it_was_written(head, frames):
    data = segment.encode(head)
    assert len(data) % 8 == 0
    assert segment.decode(data + frames) == (head, len(data))


@given(heads, st.data())
def test_a_header_cut_anywhere_is_torn(head, data):
    whole = segment.encode(head)
    with pytest.raises(TornSegment):
        segment.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


def test_a_header_with_any_bit_flipped_is_torn_even_in_its_version():
    whole = segment.encode(HEAD)
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TornSegment):
            segment.decode(bytes(flipped))


def test_a_header_of_a_newer_version_is_refused_not_repaired():
    whole = bytearray(segment.encode(HEAD))
    whole[8] = 2
    whole[-8:] = xxh3_64_intdigest(bytes(whole[:-8])).to_bytes(8, "little")
    with pytest.raises(UnknownVersion):
        segment.decode(bytes(whole))


@given(st.binary(max_size=300))
def test_no_bytes_make_decode_raise_anything_else(data):
    for bytes_ in (data, b"SVSEGMT1\1\0\0\0" + data):
        with pytest.raises(TornSegment):
            segment.decode(bytes_)


@given(u64)
def test_a_segment_is_named_by_its_first_sequence(base):
    assert segment.base_of(segment.name(base, segment.OPEN)) == base
    assert segment.base_of(segment.name(base, segment.SEALED)) == base


@pytest.mark.parametrize(
    "name",
    ["ended", "lock", "watermark", "0.open", "000000000000000g.open", "0000000000000000.draft", "+000000000000001.open",
     "0000_00000000001.open", "00000000000000AB.open", "0000000000000000.open.draft"],
)  # fmt: skip
def test_other_files_are_no_segments(name):
    assert segment.base_of(name) is None
