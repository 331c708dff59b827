"""A front before a gateway: it writes down what browsers send, and when told to refuses it or breaks the connection."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler
from typing import Final
from urllib.parse import urlsplit

from tests.browser.served import Served

GATEWAY_TIMEOUT_S: Final = 30.0


class Fate(Enum):
    """What becomes of a request."""

    HANDED_ON = "handed on"
    TOO_MANY = 429
    UNAVAILABLE = 503
    BROKEN = "broken off before anybody read it"
    ANSWER_LOST = "handed on, and the answer was lost"


@dataclass
class Sent:
    """One request as it came."""

    at_s: float
    """Since the front began."""
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    fate: Fate
    status: int | None = None
    """What the gateway said; None when it was not asked."""


class RecordingFront(Served):
    """`with RecordingFront(gateway's url) as front:` served on `front.url`; without a gateway it answers 204 itself.

    `fate` decides about each POST, by its number from 0. `sent` has all requests in the order in which they came.
    """

    def __init__(self, url: str | None) -> None:
        self.sent: list[Sent] = []
        self.fate: Callable[[int], Fate] = lambda number: Fate.HANDED_ON
        self._gateway = urlsplit(url) if url else None
        self._began_s = time.monotonic()
        self._posts = 0
        self._lock = threading.Lock()
        front = self

        class Request(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                front._serve(self, body)

            do_GET = do_POST = do_OPTIONS = handle_any

            def log_message(self, *arguments: object) -> None:
                pass

        self.serve(Request)

    def posts(self) -> list[Sent]:
        """What was posted until now."""
        with self._lock:
            return [one for one in self.sent if one.method == "POST"]

    def _serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        method = request.command
        with self._lock:
            fate = Fate.HANDED_ON
            if method == "POST":
                fate, self._posts = self.fate(self._posts), self._posts + 1
            one = Sent(time.monotonic() - self._began_s, method, request.path, headers, body, fate)
            self.sent.append(one)
        if fate is Fate.BROKEN:
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
            return
        origin = {"Access-Control-Allow-Origin": headers.get("origin", "*"), "Access-Control-Allow-Credentials": "true"}
        if fate in (Fate.TOO_MANY, Fate.UNAVAILABLE):
            _reply(request, int(fate.value), origin | {"Retry-After": "1"}, b"")
            return
        status, answered, text = self._ask(one) if self._gateway else (204, _preflight(origin), b"")
        one.status = status
        if fate is Fate.ANSWER_LOST:
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
            return
        _reply(request, status, answered, text)

    def _ask(self, one: Sent) -> tuple[int, dict[str, str], bytes]:
        assert self._gateway is not None and self._gateway.hostname
        connection = http.client.HTTPConnection(self._gateway.hostname, self._gateway.port, timeout=GATEWAY_TIMEOUT_S)
        try:
            connection.request(one.method, one.path, one.body or None, one.headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        return response.status, dict(response.getheaders()), text


def _preflight(origin: dict[str, str]) -> dict[str, str]:
    return origin | {
        "Access-Control-Allow-Headers": "content-type",
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Max-Age": "7200",
    }


def _reply(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], text: bytes) -> None:
    request.send_response_only(status)
    for name, value in headers.items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            request.send_header(name, value)
    if status != 204:
        request.send_header("Content-Length", str(len(text)))
    request.end_headers()
    request.wfile.write(text)
