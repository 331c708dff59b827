"""Which letters a person means."""

from __future__ import annotations

from typing import Any

import pytest

from storage.dead_letter.choice import Choice, UnknownId, chosen, parsed_id, resolved
from storage.dead_letter.letter import id_of
from tests.dead_letters import INCARNATION, a_letter

OTHER = "abcd" * 8
LETTERS = [
    a_letter(0, at_us=10),
    a_letter(1, at_us=20, reason="month_dropped", sqlstate=""),
    a_letter(2, at_us=30, event_id="7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c11"),
    a_letter(0, at_us=40, incarnation=OTHER),
]


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, [0, 1, 2, 3]),
        ({"reason": "month_dropped"}, [1]),
        ({"sqlstate": "23514"}, [0, 2, 3]),
        ({"sqlstate": ""}, [1]),
        ({"event_id": "7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c11"}, [2]),
        ({"incarnation": "abc"}, [3]),
        ({"incarnation": "ab"}, [0, 1, 2, 3]),
        ({"since_us": 20}, [1, 2, 3]),
        ({"until_us": 20}, [0]),
        ({"since_us": 20, "until_us": 40, "sqlstate": "23514"}, [2]),
        ({"ids": ((INCARNATION, 7, 1), (OTHER, 7, 0))}, [1, 3]),
        ({"ids": ((INCARNATION, 7, 1),), "reason": "sqlstate_23514"}, []),
    ],
)
def test_a_letter_is_meant_when_it_fits_everything_that_is_given(given: dict[str, Any], expected: list[int]) -> None:
    assert list(chosen(LETTERS, Choice(**given))) == [LETTERS[index] for index in expected]
    assert list(chosen(LETTERS, Choice(**given), limit=1)) == [LETTERS[index] for index in expected[:1]]
    assert Choice(**given).is_everything == (not given)


def test_an_id_is_read_back_and_may_be_shortened_as_long_as_it_means_one() -> None:
    for letter in LETTERS:
        assert resolved(LETTERS, [parsed_id(letter.id)]) == {letter.identity: letter}
        assert parsed_id(id_of(letter.identity)) == letter.identity
    assert resolved(LETTERS, [("abcd", 7, 0), ("ab", 7, 2)]) == {("abcd", 7, 0): LETTERS[3], ("ab", 7, 2): LETTERS[2]}
    with pytest.raises(UnknownId, match="may be"):
        resolved(LETTERS, [parsed_id("ab-7-0")])
    with pytest.raises(UnknownId, match="no dead letter abcd-7-1"):
        resolved(LETTERS, [parsed_id("abcd-7-1")])


@pytest.mark.parametrize("text", ["", "7", "ab-7", "ab-7-", "-7-0", "AB-7-0", "ab-7-0-1", "ab-\u0667-0", "ab-7-x"])
def test_what_is_no_id_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        parsed_id(text)
