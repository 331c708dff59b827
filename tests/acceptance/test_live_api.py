"""Who watches now, as the admin port says it, is who the test has watching: appeared, stopped, fell silent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
import redis

from tests.acceptance.client import Answer, Book, an_event, ask, eventually, pid_of, stopped
from tests.acceptance.event_stream import EventStream
from tests.acceptance.gateway_process import Gateway, let_others_through

pytestmark = pytest.mark.alone

HEARTBEAT_S: Final = 2
LEASE_S: Final = 2.5 * HEARTBEAT_S
SEEN_S: Final = 2.0  # what is promised of a play
SLOW_S: Final = 10.0  # a machine with other things to do
BACK_S: Final = 60.0
DEADLINE_S: Final = 1.0
SLACK_S: Final = 1.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("live")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data", environment={"INGEST_REDIS_HEARTBEAT_S": str(HEARTBEAT_S)}) as served:
        served.start()
        served.wait_ready()
        eventually(lambda: live(served).status == 200, SLOW_S, "it counts")
        yield served


def live(gateway: Gateway, path: str = "") -> Answer:
    return ask(gateway.endpoints["admin"] + "/v1/live" + path, timeout_s=5)


def viewers(gateway: Gateway, content: str) -> int:
    answer = live(gateway, f"/{content}")
    assert answer.status == 200 and answer.json["content_id"] == content, answer.text
    return int(answer.json["viewers"])


class Crowd:
    """Sessions of this test, each with the content it watches; what is right is counted from them alone."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.watching: dict[str, str] = {}
        """Session → content."""
        self._sequences: Counter[str] = Counter()

    def play(self, content: str, sessions: int) -> list[str]:
        fresh = [str(uuid4()) for _ in range(sessions)]
        self.tell("play", dict.fromkeys(fresh, content))
        self.watching |= dict.fromkeys(fresh, content)
        return fresh

    def stop(self, sessions: list[str]) -> None:
        self.tell("stop", {session: self.watching.pop(session) for session in sessions})

    def forget(self, sessions: list[str]) -> None:
        """They fall silent."""
        for session in sessions:
            del self.watching[session]

    def beat(self) -> None:
        self.tell("heartbeat", self.watching)

    def tell(self, kind: str, sessions: dict[str, str]) -> None:
        self._sequences.update(list(sessions))
        events = [
            an_event(event_type=kind, session_id=session, content_id=content, sequence=self._sequences[session])
            for session, content in sessions.items()
        ]
        if events:
            url = self.gateway.endpoints["http"]  # a spool that is full says 503
            eventually(lambda: Book().post(url, events).status == 200, BACK_S, "taken")

    def expected(self, top: int = 100) -> dict[str, Any]:
        """What /v1/live has to say, but for its time."""
        counts = Counter(self.watching.values())
        ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:top]
        contents = [{"content_id": content, "viewers": many} for content, many in ranked]
        return {"viewers": len(self.watching), "contents": contents}

    def is_told(self, top: int = 100) -> bool:
        answer = live(self.gateway, f"?top={top}")
        assert answer.status == 200, answer.text
        told = answer.json
        return {name: told[name] for name in ("viewers", "contents")} == self.expected(top)

    def settles(self, within_s: float, what: str, also: Callable[[], bool] = lambda: True) -> float:
        """Let them send heartbeats until all is told as it is; how long that took, in seconds."""
        begun_s = beaten_s = time.monotonic()

        def seen() -> bool:
            nonlocal beaten_s
            if time.monotonic() - beaten_s >= HEARTBEAT_S / 2:
                self.beat()
                beaten_s = time.monotonic()
            return self.is_told() and also()

        eventually(seen, within_s, what)
        return time.monotonic() - begun_s


@pytest.fixture
def crowd(gateway: Gateway) -> Iterator[Crowd]:
    result = Crowd(gateway)
    yield result
    result.stop(list(result.watching))
    eventually(result.is_told, SLOW_S, "nobody watches")


