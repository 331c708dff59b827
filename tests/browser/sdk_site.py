"""A publisher's site whose pages the browser module reports, for tests: a film in pieces, which can be held back.

Its origin is not the gateway's.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from tests.browser.ad_site import TYPES, AdSite

PAGES: Final = Path(__file__).parent / "sdk_pages"
PIECES: Final = 8
"""Of the film, a second each; sdk_pages/watch.js knows it, too."""
RUNGS: Final = {480: (854, 480), 720: (1280, 720)}
HELD_MAX_S: Final = 60


class SdkSite(AdSite):
    """`pages` is path → HTML beside those of PAGES; `pieces` are (rung, name) → bytes; `held` are paths that wait for
    `release`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, str] = {}
        self.pieces: dict[tuple[int, str], bytes] = {}
        self.held: set[str] = set()
        self._released = threading.Event()

    def release(self) -> None:
        """What is held comes."""
        self.held.clear()
        self._released.set()
        self._released = threading.Event()

    def answer(self, path: str) -> tuple[str, bytes]:
        """As of an AdSite."""
        if path in self.held:
            self._released.wait(HELD_MAX_S)
        if path in self.pages:
            return TYPES[".html"], self.pages[path].encode()
        if path.startswith("/films/") and path.count("/") == 3:
            rung, name = path.split("/")[2:]
            return TYPES[".webm"], self.pieces[int(rung), name]
        file = PAGES / path[1:]
        if file.suffix in TYPES and file.is_file():
            return TYPES[file.suffix], file.read_bytes()
        return super().answer(path)
