"""What a user watches now, as the admin port says it: of all the user's profiles, beside what the plan allows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from tests.acceptance.catalogue import a_user
from tests.acceptance.client import Answer, Book, an_event, ask, eventually, pid_of, sql, stopped
from tests.acceptance.gateway_process import Gateway, let_others_through

SLOW_S: Final = 10.0
BACK_S: Final = 60.0
LEASE_S: Final = 25.0
LIMITS: Final = {"free": 1, "basic": 1, "standard": 2, "premium": 4, "family": 6}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("streams")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as served:
        served.start()
        served.wait_ready()
        eventually(lambda: ask(served.endpoints["admin"] + "/v1/live").status == 200, SLOW_S, "it counts")
        yield served


def streams(gateway: Gateway, user: str) -> Answer:
    return ask(f"{gateway.endpoints['admin']}/v1/streams/{user}")


def tell(gateway: Gateway, kind: str, session: str, sequence: int, **changes: Any) -> dict[str, Any]:
    event = an_event(event_type=kind, session_id=session, sequence=sequence, **changes)
    assert Book().post(gateway.endpoints["http"], [event]).status == 200
    return event


@pytest.mark.parametrize("plan", [*LIMITS, "press"])
def test_a_user_without_streams_is_told_the_plan_and_what_it_allows(gateway: Gateway, plan: str) -> None:
    user, _ = a_user(gateway, plan, 1)
    answer = streams(gateway, user.upper())
    assert answer.status == 200, answer.text
    told = answer.json
    assert told.pop("as_of").endswith("Z")
    assert told == {"user_id": user, "plan": plan, "limit": LIMITS.get(plan), "streams": []}


def test_sessions_of_all_profiles_are_told_until_they_end(gateway: Gateway) -> None:
    user, (one, other) = a_user(gateway, "standard", 2)
    _, (strange,) = a_user(gateway, "free", 1)
    sessions = [str(uuid4()) for _ in range(3)]
    first = tell(gateway, "play", sessions[0], 1, profile_id=one)
    second = tell(gateway, "play", sessions[1], 1, profile_id=other)
    tell(gateway, "play", sessions[2], 1, profile_id=strange)
    tell(gateway, "play", str(uuid4()), 1)
    eventually(lambda: len(streams(gateway, user).json["streams"]) == 2, SLOW_S, "both are there")
    told = streams(gateway, user).json["streams"]
    for stream, event in zip(told, (first, second), strict=True):
        assert {name: stream[name] for name in ("session_id", "profile_id", "content_id")} == {
            name: event[name] for name in ("session_id", "profile_id", "content_id")
        }
        since, until = (datetime.fromisoformat(stream[name]).timestamp() for name in ("since", "until"))
        assert since == event["occurred_at"] / 1_000
        assert until - since == pytest.approx(LEASE_S, abs=0.002)
    tell(gateway, "stop", sessions[0], 2, profile_id=one)
    eventually(
        lambda: [stream["session_id"] for stream in streams(gateway, user).json["streams"]] == [sessions[1]],
        SLOW_S,
        "it ended",
    )


@pytest.mark.parametrize(
    "user, status, code",
    [("x", 400, "invalid_uuid"), ("", 404, "not_found"), (str(UUID(int=9, version=4)), 404, "unknown_user")],
)
def test_what_is_asked_wrongly_is_refused_by_name(gateway: Gateway, user: str, status: int, code: str) -> None:
    answer = streams(gateway, user)
    assert (answer.status, answer.json["error"]) == (status, code)
    assert answer.json["message"]


def test_a_user_made_after_the_question_is_found(gateway: Gateway) -> None:
    user, _ = a_user(gateway, "free", 1)
    sql(gateway.endpoints["postgres"], f"DELETE FROM users WHERE id = '{user}'")
    assert streams(gateway, user).status == 404
    sql(
        gateway.endpoints["postgres"],
        f"INSERT INTO users (id, email, username, password_hash) VALUES ('{user}', '{user}', '{user}', 'x')",
    )
    assert streams(gateway, user).json["plan"] == "free"


def test_without_postgresql_those_asked_for_lately_are_told_and_others_are_a_503(gateway: Gateway) -> None:
    known, _ = a_user(gateway, "family", 1)
    other, _ = a_user(gateway, "family", 1)
    assert streams(gateway, known).status == 200
    with stopped(pid_of(gateway, "postgres")):
        assert streams(gateway, known).json["limit"] == 6
        answer = streams(gateway, other)
        assert (answer.status, answer.json["error"]) == (503, "store_unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert ask(gateway.endpoints["admin"] + "/v1/live").status == 200
    eventually(lambda: streams(gateway, other).status == 200, BACK_S, "as before")


def test_without_redis_there_is_no_number(gateway: Gateway) -> None:
    user, _ = a_user(gateway, "family", 1)
    with stopped(pid_of(gateway, "redis")):
        answer = streams(gateway, user)
        assert (answer.status, answer.json["error"]) == (503, "counters_unavailable")
    eventually(lambda: streams(gateway, user).status == 200, BACK_S, "as before")
