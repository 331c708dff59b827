"""Replaying letters: what the front says decides, every answer is held against what was asked, and order is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.edit import BadEdit, event_in, parsed_edit, with_key
from gateway.front import TRIES_MAX, Front, FrontRefused, FrontUnavailable, TooLarge
from gateway.replay import Change, replay
from ingest.clock import SystemClock
from ingest.spool.disk import FileDisk
from storage.dead_letter.handled import Handling
from storage.dead_letter.letter import Letter
from tests.dead_letters import a_letter, kept, left
from tests.spooled import a_row

Said = tuple[int, dict[str, str], Any]


class Answers:
    """A front that gives these answers, one a request; the last one for ever. A callable is given the events."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, list[dict[str, Any]]]] = []
        self.slept_s: list[float] = []


@contextmanager
def front(*answers: Any) -> Iterator[tuple[Front, Answers]]:
    told = Answers(*answers)

    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.asked.append((self.path, events))
            answer = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            status, headers, body = answer(events) if callable(answer) else answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
            pass

    with HTTPServer(("127.0.0.1", 0), Request) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield Front(f"http://127.0.0.1:{server.server_address[1]}", told.slept_s.append), told
        finally:
            server.shutdown()


def taken(events: list[dict[str, Any]]) -> Said:
    return 200, {}, {"accepted": len(events), "duplicates": 0, "rejected": 0}


def refusing(*indices: int) -> Any:
    def answer(events: list[dict[str, Any]]) -> Said:
        errors = [{"index": index, "id": None, "code": "too_old", "path": "$.occurred_at", "message": "Old."}
                  for index in indices]  # fmt: skip
        body = {"accepted": len(events) - len(indices), "duplicates": 0, "rejected": len(indices), "errors": errors}
        return 400 if len(indices) == len(events) else 200, {}, body

    return answer


def letters(number: int) -> list[Letter]:
    return [a_letter(index, row=a_row()) for index in range(number)]


def replayed(data_dir: Path, some: list[Letter], at: Front, *, dry_run: bool = False) -> list[tuple[int, bool]]:
    told: list[tuple[int, bool]] = []
    handling = None if dry_run else Handling(data_dir, FileDisk(), SystemClock())
    try:
        replay(some, Change({}), at, handling, SystemClock(), lambda one, taken, _: told.append((one.index, taken)))
    finally:
        if handling:
            handling.close()
    return told


def test_only_what_was_accepted_is_gone(tmp_path: Path) -> None:
    kept(tmp_path, *(some := letters(4)))
    with front(refusing(1, 3)) as (at, _):
        assert sorted(replayed(tmp_path, some, at)) == [(0, True), (1, False), (2, True), (3, False)]
    assert left(tmp_path) == [1, 3]


def test_a_dry_run_asks_for_one_and_changes_nothing(tmp_path: Path) -> None:
    kept(tmp_path, *(some := letters(2)))
    dry = {"accepted": 2, "duplicates": 0, "rejected": 0, "dry_run": True, "unknown_fields": []}
    with front((200, {}, dry)) as (at, told):
        replayed(tmp_path, some, at, dry_run=True)
        assert told.asked[0][0] == "/v1/events?dry_run=1"
        with pytest.raises(FrontRefused):  # such an answer to a real request means that nothing was kept
            replayed(tmp_path, some, at)
    assert left(tmp_path) == [0, 1] and not (tmp_path / "dead" / "handled").exists()


def test_requests_hold_a_hundred_and_each_is_noted_before_the_next(tmp_path: Path) -> None:
    kept(tmp_path, *(some := letters(250)))
    draining = 503, {"Retry-After": "7"}, {"error": "draining"}
    with front(taken, taken, draining) as (at, told), pytest.raises(FrontUnavailable, match="503 draining"):
        replayed(tmp_path, some, at)
    assert [len(events) for _, events in told.asked] == [100, 100] + [50] * TRIES_MAX
    assert told.slept_s == [7.0] * (TRIES_MAX - 1)
    assert left(tmp_path) == list(range(200, 250))


def test_a_refusal_for_now_is_waited_for(tmp_path: Path) -> None:
    kept(tmp_path, *(some := letters(1)))
    with front((503, {}, {}), (429, {"Retry-After": "999"}, b"later"), taken) as (at, told):
        replayed(tmp_path, some, at)
    assert told.slept_s == [1.0, 30.0] and left(tmp_path) == []


