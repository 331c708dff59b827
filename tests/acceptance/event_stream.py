"""A client of server-sent events as a browser is one: it reads, and connects again with the same URL."""

from __future__ import annotations

import http.client
import json
import threading
import time
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

SILENCE_MAX_S: Final = 8.0


class Event(NamedTuple):
    """One event, and when it came (monotonic)."""

    kind: str
    id: str
    data: Any
    at_s: float


class EventStream:
    """`with EventStream(url) as stream:` collects until the block ends, whatever becomes of the gateway."""

    def __init__(self, url: str) -> None:
        self.events: list[Event] = []
        self.comments = 0
        self.connections = 0
        self.broken: list[str] = []
        """Answers that did not end as a whole."""
        self.retry_ms = 3_000
        self._url = urlsplit(url)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join(SILENCE_MAX_S + 2)
        assert error is not None or not self._thread.is_alive()

    @property
    def last(self) -> Event:
        assert self.events, "nothing came yet"
        return self.events[-1]

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._connect()
            except http.client.IncompleteRead as error:
                self.broken.append(repr(error))
            except OSError:
                pass  # it is not there
            self._ended.wait(self.retry_ms / 1_000)

    def _connect(self) -> None:
        assert self._url.hostname
        connection = http.client.HTTPConnection(self._url.hostname, self._url.port, timeout=SILENCE_MAX_S)
        try:
            connection.request("GET", f"{self._url.path}?{self._url.query}", headers={"Accept": "text/event-stream"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            self.connections += 1
            fields: dict[str, str] = {}
            while not self._ended.is_set() and (line := answer.readline().decode()):
                name, _, value = line.rstrip("\n").partition(":")
                if line == "\n":
                    self._dispatch(fields)
                    fields = {}
                elif not name:
                    self.comments += 1
                else:
                    fields[name] = value.removeprefix(" ")
        finally:
            connection.close()

    def _dispatch(self, fields: dict[str, str]) -> None:
        if "retry" in fields:
            self.retry_ms = int(fields["retry"])
        if "data" in fields:
            told = json.loads(fields["data"])
            self.events.append(Event(fields.get("event", "message"), fields.get("id", ""), told, time.monotonic()))
