"""A rolling restart under load: no request fails, nothing is lost or doubled, and every process is a new one."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from loadtests.ledger import Ledger
from loadtests.reconcile import reconcile_when_drained
from tests.acceptance.audience import Audience
from tests.acceptance.client import Book, an_event, ask, eventually, stored_ids
from tests.acceptance.gateway_process import Gateway
from tests.acceptance.keepalive import Players
from tests.acceptance.wire import connected, received_answer

GRACE_S: Final = 2
DRAIN_S: Final = 60.0
STORES: Final = {"postgres", "redis"}
ENVIRONMENT: Final = {"INGEST_SHUTDOWN_RESTART_GRACE_S": str(GRACE_S)}


def pids(gateway: Gateway) -> dict[tuple[str, int], int]:
    """Of every process, by role and index."""
    return {(one["role"], one["index"]): one["pid"] for one in gateway.statusz()["processes"]}


def children(seen: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    return {place: pid for place, pid in seen.items() if place[0] not in STORES | {"supervisor"}}


def answered(gateway: Gateway) -> int:
    """Requests to the door, by the metrics of all processes there ever were."""
    text = ask(gateway.endpoints["admin"] + "/metrics").text
    counts = re.findall(r'^ingest_requests_total\{[^}]*path="/v1/events"[^}]*\} (\S+)', text, re.MULTILINE)
    return sum(int(float(count)) for count in counts)


def restarted(gateway: Gateway, *options: str) -> dict[tuple[str, int], int]:
    """Restart it; who is there then."""
    before = pids(gateway)
    done = gateway.command("restart", *options)
    assert done.returncode == 0, done.stdout + done.stderr + gateway.log_tail()
    assert done.stdout.endswith("restarted\n")
    now = pids(gateway)
    assert now.keys() == before.keys()
    assert not set(children(before).values()) & set(children(now).values()), "every child is a new process"
    for (role, index), pid in children(now).items():
        assert f"{role} {index}: {before[role, index]} → {pid}" in done.stdout
    kept = STORES | {"supervisor"}
    assert all(before[place] == pid for place, pid in now.items() if place[0] in kept)
    assert not any(one["restarts"] for one in gateway.statusz()["processes"]), "nobody died"
    return now


def test_three_rolling_restarts_under_load_fail_no_request_and_lose_nothing(
    make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = make_gateway(arguments=("--workers", "2"), environment=ENVIRONMENT)
    gateway.start()
    at = gateway.wait_ready().endpoints
    with Audience(tmp_path, at["http"], number=0) as crowd, Players(at["http"]) as players:
        crowd.acknowledged_more(1)
        for options in ((), (), (), ("--supervisor",)):
            restarted(gateway, *options)
            assert ask(at["admin"] + "/readyz").status == 200
            crowd.acknowledged_more(0.5)
    figures = crowd.figures  # its last, after everything was answered
    assert players.failures == []
    assert set(players.statuses) == {200}
    assert players.closed >= players.count, "every connection was told to close at least once"
    assert set(figures["statuses"]) <= {"200", "204", "400", "hung up"}, figures
    assert gateway.statusz()["ready"]

    ledger = Ledger.read(sorted(tmp_path.glob("*.ledger")))
    assert not ledger.unanswered()
    rows = ledger.acknowledged_rows() + len(players.acknowledged)
    eventually(lambda: stored_ids(at["postgres"]).total() >= rows, DRAIN_S, "all are stored")
    stored = stored_ids(at["postgres"])
    assert stored.total() == rows, "nothing twice, and nothing that was not acknowledged"
    assert all(stored[event_id] == 1 for event_id in players.acknowledged)
    report = asyncio.run(reconcile_when_drained(ledger, at, own_contents_only=True, wait_s=DRAIN_S))
    assert report.equal, report.text()
    verified = gateway.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    # counts of processes that are gone stay in the sums; a crowd that hung up did not see every answer
    seen = players.statuses.total() + sum(int(n) for status, n in figures["statuses"].items() if status.isdigit())
    assert seen <= answered(gateway) <= seen + figures["statuses"].get("hung up", 0)


def test_an_idle_connection_is_closed_cleanly_and_a_request_under_way_is_answered(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway(environment=ENVIRONMENT)
    gateway.start()
    url, book = gateway.wait_ready().endpoints["http"], Book()
    body = json.dumps([an_event()]).encode()
    head = f"POST /v1/events HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with connected(url) as idle, connected(url) as general, connected(url) as slow, connected(url) as late:
        for one in (idle, slow, late):
            one.sendall(head + body)
            assert b"Connection: close" not in received_answer(one)
        general.sendall(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert received_answer(general).startswith(b"HTTP/1.1 404")
        slow.sendall(head + body[:20])
        late.sendall(head[:30])
        before = children(pids(gateway))
        done = subprocess.Popen(gateway.command_line("restart"), stdout=subprocess.DEVNULL)
        eventually(lambda: children(pids(gateway))["collector", 0] != before["collector", 0], 30, "replaced")
        assert book.post(url, [an_event()]).status == 200, "the new one takes connections"
        for one in (idle, general):
            assert one.recv(1) == b"", "closed, and not reset"
        for one, rest in ((slow, body[20:]), (late, head[30:] + body)):
            one.sendall(rest)
            answer = received_answer(one)
            assert answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer
            assert one.recv(1) == b""
        assert done.wait(60) == 0
