"""A steady stream of rows beside a crowd, half of all of them of one hot content, with a ledger from the answers."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit
from uuid import UUID

from loadtests.ledger import LedgerFile, verdict

SESSIONS: Final = 8
ROWS_A_POST: Final = 20
"""Of one session: what comes together goes together, as one request to the cluster."""
POSTS_A_S: Final = 10
ERRORS_ONE_IN: Final = 10
TIMEOUT_S: Final = 20.0
JSON: Final = {"Content-Type": "application/json"}


class SteadyPlayer:
    """`with SteadyPlayer(url, ledger) as player:` posts until the block ends. Nothing is sent twice: what is not taken
    at once is in `refused`.
    """

    def __init__(self, url: str, ledger: Path) -> None:
        self.ledger = ledger
        self.refused: list[str] = []
        self.slowest_s = 0.0
        self._at = urlsplit(url)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join(TIMEOUT_S + 5)
        assert not self._thread.is_alive()

    def _play(self) -> None:
        assert self._at.hostname
        ledger, number = LedgerFile(self.ledger), 0
        connection = http.client.HTTPConnection(self._at.hostname, self._at.port, timeout=TIMEOUT_S)
        begun_s = time.monotonic()
        while not self._ended.wait(max(begun_s + number / POSTS_A_S - time.monotonic(), 0)):
            self._post(connection, ledger, [_event(number, row) for row in range(ROWS_A_POST)])
            number += 1
        connection.close()
        ledger.close()

    def _post(self, connection: http.client.HTTPConnection, ledger: LedgerFile, events: list[dict[str, Any]]) -> None:
        post, begun_s, sent_us = ledger.post(events), time.monotonic(), time.time_ns() // 1000
        ledger.attempt(post, sent_us, sent_us // 1000 * 1000)
        try:
            body = json.dumps({"sent_at": sent_us // 1000, "events": events})
            connection.request("POST", "/v1/events", body, JSON)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as lost:
            ledger.lost(post, time.time_ns() // 1000, type(lost).__name__)
            self.refused.append(repr(lost))
            connection.close()
            return
        said = verdict(response.status, answer, len(events))
        ledger.answer(post, time.time_ns() // 1000, response.status, said)
        if response.status != 200 or said.refused or said.odd:
            self.refused.append(f"{response.status} {answer.decode(errors='replace')[:200]}")
        self.slowest_s = max(self.slowest_s, time.monotonic() - begun_s)


def _event(number: int, row: int) -> dict[str, Any]:
    """Row `row` of post `number`: sessions take turns, every other one at the hot content."""
    session = number % SESSIONS
    event: dict[str, Any] = {
        "event_id": str(UUID(int=(0x57EAD << 96) | (number << 16) | row)),
        "event_type": "error" if row % ERRORS_ONE_IN == 0 else "seek",
        "content_id": str(UUID(int=(0x407 << 96) | (0 if session % 2 == 0 else session))),
        "session_id": str(UUID(int=(0x5E55 << 96) | session)),
        "profile_id": str(UUID(int=(0xF0F1 << 96) | session)) if session % 4 else None,
        "occurred_at": time.time_ns() // 1_000_000,
        "sequence": number * ROWS_A_POST + row,
        "position": number,
        "cdn_edge": "fra-1" if row else None,
    }
    return {name: value for name, value in event.items() if value is not None}
