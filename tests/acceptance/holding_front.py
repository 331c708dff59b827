"""A front before the front: it hands requests on, and keeps the answer of a chosen one to itself."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class HoldingFront:
    """`held` is set once request number `hold` (from 0) was answered by the gateway; who asked waits for ever."""

    def __init__(self, url: str, hold: int) -> None:
        at = urlsplit(url)
        front, self.held, self._let_go, self.requests = self, threading.Event(), threading.Event(), 0

        class Request(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                number, front.requests = front.requests, front.requests + 1
                assert at.hostname
                connection = http.client.HTTPConnection(at.hostname, at.port, timeout=30)
                connection.request("POST", self.path, body, {"Content-Type": self.headers["Content-Type"]})
                response = connection.getresponse()
                text = response.read()
                connection.close()
                assert response.status == 200, text
                if number == hold:
                    front.held.set()
                    front._let_go.wait()
                    return
                self.send_response(response.status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()
