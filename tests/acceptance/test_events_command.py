"""`events`: what is stored, as either store keeps it, in the same words."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.acceptance.client import Book, an_event, eventually
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.acceptance.test_cql_store import Cinema

SOON_S: Final = 60.0


@pytest.mark.parametrize("store", ["postgres", "scylla"])
def test_events_are_told_by_session_content_profile_and_edge(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if store == "scylla":
        cassandra = request.getfixturevalue("cassandra")
        cinema = Cinema(tmp_path, cassandra.contact_points, cassandra.port)
        gateway = cinema.gateway
        for name, value in cinema.environment.items():
            monkeypatch.setenv(name, value)
    else:
        (tmp_path / "data").mkdir()
        let_others_through(tmp_path)
        gateway = Gateway(tmp_path / "data")

    def told(*arguments: str) -> list[dict[str, Any]]:
        done = gateway.command("events", *arguments)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    session, content, profile, now_ms = str(uuid4()), str(uuid4()), str(uuid4()), time.time_ns() // 1_000_000
    shared: dict[str, Any] = {"session_id": session, "content_id": content, "profile_id": profile}
    sent = [
        an_event(**shared, occurred_at=now_ms - 1_000 * ago, sequence=9 - ago, event_type=kind, **more)
        for ago, kind, more in [
            (9, "play", {}),
            (7, "pause", {}),
            (5, "error", {"error_code": "E1", "cdn_edge": "fra-1"}),
            (3, "error", {"error_code": "E2"}),
        ]
    ]
    ids = [event["event_id"] for event in sent]
    with gateway:
        gateway.start()
        url = gateway.wait_ready().endpoints["http"]
        Book().post(url, [*sent, an_event()])
        found = eventually(lambda: (seen := told("session", session))[3:] and seen, SOON_S, "they are stored")
        assert [one["event_id"] for one in found] == ids
        first = found[0]
        assert {name: first[name] for name in ("session_id", "content_id", "profile_id")} == shared
        assert (first["occurred_at_us"], first["position"], first["test"]) == (1_000 * (now_ms - 9_000), 61, False)
        assert "error_code" not in first and "sent_at_us" not in first
        assert [one["event_id"] for one in told("session", session, "--limit", "2")] == ids[:2]
        assert [one["event_id"] for one in told("content", content)] == ids[::-1]
        assert [one["event_id"] for one in told("profile", profile, "--limit", "1")] == ids[3:]
        since = datetime.fromtimestamp(now_ms / 1_000 - 6, UTC).isoformat()
        assert told("content", str(uuid4())) == [] == told("session", session, "--until", "2020-01-01")
        assert [one["event_id"] for one in told("content", content, "--since", since)] == ids[:1:-1]
        assert [one["error_code"] for one in told("errors", "fra-1")] == ["E1"]
        assert ids[3] in {one["event_id"] for one in told("errors", "")}
        planned = gateway.command(
            "events", "plan", content, (datetime.now(UTC) + timedelta(days=4)).strftime("%F"), "64"
        )
        assert planned.returncode == (0 if store == "scylla" else 1), planned.stderr
        if store == "scylla":
            refused = gateway.command("events", "plan", content, datetime.now(UTC).strftime("%F"), "64")
            assert refused.returncode == 1 and "open already" in refused.stderr
            assert "0 applied in CQL" in gateway.command("migrate", "up").stdout
