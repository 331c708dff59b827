"""A publisher's site, for tests: pages with players in them, films, and VAST documents with an impression of their own.

Its origin is not the gateway's: what the players fire goes across, as it does out there.
"""

from __future__ import annotations

import http.server
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.browser.served import Served
from tests.needs import PLAYERS

PAGES: Final = Path(__file__).parent / "ad_pages"
TYPES: Final = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".webm": "video/webm"}
RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")
VAST: Final = "/vast/"
ADVERTISER: Final = "/advertiser"


class AdSite(Served):
    """`with AdSite() as site:` served on `site.url` until the end of the block.

    `films` is name → bytes; `vast` makes the document that /vast/NAME asks for.
    """

    def __init__(self) -> None:
        self.films: dict[str, bytes] = {}
        self.vast: Callable[[str], str] = lambda name: ""
        self.asked: list[str] = []
        """Paths, in the order they were asked for."""
        site = self

        class Answering(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append(self.path)
                kind, body = site.answer(urlsplit(self.path).path)
                wanted = RANGE.fullmatch(self.headers.get("Range", ""))
                if wanted and kind:  # a player takes a film to be without places to seek to where there are no ranges
                    first, last = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
                    body = body[first : last + 1]
                else:
                    self.send_response(200 if kind else 404)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.serve(Answering)

    def answer(self, path: str) -> tuple[str, bytes]:
        """Type and body; no type when there is nothing."""
        if path.startswith(VAST):
            return "application/xml", self.vast(path.removeprefix(VAST)).encode()
        if path == ADVERTISER:
            return TYPES[".html"], b"<title>an advertiser</title>"
        if path.startswith("/films/"):
            return TYPES[".webm"], self.films[path.removeprefix("/films/")]
        room, name = (PLAYERS / "node_modules", path[5:]) if path.startswith("/npm/") else (PAGES, path[1:])
        file = (room / name).resolve()
        if not file.is_relative_to(room.resolve()) or not file.is_file():
            return "", b""
        return TYPES[file.suffix], file.read_bytes()
