"""CMCD against the conformance data of others: what they decode we decode alike, what they refuse harms nothing."""

import json
from typing import Any
from urllib.parse import unquote_plus

import pytest

from ingest.decode import structured
from ingest.decode.cmcd import decode, members
from ingest.decode.cmcd_context import HEADERS, Circumstances, context_of, joined, without_argument
from ingest.decode.limits import Limits
from ingest.decode.request import Request
from ingest.decode.structured import InnerList, Item, Member
from tests.builders import RECEIVED_AT_US
from tests.shared_data import shared_data

REQUEST = Request(RECEIVED_AT_US, Limits())
CONTEXT = context_of(Circumstances(""))
LEAST = f'sid="kept",sn=1,e=t,ts={RECEIVED_AT_US // 1_000}'
WRONG: dict[str, str] = {}
"""Vectors that we judge to be wrong, and by which clause: none."""


def in_their_notation(found: Member) -> Any:
    """An inner list is an array, a value with parameters an object."""
    value = [in_their_notation(one) for one in found.items] if isinstance(found, InnerList) else found.value
    return {"_item": value, "_params": found.parameters} if found.parameters else value


def lines_of(form: str, encoded: Any) -> list[str]:
    """As they come to the decoder."""
    if form == "headers":
        sent = {name.lower(): value for name, value in encoded.items()}
        return [joined([sent.get(name.lower()) for name in HEADERS]) or ""]
    if form == "query":
        return [without_argument(encoded)[1] or ""]
    if form == "url-encoded":
        return [unquote_plus(encoded).removeprefix("CMCD=")]
    return [line for line in encoded.split("\n") if line] if form == "body" else [encoded]


def test_every_vector_decodes_to_the_object_given() -> None:
    vectors = json.loads(shared_data("cmcd_vectors.json").read_bytes())["vectors"]
    assert len(vectors) == 195
    for vector in vectors:
        expected = vector["decoded"] if vector["form"] == "body" else [vector["decoded"]]
        lines = lines_of(vector["form"], vector["encoded"])
        strictly = [structured.dictionary(line) for line in lines]
        kindly = [{key: structured.member(raw) for key, raw in members(line).items()} for line in lines]
        for found in (strictly, kindly):
            told = [{key: in_their_notation(value) for key, value in one.items()} for one in found]
            assert (told == expected) == (vector["id"] not in WRONG), vector["id"]


def test_every_vector_is_kept_or_refused_and_the_line_beside_it_is_kept() -> None:
    for vector in json.loads(shared_data("cmcd_vectors.json").read_bytes())["vectors"]:
        for line in lines_of(vector["form"], vector["encoded"]):
            batch = decode(f"{line}\n{LEAST}", CONTEXT, REQUEST).batch
            assert batch.rejected_by_code.keys() <= {"cmcd_no_session", "too_old"}, vector["id"]
            assert batch.accepted == batch.received - batch.rejected >= 1


def malformed() -> list[tuple[str, str]]:
    """Name and line of inputs that others refuse."""
    found = []
    for case in json.loads(shared_data("cmcd_v1_invalid.json").read_bytes())["cases"]:
        if case["form"] == "header":
            sent = {name: ",".join(values) for name, values in case["input"].items()}
            found += [(case["id"], line) for line in lines_of("headers", sent)]
        else:
            found += [(case["id"], line) for line in lines_of(case["form"].replace("json", "body"), case["input"])]
    for number, case in enumerate(json.loads(shared_data("cmcd_validation_cases.json").read_bytes())["cases"]):
        if isinstance(case["input"], str):
            found += [(f"validation-{number}", line) for line in case["input"].split("\n")]
    return found


def test_what_others_refuse_harms_no_line_beside_it_and_not_even_itself() -> None:
    cases = malformed()
    assert len(cases) > 150
    for name, line in cases:
        batch = decode(f"{line}\n{LEAST}", CONTEXT, REQUEST).batch
        assert batch.rejected_by_code.keys() <= {"cmcd_no_session", "cmcd_unreadable", "too_old"}, name
        assert batch.accepted == 1, name
        if not line.startswith(("{", " ", "}")) and line.count('"') % 2 == 0:  # behind it, keys that are right are read
            assert decode(f"{line},{LEAST}", CONTEXT, REQUEST).batch.accepted == 1, name


@pytest.mark.parametrize("version", [1, 2])
def test_the_kind_reading_of_what_is_right_is_the_strict_one(version: int) -> None:
    line = f"br=(3000;ot=v 6000),com.example-x=1;p=2,su,v={version}"
    assert {key: structured.member(raw) for key, raw in members(line).items()} == structured.dictionary(line)
    assert structured.dictionary(line)["su"] == Item(True, {})