def test_a_play_is_seen_and_a_stop_is_too(gateway: Gateway, crowd: Crowd) -> None:
    content = str(uuid4())
    assert viewers(gateway, content) == 0
    took_s = []
    for _ in range(5):
        begun_s = time.monotonic()
        fresh = crowd.play(content, 3)
        eventually(lambda: viewers(gateway, content) == 3 and crowd.is_told(), SLOW_S, "seen")
        took_s.append(time.monotonic() - begun_s)
        crowd.stop(fresh)
        eventually(lambda: viewers(gateway, content) == 0 and crowd.is_told(), SLOW_S, "gone")
    assert sorted(took_s)[2] < SEEN_S, took_s


def test_who_falls_silent_is_gone_when_the_lease_ends_and_not_before(gateway: Gateway, crowd: Crowd) -> None:
    content, other = str(uuid4()), str(uuid4())
    crowd.play(other, 4)
    begun_s = time.monotonic()
    silent = crowd.play(content, 5)
    eventually(lambda: viewers(gateway, content) == 5, SLOW_S, "seen")
    while time.monotonic() - begun_s < LEASE_S - SLACK_S:
        crowd.tell("heartbeat", {session: at for session, at in crowd.watching.items() if at == other})
        assert viewers(gateway, content) == 5 or time.monotonic() - begun_s > LEASE_S - SLACK_S
        time.sleep(HEARTBEAT_S / 4)
    crowd.forget(silent)
    crowd.settles(LEASE_S + SLOW_S, "the silent are gone, the others stay", lambda: viewers(gateway, content) == 0)
    assert viewers(gateway, other) == 4


