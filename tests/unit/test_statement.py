"""queries.sql: every statement has a name and says what it does."""

import pytest

from storage.postgres.statement import STATEMENTS, parse


def test_a_statement_goes_from_its_name_to_the_next_without_comments() -> None:
    assert parse(
        "-- a file\n\n-- one: first\n-- more words\nSELECT 1\n  FROM x; -- end\n\n-- two: second\nSELECT 2;\n"
    ) == {
        "one": "SELECT 1\n  FROM x; -- end",
        "two": "SELECT 2;",
    }


@pytest.mark.parametrize("text", ["SELECT 1;", "-- one: a\n-- two: b\nSELECT 2;", "-- one: a\nX;\n-- one: b\nY;"])
def test_what_has_no_name_no_body_or_a_name_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"name|statement|twice"):
        parse(text)


def test_every_statement_is_one_that_is_used() -> None:
    assert {"session", "adopt_staged", "move_positions"} <= STATEMENTS.keys()
    assert all(statement.rstrip().endswith((";", "adopted;")) for statement in STATEMENTS.values())
