"""Answers: DESIGN §3's table."""

import json
from typing import Any

import pytest

from ingest.answer import Answer, refusal, try_again, verdicts
from ingest.batch import Batch, EventError


def a_batch(**changes: Any) -> Batch:
    """Twenty events, all accepted, with some things changed."""
    fields: dict[str, Any] = {
        "received": 20, "accepted": 20, "duplicates": 0, "rejected": 0, "errors": [],
        "rejected_by_code": {}, "bodies": [], "unknown_fields": 0,
    }  # fmt: skip
    return Batch(**(fields | changes))


ERROR = EventError(3, "0190b5a0-5f0e-4b6f-9d0c-0a4a2f6f1a01", "out_of_range", "$.bitrate", "too much")


def test_all_accepted_is_200_with_three_numbers() -> None:
    answer = verdicts(a_batch(accepted=19, duplicates=1))
    assert (answer.status, json.loads(answer.body)) == (200, {"accepted": 19, "duplicates": 1, "rejected": 0})


def test_nothing_sent_is_200() -> None:
    assert verdicts(a_batch(received=0, accepted=0)).status == 200


def test_minimal_is_204_without_a_body_when_all_is_well() -> None:
    assert verdicts(a_batch(), minimal=True) == Answer(204, b"")


def test_minimal_tells_of_rejections_all_the_same() -> None:
    answer = verdicts(a_batch(accepted=19, rejected=1, errors=[ERROR]), minimal=True)
    assert answer.status == 200 and b"out_of_range" in answer.body


def test_some_rejected_is_200_and_names_them() -> None:
    answer = verdicts(a_batch(accepted=19, rejected=1, errors=[ERROR]))
    assert answer.status == 200
    assert json.loads(answer.body)["errors"] == [
        {"index": 3, "id": ERROR.id, "code": "out_of_range", "path": "$.bitrate", "message": "too much"}
    ]


def test_every_event_invalid_is_400_of_the_same_shape() -> None:
    answer = verdicts(a_batch(received=1, accepted=0, rejected=1, errors=[ERROR]))
    assert answer.status == 400
    assert json.loads(answer.body)["rejected"] == 1


def test_the_first_hundred_failures_are_shown_and_all_are_counted() -> None:
    shown = json.loads(verdicts(a_batch(accepted=1, rejected=300, errors=[ERROR] * 300)).body)
    assert (shown["rejected"], len(shown["errors"])) == (300, 100)


def test_a_dry_run_says_so_and_names_unknown_fields() -> None:
    shown = json.loads(verdicts(a_batch(unknown_names=("colour",)), dry_run=True).body)
    assert (shown["dry_run"], shown["unknown_fields"]) == (True, ["colour"])


@pytest.mark.parametrize(
    ("wait_s", "chance", "seconds"),
    [
        (0.2, 0.0, 1), (1, 0.999_999, 2), (4.1, 0.0, 5), (4.1, 0.5, 8), (4.1, 0.999_999, 10),
        (30, 0.0, 15), (30, 0.999_999, 30), (900, 0.999_999, 30),
    ],
)  # fmt: skip
def test_retry_after_is_when_it_helps_spread_to_twice_that(wait_s: float, chance: float, seconds: int) -> None:
    answer = try_again(503, "spool_full", "full", wait_s, chance)
    assert answer.headers == (("Retry-After", str(seconds)),)
    assert json.loads(answer.body) == {"error": "spool_full", "message": "full", "retry_after_s": seconds}


def test_a_refusal_carries_its_limits() -> None:
    assert json.loads(refusal(413, "body_too_large", "split it", body_max_bytes=5).body) == {
        "error": "body_too_large", "message": "split it", "body_max_bytes": 5,
    }  # fmt: skip