def test_a_request_that_is_too_large_is_halved_down_to_the_letter_that_is(tmp_path: Path) -> None:
    kept(tmp_path, *(some := letters(5)))

    def answer(events: list[dict[str, Any]]) -> Said:
        return (413, {}, {"error": "body_too_large"}) if len(events) > 2 else taken(events)

    with front(answer) as (at, told):
        replayed(tmp_path, some, at)
        assert [len(events) for _, events in told.asked] == [5, 2, 3, 1, 2]
    assert left(tmp_path) == []
    kept(tmp_path, a_letter(9, row=a_row()))
    with front((413, {}, {"error": "body_too_large"})) as (at, _):
        assert replayed(tmp_path, [a_letter(9, row=a_row())], at) == [(9, False)]
        with pytest.raises(TooLarge):
            at.post([{}])


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"<html>it works</html>"),
        (200, {}, b"\xff"),
        (200, {}, {}),
        (200, {}, {"accepted": 1, "duplicates": 0, "rejected": 0}),
        (200, {}, {"accepted": 1, "duplicates": 0, "rejected": 1}),
        (204, {}, b""),
        (201, {}, {"accepted": 2, "duplicates": 0, "rejected": 0}),
        (404, {}, {"error": "not_found"}),
        (301, {"Location": "http://127.0.0.1:1/"}, b""),
        (500, {}, b""),
    ],
)
def test_nothing_is_gone_for_an_answer_that_is_not_a_gateways_verdict_on_every_event(
    tmp_path: Path, answer: Said
) -> None:
    kept(tmp_path, *(some := letters(2)))
    with front(answer) as (at, _), pytest.raises(FrontRefused):
        replayed(tmp_path, some, at)
    assert left(tmp_path) == [0, 1]


def test_what_is_no_event_any_more_stays_and_is_not_sent(tmp_path: Path) -> None:
    some = [a_letter(0, row=b"no tuple"), a_letter(1, row=a_row()), a_letter(2, row=a_row(), schema=7),
            a_letter(3, tuple="no base64!")]  # fmt: skip
    kept(tmp_path, *some)
    with front(taken) as (at, told):
        assert sorted(replayed(tmp_path, some, at)) == [(0, False), (1, True), (2, False), (3, False)]
        assert len(told.asked) == 1
        assert len(told.asked[0][1]) == 1
    assert left(tmp_path) == [0, 2, 3]


def test_a_front_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(FrontUnavailable, match="refused"):
        Front("http://127.0.0.1:1", lambda _: None).post([{}])


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://a", "http://", "http://a?b", "http://[::1", "http://a:x"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (of whatever part)
        Front(url)


# ── edits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text, expected",
    [
        ("bitrate=7", ("bitrate", 7)),
        ("app_version=3.2", ("app_version", "3.2")),
        ("quality=", ("quality", "")),
        ("country=null", ("country", None)),
        ("error_code=a=b", ("error_code", "a=b")),
        ("test=true", ("test", True)),
        ('metadata={"a":[1]}', ("metadata", {"a": [1]})),
        ("sent_at=1795369265869", ("sent_at", 1795369265869)),
        ("sent_at=2026-11-22T20:00:00Z", ("sent_at", "2026-11-22T20:00:00Z")),
        ("profile_id=7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c11", ("profile_id", "7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c11")),
    ],
)
def test_an_edit_gives_the_field_its_own_type(text: str, expected: tuple[str, Any]) -> None:
    assert parsed_edit(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "=", "bitrate", "bitrte=1", "bitrate=", "bitrate=x", "event_id=1", "occurred_at=1", "received_at=1", "test={"],
)
def test_an_edit_that_cannot_be_is_told(text: str) -> None:
    with pytest.raises(BadEdit):
        parsed_edit(text)


def test_the_key_of_a_corrected_event_is_the_letters_however_it_is_written() -> None:
    original = {"event_id": "0190b5a0-5f0e-4b6f-9d0c-0a4a2f6f1a01", "occurred_at": "2026-11-22T20:00:00.500000Z"}
    same = {"event_id": "0190B5A05F0E4B6F9D0C0A4A2F6F1A01", "occurred_at": 1795377600500}
    assert with_key(dict(same), original) == same
    assert with_key({"bitrate": 1}, original) == original | {"bitrate": 1}
    for other in ({"occurred_at": 1795377600501}, {"event_id": "0" * 32}, {"occurred_at": "no time"}):
        with pytest.raises(BadEdit, match="another row"):
            with_key(dict(other), original)
    assert event_in(b'{"id": "x", "event": {"bitrate": 1}}') == {"bitrate": 1}
