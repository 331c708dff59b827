"""With redis.limit_streams a session over its user's plan is told 410, after a while, and no other session is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.acceptance.catalogue import a_user
from tests.acceptance.client import Answer, Book, an_event, ask, eventually, pid_of, stopped
from tests.acceptance.gateway_process import Gateway, let_others_through

HEARTBEAT_S: Final = 2
PATIENCE_S: Final = 3.5 * HEARTBEAT_S
SLOW_S: Final = 60.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("limited")
    let_others_through(directory)
    (directory / "data").mkdir()
    environment = {"INGEST_REDIS_HEARTBEAT_S": str(HEARTBEAT_S), "INGEST_REDIS_LIMIT_STREAMS": "true"}
    with Gateway(directory / "data", environment=environment) as served:
        served.start()
        served.wait_ready()
        eventually(lambda: ask(served.endpoints["admin"] + "/v1/live").status == 200, SLOW_S, "it counts")
        yield served


class Player:
    """One session of a profile."""

    def __init__(self, gateway: Gateway, profile: str | None) -> None:
        self._url = gateway.endpoints["http"]
        self.id = str(uuid4())
        self.about = {"session_id": self.id, "profile_id": profile, "content_id": str(uuid4())}
        self._sequence = 0

    def event(self, kind: str = "heartbeat") -> dict[str, Any]:
        self._sequence += 1
        return an_event(event_type=kind, sequence=self._sequence, **self.about)

    def tell(self, kind: str = "heartbeat") -> Answer:
        return Book().post(self._url, [self.event(kind)])


def beat(players: list[Player], refused: list[Player]) -> bool:
    """Whether all say what they do, and these alone are told to stop."""
    time.sleep(HEARTBEAT_S / 4)
    return all(player.tell().status == (410 if player in refused else 200) for player in players)


def test_the_session_that_began_last_is_told_to_stop_and_may_go_on_when_there_is_room(gateway: Gateway) -> None:
    _, (one, other) = a_user(gateway, "free", 2)
    first, stranger, nobody = Player(gateway, one), Player(gateway, str(uuid4())), Player(gateway, None)
    others = [first, stranger, nobody]
    for player in others:
        assert player.tell("play").status == 200
    eventually(lambda: beat(others, []), SLOW_S, "one stream is allowed")
    begun_s = time.monotonic()
    second = Player(gateway, other)
    assert second.tell("play").status == 200
    eventually(lambda: beat([*others, second], [second]), SLOW_S, "the second is one too many")
    assert time.monotonic() - begun_s > PATIENCE_S
    answer = second.tell()
    assert answer.json["error"] == "too_many_streams" and answer.json["message"]
    url = gateway.endpoints["http"]
    assert Book().post(url, [second.event(), first.event()]).status == 200, "part of it is allowed"
    assert Book().post(url, [second.event("x")]).status == 400, "what is wrong is said"
    with stopped(pid_of(gateway, "postgres")):
        eventually(lambda: beat([*others, second], []), SLOW_S, "nobody knows, so nobody is refused")
    eventually(lambda: beat([*others, second], [second]), SLOW_S, "as before")
    assert first.tell("stop").status == 200
    eventually(lambda: beat([stranger, nobody, second], []), SLOW_S, "there is room")
    assert 'ingest_requests_refused_total{code="too_many_streams"}' in ask(gateway.endpoints["admin"] + "/metrics").text
