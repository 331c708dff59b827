"""Quality of experience, as the admin port tells it, is what a small crowd went through, over restarts and kills."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

import pytest

from loadtests.truth.quality import Edge, Watched
from tests.acceptance.client import Answer, Book, ask, eventually, pid_of, stopped
from tests.acceptance.gateway_process import Gateway, let_others_through

HEARTBEAT_S: Final = 4
"""So a lease is ten seconds."""
SOON_S: Final = 40.0
BACK_S: Final = 60.0
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


class Crowd:
    """Sessions of the last minute; every event is kept, to be posted."""

    def __init__(self, seed: int, edges: dict[str, Edge] | None = None) -> None:
        self.chance = random.Random(seed)
        self._watched = Watched(seed, EDGES, [UUID(int=number) for number in range(30)])
        if edges is not None:
            self._watched.edges = edges
        self.edges = self._watched.edges
        self.events: list[dict[str, Any]] = []

    def watch(self, many: int) -> None:
        sessions = self._watched.sessions(many, time.time_ns() // 1_000_000)
        self.events += [event for session in sessions for event in session]

    def post(self, gateway: Gateway) -> None:
        """In an order of their own, some of them twice."""
        events = self.events + self.chance.sample(self.events, len(self.events) // 5)
        self.chance.shuffle(events)
        for first in range(0, len(events), 20):
            answer = Book().post(gateway.url, events[first : first + 20])
            assert answer.status == 200 and answer.json["rejected"] == 0, answer.text


@pytest.fixture(scope="module")
def crowd(gateway: Gateway) -> Crowd:
    result = Crowd(seed=20_261_126)
    result.watch(160)
    result.post(gateway)
    return result


def is_told(gateway: Gateway, crowd: Crowd) -> bool:
    told = {group["cdn_edge"]: group for group in groups(gateway, "?by=cdn_edge&window=1h")}
    for name, edge in crowd.edges.items():
        assert not edge.wrong(told[name])
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
    more = Crowd(seed=7, edges=crowd.edges)
    more.watch(2)
    more.post(gateway)
    crowd.post(gateway)  # all of it once more
    eventually(lambda: is_told(gateway, crowd), BACK_S, "told behind the restart")


def test_prometheus_sees_the_whole_of_it(gateway: Gateway, crowd: Crowd) -> None:
    def seen() -> bool:
        text = ask(gateway.endpoints["admin"] + "/metrics").text
        told = dict(line.split(" ") for line in text.splitlines() if line.startswith("ingest_qoe_") and "{" not in line)
        return float(told["ingest_qoe_stands_for_sessions"]) == 1 and float(told["ingest_qoe_followed_sessions"]) >= 160

    eventually(seen, SOON_S, "seen")