def test_the_contents_with_most_viewers_come_first_and_equals_by_id(gateway: Gateway, crowd: Crowd) -> None:
    contents = [str(uuid4()) for _ in range(12)]
    for number, content in enumerate(contents):
        crowd.play(content, 1 + number // 3)  # three of each
    crowd.settles(SLOW_S, "in order")
    for top in (1, 4, 12, 100):
        crowd.beat()
        eventually(lambda top=top: crowd.is_told(top), SLOW_S, f"the first {top}")  # type: ignore[misc]
    crowd.beat()
    for content in contents:
        assert viewers(gateway, content) == Counter(crowd.watching.values())[content]


def test_a_content_is_found_by_any_way_to_write_it_and_the_time_is_that_of_the_read(
    gateway: Gateway, crowd: Crowd
) -> None:
    content = uuid4()
    crowd.play(str(content), 1)
    for written in (str(content), str(content).upper(), content.hex):
        eventually(lambda written=written: live(gateway, f"/{written}").json.get("viewers") == 1, SLOW_S, written)  # type: ignore[misc]
        told = live(gateway, f"/{written}").json
        assert set(told) == {"content_id", "viewers", "as_of"} and UUID(told["content_id"]) == content
        assert told["as_of"].endswith("Z")
        assert abs(datetime.fromisoformat(told["as_of"]).timestamp() - time.time()) < SLACK_S


@pytest.mark.parametrize(
    "path, status, code",
    [
        ("/x", 400, "invalid_uuid"),
        ("/7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c1", 400, "invalid_uuid"),
        ("/7d2d9b1e8f0f-4f5c-9a55-0d3f6f6d2c11-", 400, "invalid_uuid"),
        ("/%00", 400, "invalid_uuid"),
        ("/", 404, "not_found"),
        ("?top=0", 400, "out_of_range"),
        ("?top=101", 400, "out_of_range"),
        ("?top=ten", 400, "out_of_range"),
        ("/stream?top=0", 400, "out_of_range"),
    ],
)
def test_what_is_asked_wrongly_is_refused_by_name(gateway: Gateway, path: str, status: int, code: str) -> None:
    answer = live(gateway, path)
    assert (answer.status, answer.json["error"]) == (status, code)
    assert answer.json["message"]


def test_the_stream_pushes_what_changes_every_second(gateway: Gateway, crowd: Crowd) -> None:
    with EventStream(gateway.endpoints["admin"] + "/v1/live/stream?top=3") as stream:
        eventually(lambda: stream.last.data.get("viewers") == 0, SLOW_S, "nobody yet")
        for sessions in (4, 2):
            fresh = crowd.play(str(uuid4()), sessions)
            eventually(lambda: stream.last.data | crowd.expected(3) == stream.last.data, SLOW_S, "pushed")
            crowd.stop(fresh[:1])
            eventually(lambda: stream.last.data | crowd.expected(3) == stream.last.data, SLOW_S, "pushed, too")
        before = len(stream.events)
        time.sleep(5)
        assert 4 <= len(stream.events) - before <= 6
        ids = [int(event.id) for event in stream.events]
        assert ids == sorted(set(ids))
        assert (stream.connections, stream.retry_ms) == (1, 1_000)


def test_a_redis_that_hangs_is_a_503_within_the_deadline_and_nothing_else_waits(gateway: Gateway, crowd: Crowd) -> None:
    crowd.play(str(uuid4()), 2)
    crowd.settles(SLOW_S, "they watch")
    with EventStream(gateway.endpoints["admin"] + "/v1/live/stream") as stream:
        eventually(lambda: stream.last.kind == "live", SLOW_S, "it runs")
        with stopped(pid_of(gateway, "redis")):
            eventually(lambda: live(gateway).status == 503, SLOW_S, "what was read before is not told for long")
            for path in ("", f"/{uuid4()}"):
                begun_s = time.monotonic()
                answer = live(gateway, path)
                assert time.monotonic() - begun_s < DEADLINE_S + SLACK_S
                assert (answer.status, answer.json["error"]) == (503, "counters_unavailable")
                assert 1 <= int(answer.headers["retry-after"]) <= 30
            begun_s = time.monotonic()
            for path in ("/readyz", "/livez", "/statusz", "/metrics"):
                assert ask(gateway.endpoints["admin"] + path).status == 200
            assert time.monotonic() - begun_s < 4 * SLACK_S
            eventually(lambda: stream.last.kind == "unavailable", SLOW_S, "the stream says so")
            assert stream.last.data["error"] == "counters_unavailable"
        crowd.settles(BACK_S, "as before")
        eventually(lambda: stream.last.kind == "live", SLOW_S, "on the same connection")
        assert stream.connections == 1 and stream.comments > 0


def test_the_stream_comes_back_by_its_url_when_the_gateway_was_started_again(gateway: Gateway, crowd: Crowd) -> None:
    content = str(uuid4())
    with EventStream(gateway.endpoints["admin"] + "/v1/live/stream") as stream:
        eventually(lambda: stream.last.kind == "live", SLOW_S, "it runs")
        begun_s = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - begun_s < BACK_S / 2, "streams hold no end up"
        assert not stream.broken, "it ended as a whole answer"
        gateway.start()
        gateway.wait_ready()
        crowd.play(content, 3)
        crowd.settles(BACK_S, "counted", lambda: stream.last.data.get("contents") == crowd.expected()["contents"])
        assert stream.connections == 2
        assert gateway.command("restart", "--supervisor").returncode == 0
        crowd.settles(BACK_S, "counted", lambda: stream.connections == 3 and stream.last.kind == "live")
    assert not stream.broken


def test_counts_that_were_lost_are_not_told_until_they_are_rebuilt(make_gateway: Callable[..., Gateway]) -> None:
    quota = {"INGEST_SPOOL_QUOTA_BYTES": str(2 << 20), "INGEST_SPOOL_KEPT_S": "0"}
    gateway = make_gateway(environment=quota)
    gateway.start()
    gateway.wait_ready()
    crowd, url = Crowd(gateway), gateway.endpoints["http"]
    content = str(uuid4())
    crowd.play(content, 5)
    eventually(crowd.is_told, SLOW_S, "they watch")
    for _ in range(60):  # past the quota: the spool no longer holds the beginning
        eventually(lambda: Book().post(url, [an_event(test=True) for _ in range(500)]).status == 200, BACK_S, "taken")
    eventually(lambda: gateway.spool_begins() > 0, BACK_S, "the beginning is delivered, and gone")
    crowd.beat()
    eventually(crowd.is_told, SLOW_S, "they watch")
    with redis.Redis.from_url(gateway.endpoints["redis"]) as store:
        store.flushall()
    told: list[Answer] = []

    def is_off() -> bool:
        told.append(live(gateway, f"/{content}"))
        return told[-1].status == 503 and told[-1].json["error"] == "rebuild_needed"

    eventually(is_off, BACK_S, "it says so")
    assert {answer.status for answer in told} == {503}, "never wrong numbers"
    assert live(gateway).json["error"] == "rebuild_needed"
    done = gateway.command("counters", "rebuild")
    assert done.returncode == 0, done.stdout + done.stderr
    crowd.beat()
    eventually(crowd.is_told, BACK_S, "they are back")
