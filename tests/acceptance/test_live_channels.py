"""A channel of the catalogue follows its viewers in a running gateway, and what is watched gets its hotness."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final
from uuid import uuid4

import pytest

from tests.acceptance.client import Book, an_event, ask, eventually, sql
from tests.acceptance.gateway_process import Gateway, let_others_through

BEGUN_S: Final = 60.0  # jobs let a start pass
FOLLOWED_S: Final = 30.0  # ten are promised; a machine with other things to do
HOT_S: Final = 120.0  # it is written every minute


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("channels")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as served:
        served.start()
        yield served.wait_ready()


def test_a_channel_follows_a_viewer_who_comes_and_goes_and_its_hotness_is_served(gateway: Gateway) -> None:
    postgres, content, session = gateway.endpoints["postgres"], uuid4(), str(uuid4())
    admin = gateway.endpoints["admin"]
    sql(postgres, "INSERT INTO content (id, title, type) VALUES ($1, 'News', 'live_channel')", content)
    sql(postgres, "INSERT INTO live_channels (content_id) VALUES ($1)", content)

    def tell(kind: str, sequence: int) -> None:
        event = an_event(event_type=kind, content_id=str(content), session_id=session, sequence=sequence)
        assert Book().post(gateway.endpoints["http"], [event]).status == 200

    beats = itertools.count(1)

    def seen(viewers: int) -> bool:
        (row,) = sql(postgres, "SELECT viewer_count, is_live FROM live_channels WHERE content_id = $1", content)
        if viewers:
            tell("heartbeat", next(beats))
        return bool(row["is_live"]) and row["viewer_count"] == viewers

    answer = ask(f"{admin}/v1/hotness/{content}")
    assert (answer.status, answer.json["error"]) == (404, "unknown_content")
    tell("play", 0)
    eventually(lambda: seen(1), BEGUN_S, "a viewer")
    tell("stop", next(beats))
    eventually(lambda: seen(0), FOLLOWED_S, "gone, and live for a minute more")

    eventually(lambda: ask(f"{admin}/v1/hotness/{content}").status == 200, HOT_S, "it is written")
    hot = ask(f"{admin}/v1/hotness/{content}").json
    assert hot.pop("updated_at") is not None
    assert hot == {
        "content_id": str(content),
        "hotness_score": 0.0001,
        "view_count_24h": 1,
        "view_count_7d": 1,
        "view_count_30d": 1,
        "replication_tier": 3,
        "ttl_hint": 3600,
    }
    best = ask(f"{admin}/v1/hotness?tier=3").json
    assert best["tier"] == 3 and [one["content_id"] for one in best["contents"]] == [str(content)]
    assert ask(f"{admin}/v1/hotness?tier=1").json == {"tier": 1, "contents": []}
    for query in ("tier=4", "tier=1&tier=2", "tier=", "top=0"):
        refused = ask(f"{admin}/v1/hotness?{query}")
        assert (refused.status, refused.json["error"]) == (400, "out_of_range"), query

    jobs = {job["job"]: job for job in gateway.statusz()["jobs"]}
    assert {job["outcome"] for job in jobs.values()} == {"done"}, jobs
    assert set(jobs) == {"ad_campaigns", "live_channels", "content_hotness", "content_popularity", "ad_retention"}
    metrics = ask(f"{admin}/metrics").text
    assert 'ingest_job_turns_total{job="content_hotness",outcome="done"}' in metrics
    agreed = "ingest_hotness_difference_ratio 0.0"
    eventually(lambda: agreed in ask(f"{admin}/metrics").text, HOT_S, "both who count agree")
    assert "Traceback" not in gateway.everything_logged()
