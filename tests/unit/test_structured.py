"""Structured fields against the tests of their working group (sfv/*.json), and against any text."""

import json
from base64 import b32encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decode import structured
from ingest.decode.structured import Bare, InnerList, Item, Member, NotStructured, Token
from tests.shared_data import shared_data

READ: dict[str, Any] = {
    "dictionary": structured.dictionary, "list": structured.list_of, "item": structured.item,
}  # fmt: skip


def cases() -> list[Any]:
    """Every case, its name behind that of its file."""
    files = sorted(shared_data("sfv").glob("*.json"))
    return [case | {"name": f"{file.stem}: {case['name']}"} for file in files for case in json.loads(file.read_bytes())]


def as_expected(found: Any) -> Any:
    """In the notation of those tests."""
    if isinstance(found, dict):
        return [[key, as_expected(value)] for key, value in found.items()]
    if isinstance(found, InnerList):
        return [[as_expected(one) for one in found.items], parameters_of(found)]
    if isinstance(found, Item):
        return [bare(found.value), parameters_of(found)]
    return [as_expected(one) for one in found]


def parameters_of(found: Member) -> list[list[Any]]:
    return [[key, bare(value)] for key, value in found.parameters.items()]


def bare(value: Bare) -> Any:
    if isinstance(value, Token):
        return {"__type": "token", "value": str(value)}
    return {"__type": "binary", "value": b32encode(value).decode()} if isinstance(value, bytes) else value


def test_every_case_of_the_working_group_is_read_as_it_says() -> None:
    found = cases()
    assert len(found) == 156
    for case in found:
        read, text = READ[case["header_type"]], ", ".join(case["raw"])
        if case.get("must_fail"):
            with pytest.raises(NotStructured):
                read(text)
        else:
            assert as_expected(read(text)) == case["expected"], case["name"]


def test_whole_numbers_stay_whole_and_tokens_are_no_strings() -> None:
    found = structured.dictionary('a=1, b=1.0, c=x, d="x"')
    assert [type(one.value) for one in found.values() if isinstance(one, Item)] == [int, float, Token, str]


@given(st.text() | st.text('ab=,;()"\\ \t?01.-:*'))
def test_any_text_is_a_field_or_none(text: str) -> None:
    for read in READ.values():
        try:
            read(text)
        except NotStructured:
            pass


@pytest.mark.parametrize(
    "text", ['a="' + "\\\\" * 40_000, "a=(" + "1 " * 40_000, "a" + ";b" * 40_000 + "=", "1" * 80_000]
)
def test_a_long_text_takes_no_longer_than_its_length(text: str) -> None:
    with pytest.raises(NotStructured):
        structured.dictionary(text)
