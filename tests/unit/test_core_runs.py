"""Runs that stay in the Rust core say, sort, copy and count what their frames do one by one."""

import random
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.batch import (
    FLAG_CLOCK_BROKEN,
    KIND_AD,
    KIND_CMCD,
    KIND_PLAYBACK,
    KIND_SIGNAL,
    KINDS,
    MONTH_AD,
    MONTH_CMCD,
    MONTH_UNSETTLED,
    SCHEMA_AD,
    SCHEMA_CMCD,
    SCHEMA_PLAYBACK,
    FrameBody,
)
from ingest.core import chosen
from ingest.spool import frame
from ingest.spool.frame import MASK, MonthTotals, Totals
from ingest.spool.run import Run, outline_of
from ingest.spool.state import State
from ingest.spool.window import Window
from storage import watch
from storage.postgres import batch
from storage.postgres.batch import Batch, Stretch, sort
from storage.postgres.copy import CHUNK_BYTES
from storage.postgres.fingerprint import Fingerprints
from storage.redis import sign
from storage.redis.sign import UnknownSchema, batches
from storage.sink import SinkRefused, Slice
from tests.incarnations import MONTH
from tests.signs import DAY, LEASE, NOW, SECOND, a_sign, row
from tests.spooled import rows_of

pytestmark = pytest.mark.usefixtures("rust_core")

THOROUGH = settings(max_examples=300, deadline=None)
INCARNATION = "5b" * 16
FIRST = 3
SCHEMAS = {KIND_AD: SCHEMA_AD, KIND_CMCD: SCHEMA_CMCD}

FORMS = st.sampled_from([
    (KIND_PLAYBACK, 0, MONTH), (KIND_PLAYBACK, 0, MONTH - 1), (KIND_PLAYBACK, FLAG_CLOCK_BROKEN, MONTH_UNSETTLED),
    (KIND_SIGNAL, 0, MONTH_UNSETTLED), (KIND_AD, 0, MONTH_AD), (KIND_CMCD, 0, MONTH_CMCD),
    (KIND_PLAYBACK, 0xA0, MONTH), (KIND_PLAYBACK, 0xF0 | FLAG_CLOCK_BROKEN, MONTH_UNSETTLED),
    (KIND_SIGNAL, 0x30, MONTH_UNSETTLED), (KIND_CMCD, 0x70, MONTH_CMCD),
])  # fmt: skip


def packed(bodies: list[FrameBody], chance: random.Random, window_bytes: int = 10**6) -> list[Run]:
    """These as frames, with totals and refusals by chance, read back by the Rust core."""
    log = b""
    for number, body in enumerate(bodies):
        month_totals = MonthTotals(chance.randrange(2**64), chance.randrange(2**64))
        totals = Totals(*(chance.randrange(2**64) for _ in range(5)))
        rejected = tuple(chance.randrange(2**64) for _ in range(3)) if chance.random() < 0.3 else ()
        log += frame.encode(body, FIRST + number, NOW + chance.randrange(9), month_totals, totals, rejected)
    with patch("ingest.spool.window.WINDOW_BYTES", window_bytes):
        runs, after = Window(lambda at, size: log[at : at + size], 0).runs(0, FIRST, FIRST + len(bodies), len(log))
    assert after == len(log)
    return runs


def a_slice(runs: list[Run]) -> Slice:
    return Slice(INCARNATION, FIRST, runs, State(runs[-1].until), [])


def by_frames(runs: list[Run]) -> list[Run]:
    """The same as objects."""
    return [Run.of(run.packed.frames((frame.Frame, MonthTotals, Totals)) if run.packed else run.frames) for run in runs]


def as_told(sorted_: Batch) -> tuple[object, ...]:
    """What a batch says, whoever made it."""

    def stretch(one: Stretch) -> tuple[object, ...]:
        months = {month: (rows, rows_hash & MASK) for month, (rows, rows_hash) in one.months.items()}
        return one.owner, one.schema, list(months.items()), one.count, b"".join(one.pieces()), one.placed()

    return (
        list(map(stretch, sorted_.plain)),
        sorted_.suspected,
        sorted_.broken,
        sorted_.ads,
        +sorted_.staged_lines,
        sorted_.staged().plain,
    )


