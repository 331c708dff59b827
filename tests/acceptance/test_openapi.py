"""What the admin port answers is what its OpenAPI document says, with its stores there and with Redis away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.client import Book, an_event, ask, eventually, pid_of, sql, stopped
from tests.acceptance.gateway_process import Gateway, let_others_through

ENDLESS: Final = ("/v1/live/stream", "/v1/gateway/stream")  # test_live_api.py and test_page.py listen to them
USER: Final = "3f0c6a52-0b5e-4b39-8a0e-51d0a4f0c9aa"  # the document's examples
CONTENT: Final = "7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c11"
CAMPAIGN: Final = "c0ffee00-6b1d-4f0e-9d52-3a1f5b7e9c10"
SOON_S: Final = 15.0
NOTICED_S: Final = 30.0  # a reader waits ten seconds for an answer


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("openapi")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as served:
        served.start()
        served.wait_ready()
        Book().post(served.endpoints["http"], [an_event(profile_id=USER) for _ in range(3)])
        row = "INSERT INTO users (id, email, username, password_hash) VALUES ($1, 'a', 'a', 'x')"
        sql(served.endpoints["postgres"], row, USER)
        sql(served.endpoints["postgres"], "INSERT INTO profiles (id, user_id, name) VALUES ($1, $1, 'x')", USER)
        title = "INSERT INTO content (id, type, title) VALUES ($1, 'movie', 'x')"
        sql(served.endpoints["postgres"], title, CONTENT)
        sql(served.endpoints["postgres"], "INSERT INTO content_hotness (content_id) VALUES ($1)", CONTENT)
        campaign = "INSERT INTO ad_campaigns (id, name, advertiser, start_date) VALUES ($1, 'x', 'x', '2026-11-01')"
        sql(served.endpoints["postgres"], campaign, CAMPAIGN)
        hour = "INSERT INTO ad_campaign_hours (campaign_id, hour, clicks) VALUES ($1, '2026-11-15T12:00:00Z', 1)"
        sql(served.endpoints["postgres"], hour, CAMPAIGN)
        admin = served.endpoints["admin"]
        eventually(lambda: ask(admin + "/v1/live").json.get("viewers") == 3, SOON_S, "counted")
        yield served


def schemathesis(gateway: Gateway, directory: Path, *options: str) -> str:
    """Ask for everything, rightly and wrongly. What it printed; fails when an answer is not as described."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", gateway.endpoints["admin"] + "/openapi.json"]
    command += [word for path in ENDLESS for word in ("--exclude-path", path)]
    command += ["--seed", "1", "--no-color", "--generation-database", "none"]
    done = subprocess.run(
        [*command, "--request-timeout", "10", "--max-examples", "25", *options],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_every_answer_is_as_described_and_none_is_a_5xx(gateway: Gateway, tmp_path: Path) -> None:
    told = schemathesis(gateway, tmp_path, "--checks", "all")
    assert "No issues found" in told, told


def test_without_redis_live_numbers_are_a_503_as_described_and_the_rest_is_as_before(
    gateway: Gateway, tmp_path: Path
) -> None:
    with stopped(pid_of(gateway, "redis")):
        admin = gateway.endpoints["admin"]
        eventually(lambda: "waiting" in ask(admin + "/v1/live").text, NOTICED_S, "its reader has noticed")
        away = ["not_a_server_error", "positive_data_acceptance"]  # 503 is what is described
        told = schemathesis(gateway, tmp_path, "--exclude-checks", ",".join(away))
        assert "No issues found" in told, told
