"""A server that takes connections and answers no PostgreSQL client as PostgreSQL does: a proxy, a port of another's."""

from __future__ import annotations

import socketserver
import threading
from types import TracebackType
from typing import Final

NO_TLS: Final = b"N"
HALF_AN_AUTHENTICATION: Final = b"R\0\0\0\4"
READY_WITHOUT_A_VERSION: Final = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\5I"
"""AuthenticationOk and ReadyForQuery, without the parameters that a server tells between (PostgreSQL, Message Flow)."""
PATIENCE_S: Final = 5.0


class NonsenseStore:
    """`with NonsenseStore(answer) as url`: every client that logs in is told `answer`."""

    def __init__(self, answer: bytes) -> None:
        class Handler(socketserver.BaseRequestHandler):
            """One client: its wish for TLS, its login, and what it says before it goes."""

            def handle(self) -> None:
                self.request.settimeout(PATIENCE_S)
                try:
                    self.request.recv(8)
                    self.request.sendall(NO_TLS)
                    self.request.recv(4096)
                    self.request.sendall(answer)
                    self.request.recv(4096)
                except OSError:
                    pass  # it left

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"postgresql://nobody:none@127.0.0.1:{self._server.server_address[1]}/none"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
