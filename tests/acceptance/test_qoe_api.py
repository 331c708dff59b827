"""Quality of experience, as the admin port tells it, is what a small crowd went through, over restarts and kills."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import pytest

from tests.acceptance.client import Answer, Book, ask, eventually, pid_of, stopped
from tests.acceptance.gateway_process import Gateway, let_others_through

HEARTBEAT_S: Final = 4
"""So a lease is ten seconds."""
SOON_S: Final = 40.0
BACK_S: Final = 60.0
AGO_S: Final = 60
EDGES: Final = ("fra-1", "ams-2")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("qoe")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data", environment={"INGEST_REDIS_HEARTBEAT_S": str(HEARTBEAT_S)}) as served:
        served.start()
        served.wait_ready()
        yield served


def qoe(gateway: Gateway, query: str = "") -> Answer:
    return ask(gateway.endpoints["admin"] + "/v1/qoe" + query)


def groups(gateway: Gateway, query: str) -> list[dict[str, Any]]:
    answer = qoe(gateway, query)
    assert answer.status == 200, answer.text
    told: list[dict[str, Any]] = answer.json["groups"]
    return told


@dataclass
class Edge:
    """What sessions on one edge went through, counted as they were made up."""

    sessions: int = 0
    starts: int = 0
    stalls: int = 0
    stalled_s: float = 0.0
    watched_s: float = 0.0
    failures: int = 0
    exits: int = 0
    bits: float = 0.0
    media_s: float = 0.0
    sent: int = 0
    lost: int = 0
    startups_ms: list[int] = field(default_factory=list)


class Crowd:
    """Sessions of the last minute, one after the other; every event is kept, to be posted."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.edges = {edge: Edge() for edge in EDGES}
        self.events: list[dict[str, Any]] = []

    def session(self, kind: str) -> None:
        """`kind`: smooth, stalls, pauses, fails, recovers, leaves, fails_to_start, loses."""
        chance = self.chance
        edge_name, kbps = chance.choice(EDGES), chance.choice((800, 2_400, 4_500))
        edge = self.edges[edge_name]
        fixed = {"session_id": _id(chance), "content_id": _id(chance), "cdn_edge": edge_name, "bitrate": kbps}
        begun_ms = time.time_ns() // 1_000_000 - AGO_S * 1_000
        story: list[tuple[str, float, dict[str, Any]]] = []
        edge.sessions += 1
        if kind == "leaves":
            story = [("buffering", 0, {}), ("stop", 3, {})]
            edge.exits += 1
            edge.watched_s += 3
        elif kind == "fails_to_start":
            story = [("error", 0, {"error_code": "MANIFEST"})]
            edge.failures += 1
        else:
            startup_ms = chance.randrange(50, 5_000)
            edge.starts += 1
            edge.startups_ms.append(startup_ms)
            played_s, stalled_s, wall_s = 12.0, 0.0, 12.0
            story = [("play", 0, {"startup_ms": startup_ms}), ("heartbeat", 4, {}), ("heartbeat", 8, {})]
            if kind == "stalls":
                stalled_s = chance.randrange(1, 3)
                story.append(("buffering", 8 + stalled_s, {"buffer_duration": int(stalled_s * 1_000)}))
                played_s -= stalled_s
                edge.stalls += 1
            elif kind == "pauses":
                story += [("pause", 9, {}), ("heartbeat", 13, {}), ("play", 15, {})]
                played_s, wall_s = 10.0, 16.0
            elif kind == "recovers":
                story += [("error", 10, {}), ("heartbeat", 11, {})]
            if kind == "fails":
                story.append(("error", wall_s, {"error_code": "DECODE"}))
                edge.failures += 1
            else:
                story.append(("stop", wall_s, {}))
            edge.stalled_s += stalled_s
            edge.watched_s += played_s + stalled_s + startup_ms / 1_000
            edge.bits += kbps * played_s
            edge.media_s += played_s
        for sequence, (event_type, at_s, more) in enumerate(story):
            event = {
                "event_id": _id(chance), "event_type": event_type, "sequence": sequence,
                "occurred_at": begun_ms + int(at_s * 1_000), **fixed, **more,
            }  # fmt: skip
            edge.sent += 1
            if kind == "loses" and event_type == "heartbeat" and at_s == 4:
                edge.lost += 1
                continue
            self.events.append(event)

    def post(self, gateway: Gateway) -> None:
        """In an order of their own, some of them twice."""
        events = self.events + self.chance.sample(self.events, len(self.events) // 5)
        self.chance.shuffle(events)
        for first in range(0, len(events), 20):
            answer = Book().post(gateway.url, events[first : first + 20])
            assert answer.status == 200 and answer.json["rejected"] == 0, answer.text


def _id(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def check(group: dict[str, Any], edge: Edge) -> None:
    counts = {"sessions": edge.sessions, "starts": edge.starts, "stalls": edge.stalls}
    counts |= {"playback_failures": edge.failures, "exits_before_start": edge.exits}
    assert {name: group[name] for name in counts} == counts
    assert group["watched_s"] == pytest.approx(edge.watched_s, abs=0.01)
    assert group["stalled_share"] == pytest.approx(edge.stalled_s / edge.watched_s, abs=1e-5)
    assert group["playback_failure_share"] == pytest.approx(edge.failures / edge.sessions, abs=1e-5)
    assert group["average_bitrate_kbps"] == pytest.approx(edge.bits / edge.media_s, abs=1)
    assert group["delivery_loss_share"] == pytest.approx(edge.lost / edge.sent, abs=1e-5)
    told = group["startup_ms"]
    assert told["count"] == len(edge.startups_ms)
    for bucket in told["histogram"]:
        at_most = bucket["le_ms"] or float("inf")
        assert bucket["count"] == sum(one <= at_most for one in edge.startups_ms)


@pytest.fixture(scope="module")
def crowd(gateway: Gateway) -> Crowd:
    result = Crowd(seed=20_261_126)
    kinds = ("smooth", "stalls", "pauses", "fails", "recovers", "leaves", "fails_to_start", "loses")
    for number in range(160):
        result.session(kinds[number % len(kinds)])
    result.post(gateway)
    return result


def is_told(gateway: Gateway, crowd: Crowd) -> bool:
    told = {group["cdn_edge"]: group for group in groups(gateway, "?by=cdn_edge&window=1h")}
    for name, edge in crowd.edges.items():
        check(told[name], edge)
    return True


def test_every_figure_of_every_edge_is_what_its_sessions_went_through(gateway: Gateway, crowd: Crowd) -> None:
    eventually(lambda: is_told(gateway, crowd), SOON_S, "told")
    answer = qoe(gateway, "?by=cdn_edge&window=1h").json
    assert (answer["by"], answer["window"], answer["stands_for"]) == ("cdn_edge", "1h", 1)
    assert answer["since"] <= answer["as_of"]


def test_every_dimension_sums_to_the_whole(gateway: Gateway, crowd: Crowd) -> None:
    eventually(lambda: is_told(gateway, crowd), SOON_S, "told")
    (whole,) = groups(gateway, "?window=1h")
    assert whole["sessions"] == 160
    for by in ("platform", "cdn_edge", "country"):
        parts = groups(gateway, f"?by={by}&window=1h")
        assert sum(part["sessions"] for part in parts) == 160
        assert sum(part["watched_s"] for part in parts) == pytest.approx(whole["watched_s"], abs=0.01)
    assert {part["platform"] for part in groups(gateway, "?by=platform&window=1h")} == {None}
    assert len(groups(gateway, "?by=content_id&window=1h&top=7")) == 7


@pytest.mark.parametrize(
    "query", ["?by=user", "?by=", "?by=country&by=country", "?window=2m", "?window=", "?top=0", "?top=101"]
)
def test_what_is_not_offered_is_refused_by_its_code(gateway: Gateway, query: str) -> None:
    answer = qoe(gateway, query)
    assert (answer.status, answer.json["error"]) == (400, "out_of_range")


def test_a_reader_that_stands_still_has_no_figures(gateway: Gateway, crowd: Crowd) -> None:
    with stopped(pid_of(gateway, "readers")):
        answer = qoe(gateway)
        assert (answer.status, answer.json["error"]) == (503, "qoe_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    eventually(lambda: is_told(gateway, crowd), SOON_S, "told")


def test_a_killed_reader_and_a_restarted_gateway_go_on_with_the_same_figures(gateway: Gateway, crowd: Crowd) -> None:
    eventually(lambda: is_told(gateway, crowd), SOON_S, "told")
    before = pid_of(gateway, "readers")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: pid_of(gateway, "readers") != before, BACK_S, "started again")
    eventually(lambda: is_told(gateway, crowd), BACK_S, "told by its successor")
    gateway.stop()
    gateway.start()
    gateway.wait_ready()
    more = Crowd(seed=7)
    more.edges = crowd.edges
    for kind in ("smooth", "stalls"):
        more.session(kind)
    more.post(gateway)
    crowd.post(gateway)  # all of it once more
    eventually(lambda: is_told(gateway, crowd), BACK_S, "told behind the restart")


def test_prometheus_sees_the_whole_of_it(gateway: Gateway, crowd: Crowd) -> None:
    def seen() -> bool:
        text = ask(gateway.endpoints["admin"] + "/metrics").text
        told = dict(line.split(" ") for line in text.splitlines() if line.startswith("ingest_qoe_") and "{" not in line)
        return float(told["ingest_qoe_stands_for_sessions"]) == 1 and float(told["ingest_qoe_followed_sessions"]) >= 160

    eventually(seen, SOON_S, "seen")
