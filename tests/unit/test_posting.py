"""A request is sent again as DESIGN §3 asks of clients, and the ledger knows every try of it."""

from __future__ import annotations

import random
from pathlib import Path

import orjson
import pytest

from loadtests.ledger import Ledger, LedgerFile, lines
from loadtests.posting import BACKOFF_FIRST_S, BACKOFF_MOST_S, HANG_UP_AFTER_MAX_S, PAUSE_LEAST_S, Posting

EVENT = {
    "event_type": "seek",
    "event_id": "0190b5a0-5f0e-4b6f-9d0c-0a4a2f6f1a01",
    "content_id": "7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c11",
    "session_id": "1f6c2a34-52f1-4a0e-8f7b-3b1f0d9f7e21",
    "occurred_at": 1_795_000_000_000,
}
ACCEPTED = b'{"accepted":1,"duplicates":0,"rejected":0}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "one.ledger"


def a_posting(path: Path, hang_up_share: float = 0.0) -> Posting:
    return Posting(LedgerFile(path), random.Random(7), [EVENT], "envelope", hang_up_share=hang_up_share)


def test_every_try_carries_the_same_event_and_says_anew_when_it_was_sent(path: Path) -> None:
    posting = a_posting(path)
    bodies = []
    for _ in range(3):
        bodies.append(orjson.loads(posting.begin().data))
        assert posting.answered(503, "0", b"{}") is None
    assert all(body["events"] == [EVENT] for body in bodies)
    tries = [line for line in lines(path) if line["k"] == "try"]
    assert len(tries) == 3
    assert all(line["sent_at"] // 1000 == line["t"] // 1000 for line in tries)


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_it_is_sent_again_after_what_asks_for_it(path: Path, status: int) -> None:
    posting = a_posting(path)
    posting.begin()
    assert posting.answered(status, None, b"") is None


@pytest.mark.parametrize("status", [200, 204, 400, 404, 413, 500])
def test_it_is_not_sent_again_after_any_other_answer(path: Path, status: int) -> None:
    posting = a_posting(path)
    posting.begin()
    assert posting.answered(status, None, ACCEPTED) is not None


def test_it_waits_as_advised_and_by_a_jitter_that_grows_to_a_bound(path: Path) -> None:
    posting = a_posting(path)
    for tried in range(12):
        posting.begin()
        posting.answered(503, "3", b"{}")
        pauses_s = [posting.pause_s() for _ in range(200)]
        backoff_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2**tried)
        assert 3 <= min(pauses_s) < max(pauses_s) <= 3 + backoff_s
        assert max(pauses_s) - min(pauses_s) > backoff_s / 2


@pytest.mark.parametrize("advice", [None, "", "Wed, 21 Oct 2026 07:28:00 GMT", "-5"])
def test_nonsense_is_no_advice(path: Path, advice: str | None) -> None:
    posting = a_posting(path)
    posting.begin()
    posting.answered(503, advice, b"{}")
    assert PAUSE_LEAST_S <= posting.pause_s() <= PAUSE_LEAST_S + BACKOFF_FIRST_S


def test_advice_is_forgotten_when_the_next_try_is_lost(path: Path) -> None:
    posting = a_posting(path)
    posting.begin()
    posting.answered(503, "60", b"{}")
    posting.begin()
    posting.lost("reset")
    assert posting.pause_s() < 1


def test_who_is_in_a_hurry_waits_no_longer_than_it_wants(path: Path) -> None:
    posting = a_posting(path)
    posting.begin()
    posting.answered(503, "60", b"{}")
    assert 0.25 <= posting.pause_s(0.5) <= 0.5


def test_nothing_but_an_answer_is_believed(path: Path) -> None:
    posting = a_posting(path)
    posting.begin()
    posting.lost("reset")
    assert len(Ledger.read([path]).unanswered()) == 1
    posting.begin()
    posting.answered(200, None, ACCEPTED)
    ledger = Ledger.read([path])
    assert (len(ledger.unanswered()), ledger.acknowledged_rows()) == (0, 1)


def test_a_hang_up_is_called_so_whatever_was_seen_of_it(path: Path) -> None:
    posting = a_posting(path, hang_up_share=1.0)
    posting.begin()
    assert posting.hangs_up
    assert posting.timeout_s <= HANG_UP_AFTER_MAX_S
    assert posting.lost("TimeoutError") == "hung up"
    assert [line["why"] for line in lines(path) if line["k"] == "lost"] == ["hung up"]
