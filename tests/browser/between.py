"""Between a page and its gateway: a relay that refuses, breaks off or goes away as a test says, and knows what it saw.

A fault is a status to answer with, which the gateway then knows nothing of, or one of

    LOST       the connection ends before the request goes on
    UNHEARD    it goes on, and the connection ends before its answer does
"""

from __future__ import annotations

import http.client
import http.server
import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from tests.browser.served import Served

LOST: Final = -1
UNHEARD: Final = -2
PASS: Final = 0
RETRY_AFTER_S: Final = 1
TIMEOUT_S: Final = 30


class Between(Served):
    """`with Between(url) as relay:` served on `relay.url` until the end of the block.

    `faults` are those of the next POSTs, one each, PASS for none; then `always`.
    """

    def __init__(self, url: str) -> None:
        self.faults: Iterator[int] = iter(())
        self.always = PASS
        self.seen: list[dict[str, Any]] = []
        """Bodies of POSTs, however they ended, in the order they came."""
        at = urlsplit(url)
        relay = self

        class Relaying(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fault = relay.noted(body, self.path, dict(self.headers))
                if fault == LOST:
                    self.close_connection = True
                    return
                if fault > 0:
                    self.refuse(fault)
                    return
                assert at.hostname
                gateway = http.client.HTTPConnection(at.hostname, at.port, timeout=TIMEOUT_S)
                try:
                    gateway.request("POST", self.path, body, dict(self.headers))
                    answer = gateway.getresponse()
                    text = answer.read()
                finally:
                    gateway.close()
                if fault == UNHEARD:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "date", "server"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def refuse(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "*"))
                self.send_header("Access-Control-Expose-Headers", "Retry-After")
                self.send_header("Retry-After", str(RETRY_AFTER_S))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._lock = threading.Lock()
        self.serve(Relaying)

    def noted(self, body: bytes, path: str, headers: dict[str, str]) -> int:
        """Keep what came; the fault that it meets."""
        with self._lock:
            fault = next(self.faults, self.always)
            self.seen.append({**json.loads(body), "path": path, "headers": headers, "fault": fault})
            return fault

    def events(self, *faults: int) -> list[dict[str, Any]]:
        """Of all that was seen, or of what met these."""
        return [event for body in self.seen if not faults or body["fault"] in faults for event in body["events"]]


def each(faults: Iterable[int]) -> Iterator[int]:
    """Every fault, and what it struck comes through at the next try."""
    for fault in faults:
        yield fault
        yield PASS
