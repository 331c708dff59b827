"""The door as a client meets it: one request, its answer, and what every answer must have."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import redis

from loadtests.reconcile import COUNT_SQL
from tests.acceptance.gateway_process import Gateway

JSON: Final = {"Content-Type": "application/json"}
NDJSON: Final = {"Content-Type": "application/x-ndjson"}
ORIGIN: Final = "https://watch.example"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        """The one code of a refusal: of the request, or of its only refused event."""
        if "error" in self.body:
            return str(self.body["error"])
        (error,) = self.body["errors"]
        return str(error["code"])


def post(gateway: Gateway, body: bytes, headers: Mapping[str, str] = JSON, path: str = "/v1/events") -> Answer:
    """POST once over a connection of its own; every answer must carry CORS headers and be JSON."""
    at = urlsplit(gateway.endpoints["http"])
    assert at.hostname
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
    try:
        connection.request("POST", path, body, {"Origin": ORIGIN, **headers})
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(text or b"null"))
    assert answer.status < 500, answer
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    return answer


def raw(gateway: Gateway, data: bytes) -> Answer:
    """Send bytes as they are and read one answer to its end."""
    at = urlsplit(gateway.endpoints["http"])
    with socket.create_connection((at.hostname, at.port), timeout=20) as connection:
        connection.sendall(data)
        response = http.client.HTTPResponse(connection)
        response.begin()
        text = response.read()
    answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(text or b"null"))
    assert answer.status < 500, answer
    assert "access-control-allow-origin" in answer.headers
    return answer


def an_event(**changes: Any) -> dict[str, Any]:
    """A valid event; a change to None leaves the field out."""
    event = {
        "event_id": str(uuid4()),
        "event_type": "play",
        "content_id": str(uuid4()),
        "session_id": str(uuid4()),
        "sequence": 1,
        "occurred_at": int(time.time() * 1000),
        "position": 3,
        **changes,
    }
    return {name: value for name, value in event.items() if value is not None}


def text_of(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


def assert_nothing_stored(gateway: Gateway) -> None:
    """No row, no view, no session, no dead letter; whatever was kept by mistake has a second to get there."""

    async def rows() -> int:
        postgres = await asyncpg.connect(gateway.endpoints["postgres"])
        try:
            count: int = await postgres.fetchval(COUNT_SQL)
            return count
        finally:
            await postgres.close()

    time.sleep(1)
    assert asyncio.run(rows()) == 0
    store = redis.Redis.from_url(gateway.endpoints["redis"])
    try:
        kept = [key for key in store.keys("{ingest}:*") if b":view" in key or b":session:" in key]
    finally:
        store.close()
    assert kept == []
    assert not list(gateway.data_dir.glob("dead/*"))
