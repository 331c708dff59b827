"""Dead letters as people and machines read them, whatever is in them."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.dead_letter_list import described, show
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from storage.dead_letter.letter import Letter
from storage.dead_letter.writer import DeadLetters
from tests.dead_letters import a_letter
from tests.spooled import a_row


def shown(dead: Path, letters: list[Letter], *, limit: int | None = None, as_json: bool = False) -> str:
    lines: list[str] = []
    show(dead, letters, limit, as_json, lines.append)
    return "\n".join(lines)


def test_a_limit_shortens_the_list_and_not_the_sums(tmp_path: Path) -> None:
    letters = [a_letter(index, reason="month_dropped" if index else "sqlstate_23514") for index in range(4)]
    table = shown(tmp_path, letters, limit=2).splitlines()
    assert [line.split()[0] for line in table[1:-1]] == [letter.id for letter in letters[:2]]
    assert table[-1] == "4 dead letters (month_dropped 3, sqlstate_23514 1)"
    told = json.loads(shown(tmp_path, letters, limit=2, as_json=True))
    assert [letter["id"] for letter in told["letters"]] == [letter.id for letter in letters[:2]]
    assert told["by_reason"] == {"month_dropped": 3, "sqlstate_23514": 1}
    assert shown(tmp_path, []) == "no dead letters"


def test_what_was_past_the_quota_is_told(tmp_path: Path) -> None:
    writer = DeadLetters(tmp_path, "postgres", FileDisk(), SystemClock(), quota_bytes=1)
    assert writer.keep([a_letter(0), a_letter(1)]) == 2
    assert shown(tmp_path / "dead", []).endswith("past the quota, counted and not kept: sqlstate_23514 2")
    assert json.loads(shown(tmp_path / "dead", [], as_json=True))["unkept"] == {"sqlstate_23514": 2}


def test_a_letter_whose_bytes_are_no_event_is_shown_with_its_bytes() -> None:
    letter = a_letter(0, row=b"no tuple", occurred_at_us=2**63 - 1)
    told = described(letter)
    assert told["tuple"] == letter.tuple and "event" not in told and told["occurred_at"] is None
    assert "not a tuple" in told["not_an_event"]
    assert letter.id in shown(Path("none"), [letter])
    assert described(a_letter(0, row=a_row()))["event"]["event_type"] == "play"
