"""Both doors of a gateway and its stores as a stranger meets them, and a book of what the answers promised."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from loadtests.procfs import tree
from loadtests.product import Product

T = TypeVar("T")

JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def ask(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    timeout_s: float = 5,
) -> Answer:
    """One request on a connection of its own. Raises OSError."""
    at = urlsplit(url)
    assert at.hostname
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=timeout_s)
    try:
        connection.request(method, f"{at.path}?{at.query}" if at.query else at.path, body, dict(headers))
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, text)


def an_event(**changes: Any) -> dict[str, Any]:
    """A valid play of this moment; a change to None is null, that is absent."""
    event: dict[str, Any] = {
        "event_id": str(uuid4()),
        "event_type": "play",
        "content_id": str(uuid4()),
        "session_id": str(uuid4()),
        "occurred_at": time.time_ns() // 1_000_000,
        "position": 61,
    }
    return event | changes


@dataclass
class Book:
    """What the answers to these posts said, in sum. `rows` are the ids of events that must be rows."""

    statuses: Counter[int] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    """accepted · duplicates · rejected"""
    refused_events: Counter[str] = field(default_factory=Counter)
    refused_requests: Counter[str] = field(default_factory=Counter)
    rows: set[str] = field(default_factory=set)

    def post(self, url: str, events: Sequence[dict[str, Any]], **envelope: Any) -> Answer:
        """Post events in an envelope, with what else it shall say."""
        return self.send(url, json.dumps({**envelope, "events": events}).encode(), events)

    def send(
        self, url: str, body: bytes, events: Sequence[dict[str, Any]] = (), headers: Mapping[str, str] = JSON
    ) -> Answer:
        """Post a body that holds `events`."""
        answer = ask(url + "/v1/events", "POST", body, headers)
        self.statuses[answer.status] += 1
        if "error" in answer.json:
            self.refused_requests[answer.json["error"]] += 1
            return answer
        self.said.update({name: answer.json[name] for name in ("accepted", "duplicates", "rejected")})
        errors = answer.json.get("errors", [])
        self.refused_events.update(error["code"] for error in errors)
        named = {error["index"] for error in errors}
        assert len(named) == answer.json["rejected"], "only the first hundred are named: send fewer bad ones"
        taken = [event for index, event in enumerate(events) if index not in named]
        self.rows.update(event["event_id"] for event in taken if event["event_type"] != "heartbeat")
        return answer


def eventually(see: Callable[[], T], within_s: float, what: str) -> T:
    """What `see` gives once it is true; a failure of it is a not yet, and raised at the end."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            seen = see()
        except (AssertionError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            if time.monotonic() >= deadline:
                raise
        else:
            if seen:
                return seen
            assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.1)


def pid_of(product: Product, role: str) -> int:
    """The process in this role; fails while there is none."""
    (pid,) = (process["pid"] for process in product.statusz()["processes"] if process["role"] == role)
    assert isinstance(pid, int), role
    return pid


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """These processes and all below them stand still (SIGSTOP): there, and without an answer."""
    held = [seen.process.pid for pid in pids for seen in tree(pid)]
    assert held, "nothing to stop"
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(held):
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass


def sql(url: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    """Run one statement on a connection of its own."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url, timeout=10, command_timeout=20)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    return asyncio.run(run())


def stored_ids(url: str) -> Counter[str]:
    """How often every event id is a row."""
    return Counter(str(row["event_id"]) for row in sql(url, "SELECT event_id FROM playback_events"))
