"""A publisher's site that streams: each viewing has the stream at a path of its own, where segments stop or are lost.

A segment that is held back is answered when it is let go, so a player that waits for it has really stalled, for as long
as the page that plays it likes.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from pathlib import Path
from typing import Final

from tests.browser.ad_site import AdSite

PAGES: Final = Path(__file__).parent / "player_pages"
STREAM: Final = re.compile(r"/stream/(?P<viewing>[\w.-]+)/(?P<name>[\w.-]+)")
SEGMENT: Final = re.compile(r"chunk-stream\d+-(\d+)\.m4s")
LET_GO: Final = "/let-go/"
RECIPE: Final = "/recipe/"
HELD_MAX_S: Final = 60.0
KINDS: Final = {".m3u8": "application/vnd.apple.mpegurl", ".mpd": "application/dash+xml", ".m4s": "video/mp4"}


class PlayerSite(AdSite):
    """`with PlayerSite(directory of the stream) as site:`; `site.recipes` is name → script.

    Segments are numbered from 1. Of a viewing those from `held_from` on wait for GET /let-go/VIEWING, those from
    `lost_from` on are 404, and so is the manifest where it is 0.
    """

    def __init__(self, stream: Path) -> None:
        super().__init__()
        self.recipes: dict[str, str] = {}
        self.held_from: dict[str, int] = {}
        self.lost_from: dict[str, int] = {}
        self._stream = stream
        self._let_go: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    def answer(self, path: str) -> tuple[str, bytes]:
        """Type and body; no type when there is nothing."""
        if path.startswith(LET_GO):
            self._let_go[path.removeprefix(LET_GO)].set()
            return "text/plain", b"let go"
        if path.startswith(RECIPE):
            return "text/javascript", self.recipes[path.removeprefix(RECIPE)].encode()
        if wanted := STREAM.fullmatch(path):
            return self._piece(wanted["viewing"], wanted["name"])
        if (PAGES / path[1:]).is_file():
            return ("text/javascript" if path.endswith(".js") else "text/html"), (PAGES / path[1:]).read_bytes()
        return super().answer(path)

    def _piece(self, viewing: str, name: str) -> tuple[str, bytes]:
        segment = SEGMENT.fullmatch(name)
        number = int(segment[1]) if segment else 0
        if number >= self.lost_from.get(viewing, number + 1):
            return "", b"gone"
        if segment and number >= self.held_from.get(viewing, number + 1):
            self._let_go[viewing].wait(HELD_MAX_S)
        file = self._stream / name
        return (KINDS[file.suffix], file.read_bytes()) if file.is_file() else ("", b"")