@THOROUGH
@given(
    st.lists(st.tuples(FORMS, st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
    st.sampled_from([10**6, 1_024, 4_096]),
    st.sampled_from([1, 300, 64 * 1024]),
)
def test_a_run_says_sorts_and_copies_as_its_frames_do(shapes, chance, window_bytes, piece_bytes):
    rows = rows_of(40)
    bodies = [
        FrameBody.of(
            kind,
            flags,
            month,
            [chance.choice(rows[: 40 >> narrow]) for _ in range(count)],
            SCHEMAS.get(kind, SCHEMA_PLAYBACK),
        )
        for (kind, flags, month), count, narrow in shapes
    ]
    runs = packed(bodies, chance, window_bytes)
    assert any(run.packed is not None for run in runs)
    assert runs[-1].until == FIRST + len(bodies)
    for run in runs:
        assert run.outline == outline_of(run.frames)
        assert [one.sequence for one in run.frames] == list(range(run.sequence, run.until))
    ours, twins = Fingerprints(60), Fingerprints(60)
    with patch.object(batch, "CHUNK_BYTES", piece_bytes):
        for _ in range(2):  # the second time, all of it is suspected
            assert as_told(sort([a_slice(runs)], ours)) == as_told(sort([a_slice(by_frames(runs))], twins))
            for fingerprints in (ours, twins):
                fingerprints.keep()


def test_a_run_of_which_nothing_is_suspected_stays_one_and_is_copied_in_large_pieces():
    bodies = [FrameBody.of(KIND_PLAYBACK, 0, MONTH, rows_of(20)) for _ in range(50)]
    (run,) = packed(bodies, random.Random(1))
    ((stretch,), suspected, broken, ads, lines, _) = sort([a_slice([run])], Fingerprints(10_000))
    pieces = list(stretch.pieces())
    assert not suspected and not broken and not ads and not +lines and run._frames == []
    assert all(len(piece) >= CHUNK_BYTES for piece in pieces[:-1]) and 1 < len(pieces) < 5


def test_pieces_are_whole_frames_of_any_size_and_lie_one_behind_the_other():
    bodies = [FrameBody.of(KIND_PLAYBACK, 0, MONTH, rows_of(count)) for count in (1, 5, 2, 9, 1)]
    (run,) = packed(bodies, random.Random(1))
    whole = b"".join(one.rows for one in run.frames)
    for size_bytes in range(0, len(whole) + 50, 7):
        pieces = run.packed.pieces(size_bytes)
        assert b"".join(pieces) == whole and all(pieces)


def test_everything_is_suspected_alike_where_the_core_is_asked_no_more():
    bodies = [FrameBody.of(KIND_PLAYBACK, 0, MONTH, rows_of(2)) for _ in range(3)]
    runs = packed(bodies, random.Random(1))
    fingerprints = Fingerprints(2)
    fingerprints.always(bytes([number] * 16) for number in range(3))
    assert fingerprints.everything
    found = sort([a_slice(runs)], fingerprints)
    assert [placed.frame for placed in found.suspected] == runs[0].frames and not found.plain


@pytest.mark.parametrize(
    ("kind", "flags", "schema"),
    [
        (KIND_AD, 0, 1),
        (KIND_AD, 1, 2),
        (KIND_CMCD, 0, 2),
        (KIND_CMCD, 1, 3),
        (KIND_PLAYBACK, 2, 1),
        (KIND_PLAYBACK, 0, 9),
    ],
)
def test_a_frame_of_a_newer_gateway_in_a_run_is_refused_by_its_number(kind, flags, schema):
    bodies = [FrameBody.of(KIND_PLAYBACK, 0, MONTH, rows_of(1)), FrameBody.of(kind, flags, MONTH, rows_of(1), schema)]
    with pytest.raises(SinkRefused, match=rf"/{FIRST + 1} is of kind {kind}, schema {schema}, flags {flags}"):
        sort([a_slice(packed(bodies, random.Random(1)))], Fingerprints(9))


@pytest.mark.parametrize("ends", [(0, 90), (21,), (60, 21)])
def test_a_tuple_that_is_none_is_an_error_of_a_run_too(ends):
    payload = b"".join(end.to_bytes(4, "little") for end in ends) + bytes(ends[-1])
    body = FrameBody(KIND_PLAYBACK, 0, 1, MONTH, len(ends), 0, payload)
    (run,) = packed([body], random.Random(1))
    with pytest.raises(ValueError, match="cut short"):
        list(batches([a_slice([run])], NOW, DAY))
    with pytest.raises(ValueError, match="cut short"):
        watch.gathered([a_slice([run])])
    with pytest.raises(ValueError, match="cut short"):
        sort([a_slice([run])], Fingerprints(9))


SIGNS = st.builds(
    a_sign,
    kind=st.sampled_from(["play", "pause", "heartbeat", "stop", "seek", "error"]),
    ago=st.sampled_from([0, SECOND, LEASE, 5 * LEASE]),
    session=st.integers(1, 9),
    content=st.integers(1, 3),
    sequence=st.none() | st.integers(0, 4),
    sent_us=st.none() | st.sampled_from([NOW, NOW + 301 * SECOND]),
    test=st.sampled_from([False, False, False, True]),
    profile=st.none() | st.integers(1, 2),
    position_s=st.none() | st.integers(0, 2),
    duration_s=st.none() | st.integers(0, 2),
)


@THOROUGH
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.lists(SIGNS, min_size=1, max_size=6)), min_size=1, max_size=10),
    st.integers(1, 12),
    st.sampled_from([10**6, 1_024]),
    st.sampled_from([1, 1, 1, 1, 9]),
)
def test_a_run_is_counted_as_its_frames_are(parts, entries_max, window_bytes, last_schema):
    bodies = [FrameBody.of(kind, 0, 0, list(map(row, signs))) for kind, signs in parts]
    bodies[-1] = bodies[-1]._replace(schema=last_schema)
    runs = packed(bodies, random.Random(1), window_bytes)

    def counted(of: list[Run]) -> tuple[list[sign.Batch], bool]:
        found: list[sign.Batch] = []
        try:
            found.extend(batches([a_slice(of)], NOW, 4 * LEASE))
        except UnknownSchema:
            return found, True
        return found, False

    with patch.object(sign, "ENTRIES_MAX", entries_max):
        found, was_refused = counted(runs)
        assert (found, was_refused) == counted(by_frames(runs))
        assert was_refused == (last_schema == 9 and parts[-1][0] not in SCHEMAS)

    def watched(of: list[Run]) -> bytes | None:
        try:
            return watch.gathered([a_slice(of)])
        except UnknownSchema:
            return None

    found_watched = watched(runs)
    assert found_watched == watched(by_frames(runs))
    with patch.object(chosen, "rust", None):
        assert found_watched == watched(by_frames(runs))
    assert (found_watched is None) == was_refused
