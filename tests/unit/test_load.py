"""What `./gw load` makes of its ledgers and of the stores, and what it refuses to begin."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtests.ledger import Ledger, LedgerFile
from loadtests.load import EVENTS_MAX, SECONDS_MAX, USERS_MAX, is_loopback, parse
from loadtests.load_outcome import Answers, Outcome
from loadtests.models import MODELS
from loadtests.posting import Posting
from loadtests.reconcile import Report

ACCEPTED = b'{"accepted":1,"duplicates":0,"rejected":0}'


def an_event(number: int) -> dict[str, Any]:
    return {
        "event_type": "seek",
        "event_id": f"0190b5a0-5f0e-4b6f-9d0c-0a4a2f6f{number:04x}",
        "content_id": "7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c11",
        "session_id": "1f6c2a34-52f1-4a0e-8f7b-3b1f0d9f7e21",
        "occurred_at": 1_795_000_000_000,
    }


def an_outcome(path: Path) -> Outcome:
    """Twenty requests of one event, all answered in the end, one after a 503 and one after a hang-up."""
    file = LedgerFile(path)
    for number in range(20):
        posting = Posting(file, random.Random(7), [an_event(number)], "array", hang_up_share=float(number == 1))
        posting.begin()
        if number == 0:
            posting.answered(503, "0", b"{}")
            posting.begin()
        if number == 1:
            posting.lost("reset")
            posting.begin()
        posting.answered(200, None, ACCEPTED)
    report = Report(acknowledged=20, stored=20)
    return Outcome("final", 10, 20, Ledger.read([path]), Answers.read([path]), report, "")


def test_a_load_whose_books_agree_holds_and_its_table_says_what_was_counted(tmp_path: Path) -> None:
    outcome = an_outcome(tmp_path / "one.ledger")
    assert outcome.holds
    names, figures, _, answers = outcome.text().splitlines()
    told = dict(zip(names.replace(" ms", "_ms").split(), figures.split(), strict=True))
    assert (told["requests"], told["posted"], told["acknowledged"], told["stored"]) == ("22", "20", "20", "20")
    assert (told["unanswered"], told["missing"], told["doubled"], told["verify"]) == ("0", "0", "0", "agrees")
    assert answers == "answers: 20 × 200, 1 × 503, 1 × hung up"


@pytest.mark.parametrize("kind", ["missing", "doubled", "foreign", "altered", "miscounted", "odd"])
def test_a_load_with_a_difference_fails_and_names_it(tmp_path: Path, kind: str) -> None:
    outcome = an_outcome(tmp_path / "one.ledger")
    getattr(outcome.report, kind).append("this one")
    assert not outcome.holds
    assert f"{kind}: this one" in outcome.text()


def test_a_load_that_verify_disagrees_with_fails(tmp_path: Path) -> None:
    outcome = replace(an_outcome(tmp_path / "one.ledger"), verify="a month differs")
    assert not outcome.holds
    assert "DIFFERS" in outcome.text() and "a month differs" in outcome.text()


def test_a_load_with_an_open_question_or_without_any_answer_fails(tmp_path: Path) -> None:
    path = tmp_path / "one.ledger"
    an_outcome(path)
    posting = Posting(LedgerFile(tmp_path / "two.ledger"), random.Random(7), [an_event(99)], "array")
    posting.begin()
    posting.lost("reset")
    for paths in ([path, tmp_path / "two.ledger"], []):
        assert not Outcome("soak", 1, 5, Ledger.read(paths), Answers.read(paths), Report(), "").holds


def test_latencies_are_those_of_the_answers(tmp_path: Path) -> None:
    assert Answers().latency_ms(0.99) == 0
    answers = Answers(latencies_ms=[float(number) for number in range(100)])
    assert (answers.latency_ms(0.5), answers.latency_ms(0.99)) == (50, 99)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_fits_its_own_bounds(model: str) -> None:
    options = parse([model])
    assert (options.seconds, options.html) == (MODELS[model].length_s, Path(f"load-{model}.html"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["dusk"],
        ["soak", "--users", "0"],
        ["soak", "--users", str(USERS_MAX + 1)],
        ["soak", "--seconds", "1"],
        ["soak", "--seconds", str(SECONDS_MAX + 1)],
        ["soak", "--pace", "0.5"],
        ["soak", "--users", str(USERS_MAX), "--seconds", str(EVENTS_MAX // USERS_MAX)],
        ["soak", "--host", "http://127.0.0.1:8080"],
        ["soak", "--endpoints", "/nowhere/endpoints.json"],
    ],
)
def test_what_has_no_bounds_or_nothing_to_compare_with_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(arguments)
    assert refused.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_another_machine_is_posted_to_only_when_it_is_named(tmp_path: Path) -> None:
    endpoints = tmp_path / "endpoints.json"
    endpoints.write_text(json.dumps({"http": "http://192.0.2.7:8080"}))
    with pytest.raises(SystemExit):
        parse(["soak", "--endpoints", str(endpoints)])
    named = parse(["soak", "--endpoints", str(endpoints), "--host", "http://192.0.2.7:8080"])
    assert named.host == "http://192.0.2.7:8080"
    endpoints.write_text(json.dumps({"http": "http://127.0.0.1:8080"}))
    assert parse(["soak", "--endpoints", str(endpoints)]).host is None


def test_loopback_is_an_address_and_not_a_name() -> None:
    assert is_loopback("http://127.0.0.1:8080")
    assert is_loopback("http://[::1]:8080")
    assert not is_loopback("http://0.0.0.0:8080")
    assert not is_loopback("http://example.org")
