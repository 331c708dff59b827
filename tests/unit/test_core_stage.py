"""Lines of CMCD and what becomes of them, by the Rust core as by its twin: the same objects, and the same bytes."""

from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.batch import KIND_CMCD, KIND_SIGNAL, MONTH_CMCD, SCHEMA_CMCD, FrameBody
from ingest.cmcd import CmcdLine, encode
from ingest.core import chosen
from ingest.spool import frame
from ingest.spool.frame import MonthTotals, Totals
from ingest.spool.run import Run
from ingest.spool.window import Window
from storage.stage.frames import body_of
from storage.stage.line import Line
from storage.stage.verdict import KINDS, Verdict
from storage.stage.window import Origin, Progress
from tests.cmcd_lines import NOW_US, a_line

pytestmark = pytest.mark.usefixtures("rust_core")

THOROUGH = settings(max_examples=300, deadline=None)
NAMES = [name for name in Line.__slots__ if name != "origin"]
INT4 = st.none() | st.integers(-(2**31), 2**31 - 1)
INT8 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NAME = (
    TEXT | st.uuids().map(str) | st.uuids().map(lambda uuid: uuid.hex.upper()) | st.sampled_from(["", "film", "-" * 36])
)
MAYBE = st.none() | TEXT
TIME = st.integers(0, 4_133_980_799_999_999)


LINES = st.builds(
    CmcdLine, NAME, INT8, st.sampled_from(["", "acme"]) | TEXT, INT8, st.text("abc", max_size=8), TIME, TIME,
    st.booleans(), st.sampled_from([None, "p", "a", "made"]), st.none() | NAME, INT4, INT4, INT4,
    st.none() | INT8 | st.integers(99_999_999_000, 100_000_001_000), INT4, MAYBE, MAYBE, MAYBE, MAYBE,
    st.none() | st.uuids(), MAYBE, MAYBE, MAYBE, MAYBE, st.sampled_from([None, "DE"]),
    st.sampled_from([None, "{}", '{"bl":[1]}', '{"ä":"\\"}']),
)  # fmt: skip
"""Whatever fits the columns: more than the door takes."""


def a_run(requests: list[list[bytes]], flags: int = 0) -> Run:
    """A frame each, read back by the Rust core."""
    log = b""
    for number, rows in enumerate(requests):
        body = FrameBody.of(KIND_CMCD, flags, MONTH_CMCD, rows, SCHEMA_CMCD)
        log += frame.encode(body, number, NOW_US, MonthTotals(), Totals())
    (run,), _ = Window(lambda at, size: log[at : at + size], 0).runs(0, 0, len(requests), len(log))
    return run


def told(line: Line) -> dict[str, Any]:
    origin = line.origin
    assert origin is not None
    return {name: getattr(line, name) for name in NAMES} | {"of": (origin.sequence, origin.lines, origin.unjudged)}


@THOROUGH
@given(st.lists(st.lists(LINES, min_size=1, max_size=4), min_size=1, max_size=4), st.sampled_from([0, 0x70, 0xF0]))
def test_a_line_is_the_same_object_to_who_judges_it(requests: list[list[CmcdLine]], flags: int) -> None:
    rows = [[encode(one) for one in request] for request in requests]
    found = a_run(rows, flags).packed.lines(Line, 1, Progress(0).add)
    expected = [
        [Line(row, Origin(number, len(request), flags >> 4)) for row in request]
        for number, request in enumerate(rows)
        if number
    ]
    assert [[told(one) for one in request] for request in found] == [[told(one) for one in each] for each in expected]


@pytest.mark.parametrize("cut", [1, 20, 100, 140])
def test_what_is_no_whole_tuple_is_told_by_the_twin(cut: int) -> None:
    """It looks as far as judging needs; the rest when the row is made."""
    for row in (encode(a_line())[:-cut], b"\0\x19" + encode(a_line())[2:]):
        by_core = by_twin = ""
        try:
            a_run([[encode(a_line()), row]]).packed.lines(Line, 0, Progress(0).add)
        except ValueError as error:
            by_core = str(error)
        try:
            Line(row)
        except ValueError as error:
            by_twin = str(error)
        assert by_core == by_twin


def bodies(verdicts: list[Verdict]) -> tuple[FrameBody, FrameBody]:
    """By the core, which must not leave it to its twin, and by that."""
    assert chosen.rust is not None and chosen.rust.staged_rows(verdicts) is not None
    by_core = body_of(KIND_SIGNAL, 0x10, 3, verdicts)
    with patch.object(chosen, "rust", None):
        return by_core, body_of(KIND_SIGNAL, 0x10, 3, verdicts)


VERDICTS = st.builds(
    Verdict, LINES.map(lambda one: Line(encode(one))), st.sampled_from(KINDS), st.booleans(),
    NAME.map(str.encode), st.integers(-1, 2**31 - 1), st.integers(-1, 2**31 - 1),
)  # fmt: skip


@THOROUGH
@given(st.lists(VERDICTS, min_size=1, max_size=4), st.data())
def test_rows_are_the_same_bytes(verdicts: list[Verdict], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(verdicts), max_size=4))  # names that were met are met again
    by_core, by_twin = bodies(verdicts + again)
    assert by_core == by_twin


@pytest.mark.parametrize("thousandths", [0, 1, -1, 10, 100, 999, 1_000, -1_500, 2_147_483_647, -2_147_483_648])
def test_rates_are_the_same_digits(thousandths: int) -> None:
    by_core, by_twin = bodies([Verdict(Line(encode(a_line(rate_thousandths=thousandths))), b"play", False, b"")])
    assert by_core == by_twin


def test_every_character_of_a_name_is_written_the_same_way() -> None:
    text = "".join(map(chr, range(1, 0x180))) + "\u2028\U0001f600"
    said = a_line(session_id=text[:64], custom_event=text, profile_id=UUID(int=1))
    by_core, by_twin = bodies([Verdict(Line(encode(said)), b"play", False, text.encode())])
    assert by_core == by_twin


def test_a_line_that_is_not_whole_is_left_to_the_twin() -> None:
    assert chosen.rust is not None
    bad = Line(encode(a_line())[:-1])
    assert chosen.rust.staged_rows([Verdict(bad, b"play", False, b"")]) is None
    with pytest.raises(ValueError, match="cut short"):
        body_of(KIND_SIGNAL, 0, 0, [Verdict(bad, b"play", False, b"")])
