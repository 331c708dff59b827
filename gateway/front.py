"""The gateway's door as one of its own commands posts to it: a verdict for every event, or why there is none."""

import http.client
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from storage.backoff import delay_s

PATH = "/v1/events"
TIMEOUT_S = 30.0
TRIES_MAX = 6
"""Of one request that is told to come back, or whose connection breaks, until the command gives up."""
RETRY_AFTER_MAX_S = 30.0
TRY_AGAIN = frozenset({408, 429, 502, 503, 504})


class Verdict(NamedTuple):
    """On one event."""

    accepted: bool
    code: str = ""
    path: str = ""
    message: str = ""


class FrontUnavailable(Exception):
    """It does not take events now; whether it kept any of the last ones is unknown, and resending is safe."""


class FrontRefused(Exception):
    """What answers is no gateway, or takes no request of this kind."""


class TooLarge(Exception):
    """The request is larger than this gateway takes; fewer events may fit."""


class Front:
    """At `url` (http://HOST:PORT or https://…). Raises ValueError for what is none."""

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url.removesuffix("/").removesuffix(PATH))
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url} is no address of a gateway (http://HOST:PORT)")
        self.url = url
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path + PATH
        self._connection_of = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._sleep = sleep

    def post(self, events: Sequence[dict[str, Any]], *, dry_run: bool = False) -> list[Verdict]:
        """One verdict an event. Raises FrontUnavailable, FrontRefused, TooLarge. At most 100 events: more errors are
        not named."""
        assert 0 < len(events) <= 100
        body = msgspec.json.encode(events)
        for attempt in range(TRIES_MAX):
            try:
                status, retry_after, text = self._ask(body, dry_run)
            except (OSError, http.client.HTTPException) as error:
                wait_s, reason = delay_s(attempt, random.random), f"{type(error).__name__} {error}".strip()
            else:
                if status not in TRY_AGAIN:
                    return _verdicts(status, text, len(events), dry_run, self.url)
                wait_s = min(float(retry_after) if retry_after.isdecimal() else 1.0, RETRY_AFTER_MAX_S)
                reason = f"it answers {status} {_code(text)}".strip()
            if attempt + 1 < TRIES_MAX:
                self._sleep(wait_s)
        raise FrontUnavailable(f"{self.url}: {reason}")

    def _ask(self, body: bytes, dry_run: bool) -> tuple[int, str, bytes]:
        """Status, Retry-After and body. Raises OSError, HTTPException."""
        connection = self._connection_of(self._host, self._port, timeout=TIMEOUT_S)
        try:
            path = self._path + ("?dry_run=1" if dry_run else "")
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.getheader("Retry-After", ""), response.read()
        finally:
            connection.close()


class _Fault(msgspec.Struct):
    index: int
    code: str
    path: str
    message: str


class _Told(msgspec.Struct):
    """As ingest.answer.verdicts says it."""

    accepted: int
    duplicates: int
    rejected: int
    errors: list[_Fault] = []
    dry_run: bool = False


def _verdicts(status: int, text: bytes, count: int, dry_run: bool, url: str) -> list[Verdict]:
    """Nothing is believed to be accepted unless a gateway says so of every single event."""
    if status == 413:
        raise TooLarge(_code(text))
    try:
        told = msgspec.json.decode(text, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise FrontRefused(f"{url} answers {status} {_code(text)}".strip()) from None
    faults = {fault.index: Verdict(False, fault.code, fault.path, fault.message) for fault in told.errors}
    whole = told.accepted + told.duplicates + told.rejected == count and len(faults) == told.rejected
    if status not in (200, 400) or not whole or told.dry_run != dry_run:
        raise FrontRefused(f"{url} answers {status}, and not for {count} events")
    return [faults.get(index, Verdict(True)) for index in range(count)]


def _code(text: bytes) -> str:
    """The error's code in an answer, if it is one of a gateway."""
    try:
        return str(msgspec.json.decode(text, type=dict[str, Any]).get("error", ""))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
