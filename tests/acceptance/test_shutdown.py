"""SIGTERM: readiness goes first, what is under way is answered, and it is over by the deadline whatever hangs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Final

import pytest

from loadtests.procfs import alive, tree
from tests.acceptance.client import Book, an_event, ask, eventually, pid_of, stopped, stored_ids
from tests.acceptance.gateway_process import Gateway
from tests.acceptance.keepalive import Players
from tests.acceptance.wire import connected, received_answer

TIMEOUT_S: Final = 10
SLACK_S: Final = 3.0  # for a machine that other tests have to themselves at the moment
DRAIN_S: Final = 60.0
ENVIRONMENT: Final = {"INGEST_SHUTDOWN_TIMEOUT_S": str(TIMEOUT_S)}


def assert_ended_in_time(gateway: Gateway, begun_s: float, within_s: float = TIMEOUT_S) -> None:
    """It exited with 0 before the deadline."""
    eventually(gateway.ended, within_s + SLACK_S - (time.monotonic() - begun_s), "ended")
    assert gateway.stop() == 0


def assert_stored_once(gateway: Gateway, acknowledged: set[str]) -> None:
    """After the next start every event that was acknowledged is a row, and `verify` agrees."""
    gateway.start()
    gateway.wait_ready()

    def all_there() -> bool:
        stored = stored_ids(gateway.endpoints["postgres"])
        return all(stored[event_id] for event_id in acknowledged)

    eventually(all_there, DRAIN_S, "all are stored")
    stored = stored_ids(gateway.endpoints["postgres"])
    assert all(stored[event_id] == 1 for event_id in acknowledged)
    verified = gateway.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_every_answer_given_before_during_and_after_a_sigterm_under_load_is_kept(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway(arguments=("--workers", "2"), environment=ENVIRONMENT)
    gateway.start()
    url = gateway.wait_ready().endpoints["http"]
    with Players(url, resend=True) as players:
        for _ in range(2):
            answered_more(players, 100)
            begun_s = time.monotonic()
            os.kill(gateway.pid, signal.SIGTERM)
            assert_ended_in_time(gateway, begun_s)
            spool = gateway.data_dir / "spool"
            assert not list(spool.glob("*/*.open")), "what was written is sealed"
            assert len(list(spool.glob("*/ended"))) == len(list(spool.glob("*/watermark"))) > 0, "and ended"
            gateway.start()
            gateway.wait_ready()
        answered_more(players, 1)
    assert set(players.statuses) == {200}, "no request is refused on the way out"
    gateway.stop()
    assert_stored_once(gateway, players.acknowledged)


def answered_more(players: Players, count: int) -> None:
    before = len(players.acknowledged)
    eventually(lambda: len(players.acknowledged) >= before + count, 30, "more is answered")


def test_readiness_is_off_at_once_the_door_only_after_the_delay_and_the_drains_deliver_the_rest(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway(environment={**ENVIRONMENT, "INGEST_SHUTDOWN_DELAY_S": "4"})
    gateway.start()
    at, book = gateway.wait_ready().endpoints, Book()
    with connected(at["http"]) as trickling:
        trickling.sendall(b"POST /v1/events HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1000\r\n\r\n{")
        begun_s = time.monotonic()
        os.kill(gateway.pid, signal.SIGTERM)
        told = eventually(lambda: (a := ask(at["admin"] + "/readyz")).status == 503 and a, 2, "not ready")
        assert not isinstance(told, bool)
        assert told.json["reasons"] == ["draining"]
        while time.monotonic() < begun_s + 2:
            assert book.post(at["http"], [an_event()]).status == 200
        # the trickling request holds its collector, and the admin door is still there
        eventually(lambda: refused(at["http"]), 5, "the door is closed")
        assert time.monotonic() >= begun_s + 3.5
        assert ask(at["admin"] + "/readyz").status == 503
        assert ask(at["admin"] + "/livez").status == 200
        answer = received_answer(trickling)
        assert answer.startswith(b"HTTP/1.1 503") and b'"error":"draining"' in answer
        assert trickling.recv(1) == b""
    assert_ended_in_time(gateway, begun_s)
    assert "shutdown_overdue" not in gateway.everything_logged()
    assert_stored_once(gateway, book.rows)


def refused(url: str) -> bool:
    try:
        ask(url + "/v1/events", "OPTIONS")
    except OSError:
        return True
    return False


def test_a_second_signal_skips_the_delay_and_harms_nothing(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(environment={"INGEST_SHUTDOWN_TIMEOUT_S": "90", "INGEST_SHUTDOWN_DELAY_S": "60"})
    gateway.start()
    at, book = gateway.wait_ready().endpoints, Book()
    book.post(at["http"], [an_event() for _ in range(10)])
    begun_s = time.monotonic()
    os.kill(gateway.pid, signal.SIGTERM)
    eventually(lambda: ask(at["admin"] + "/readyz").status == 503, 5, "it was heard")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        os.kill(gateway.pid, number)
    assert_ended_in_time(gateway, begun_s, within_s=20)
    assert_stored_once(gateway, book.rows)
    os.kill(gateway.pid, signal.SIGTERM)
    eventually(lambda: ask(at["admin"] + "/readyz").status == 503, 5, "it was heard")
    os.kill(gateway.pid, signal.SIGTERM)  # nobody waits for its delay a second time


@pytest.mark.parametrize("role", ["postgres", "collector", "postgres_drain"])
def test_the_deadline_holds_whatever_hangs(make_gateway: Callable[..., Gateway], role: str) -> None:
    gateway = make_gateway(environment=ENVIRONMENT)
    gateway.start()
    at, book = gateway.wait_ready().endpoints, Book()
    eventually(lambda: book.post(at["http"], [an_event() for _ in range(50)]).status == 200, 10, "answered")
    gateway.pids()
    running = {one.process for one in tree(gateway.pid)}
    with stopped(pid_of(gateway, role)):
        begun_s = time.monotonic()
        os.kill(gateway.pid, signal.SIGTERM)
        assert_ended_in_time(gateway, begun_s)
    eventually(lambda: not any(alive(process) for process in running), 10, "nothing is left")
    assert "shutdown_overdue" not in gateway.everything_logged(), "it was orderly, and not the last resort"
    assert_stored_once(gateway, book.rows)


def test_a_restart_is_broken_off_by_a_sigterm(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(environment={**ENVIRONMENT, "INGEST_SHUTDOWN_RESTART_GRACE_S": "60"})
    gateway.start()
    at, book = gateway.wait_ready().endpoints, Book()
    body = json.dumps([an_event()]).encode()
    with connected(at["http"]) as idle:
        idle.sendall(b"POST /v1/events HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        received_answer(idle)
        collector = pid_of(gateway, "collector")
        os.kill(gateway.pid, signal.SIGHUP)
        eventually(lambda: pid_of(gateway, "collector") != collector, 30, "replaced; the old one waits for its client")
        book.post(at["http"], [an_event()])
        begun_s = time.monotonic()
        os.kill(gateway.pid, signal.SIGTERM)
        assert_ended_in_time(gateway, begun_s)
        assert idle.recv(1) == b""
    assert_stored_once(gateway, book.rows)
