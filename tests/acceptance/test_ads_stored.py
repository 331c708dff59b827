"""Ad events by pixel and by request are one row an impression; `verify` counts them, a refused one is replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance.client import an_event, ask, eventually, sql
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.acceptance.refusing import SOON_S, counted, dead, letters
from tests.acceptance.scene import settled
from tests.acceptance.verified import described, verify


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("ads")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as made:
        made.start()
        yield made.wait_ready()


def an_ad(event: str, impression: str, seconds_ago: float, **changes: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return {"type": "ad", "event": event, "impression_id": impression, "occurred_at": at.isoformat()} | changes


def post(gateway: Gateway, events: list[dict[str, Any]]) -> int:
    """How many were accepted."""
    url = gateway.endpoints["http"] + "/v1/events"
    answer = ask(url, "POST", json.dumps({"events": events}).encode(), {"Content-Type": "application/json"})
    return int(answer.json["accepted"])


def of(gateway: Gateway, impression: str) -> dict[str, Any]:
    rows = sql(gateway.endpoints["postgres"], "SELECT * FROM ad_impressions WHERE impression_id = $1", impression)
    return dict(rows[0]) if rows else {"events": 0, "repeats": 0}


def test_pixels_and_requests_meet_in_one_row_and_verify_counts_them(gateway: Gateway) -> None:
    shown, campaign, url = str(uuid4()), str(uuid4()), gateway.endpoints["http"]
    start = an_ad("start", shown, 60)
    posted = [
        an_ad("impression", shown, 61, campaign_id=campaign), an_event(), start,
        an_ad("progress", shown, 55, progress_offset="00:00:05"), start,
    ]  # fmt: skip
    assert post(gateway, posted) == 4  # the start comes twice in one request
    for event in ("firstQuartile", "FIRSTQUARTILE", "complete", "mute"):
        assert ask(f"{url}/v1/ad/{event}?imp={shown}", "HEAD").status == 200
    eventually(lambda: of(gateway, shown)["events"] == 6, SOON_S, "six events of one impression")
    eventually(lambda: of(gateway, shown)["repeats"] == 1, SOON_S, "and one that came twice")
    row = of(gateway, shown)
    assert str(row["campaign_id"]) == campaign and row["other_events"] == ["progress 00:00:05"]
    assert row["completion_percent"] == 100 and not row["implausible"]
    settled(gateway)
    code, report = verify(gateway)
    assert (code, report["months"]["ads"]) == (0, {"stored": 6, "in_table": 6})


def test_verify_says_when_the_rows_of_ads_are_not_what_was_stored(gateway: Gateway) -> None:
    shown, url = str(uuid4()), gateway.endpoints["postgres"]
    settled(gateway)
    before = sql(url, "SELECT coalesce(sum(events), 0)::bigint FROM ad_impressions")[0][0]
    sql(url, "INSERT INTO ad_impressions (impression_id, events) VALUES ($1, 3)", shown)
    try:
        code, report = verify(gateway)
        assert code == 1
        assert described(report, "month") == [f"stored {before} ad events, the rows of ad_impressions say {before + 3}"]
    finally:
        sql(url, "DELETE FROM ad_impressions WHERE impression_id = $1", shown)


def test_a_refused_ad_event_is_shown_mended_and_replayed(gateway: Gateway, tmp_path: Path) -> None:
    url = gateway.endpoints["postgres"]
    sql(url, "ALTER TABLE ad_impressions ADD CONSTRAINT sane CHECK (creative_id <> 'bad')")
    one, two = str(uuid4()), str(uuid4())
    bad = [an_ad("midpoint", shown, 5, creative_id="bad", duration=15.5, error_code="1") for shown in (one, two)]
    assert post(gateway, bad) == 2
    eventually(lambda: counted(gateway) == 2, SOON_S, "they are dead letters")
    found = {letter["event_id"]: letter["id"] for letter in letters(gateway)}
    shown = json.loads(dead(gateway, "show", found[one]).stdout)
    assert shown["event"].items() >= {"type": "ad", "event": "midpoint", "impression_id": one, "duration": 15.5}.items()
    refused = dead(gateway, "replay", found[one], "--edit", "progress_offset=3")
    assert refused.returncode == 2 and "is the key" in refused.stderr
    done = dead(gateway, "replay", found[one], "--edit", "creative_id=good")
    assert done.returncode == 0, done.stderr
    corrected = tmp_path / "corrected.json"
    corrected.write_text(dead(gateway, "show", found[two]).stdout.replace('"bad"', '"mended"'))
    done = dead(gateway, "replay", found[two], "--edit-file", str(corrected))
    assert done.returncode == 0, done.stderr
    eventually(lambda: of(gateway, two)["events"] == 1 == of(gateway, one)["events"], SOON_S, "they are rows")
    assert [of(gateway, shown)["creative_id"] for shown in (one, two)] == ["good", "mended"]
    assert of(gateway, one)["duration"] == 15_500
    settled(gateway)
    code, report = verify(gateway)
    assert (code, report["totals"]["dead"]) == (0, 2)
