"""Viewings side by side in one browser: a player each, by README's recipe, and what the live count said meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

from tests.acceptance.client import ask
from tests.browser.chromium import Chromium, Page
from tests.browser.player_site import PlayerSite
from tests.browser.recipes import filled_in, recipe

RECIPES: Final = {"hls": ("hls.js", "hls"), "dash": ("dash.js", "player"), "shaka": ("Shaka Player", "player")}
"""Player → the recipe's name, and the variable that it makes."""
HELD_FROM: Final = 5
LOST_FROM: Final = 3
PAGE_PX: Final = (360, 240)
DONE_S: Final = 120.0
LIVE_MAX: Final = 100
COUNT_EVERY_S: Final = 0.2


@dataclass
class Viewing:
    """One, of a player's name as in RECIPES (`shaka-min`: as released, minified) and a story of watching.js."""

    player: str
    story: str
    page: Page
    session: str
    content: str
    most_viewers: int = 0
    is_done: bool = False

    @property
    def name(self) -> str:
        """Player and story."""
        return f"{self.player}.{self.story}"

    @property
    def is_watched(self) -> bool:
        """Whether its player can tell that somebody watches."""
        return self.story != "nothing" and not self.player.endswith("-min")


def begin(browser: Chromium, site: PlayerSite, collector: str, name: str, *, batch: int = 1) -> Viewing:
    """Open its page, which plays by itself. `name` is PLAYER.STORY; `batch`: lines a request, as players are told."""
    player, _, story = name.partition(".")
    kind = player.partition("-")[0]
    title, makes = RECIPES[kind]
    session, content = str(uuid4()), str(uuid4())
    script = recipe(title)
    if batch > 1:
        script = script.replace("interval: 10", f"interval: 10, batchSize: {batch}")
    url = f"{collector}/v1/cmcd?{urlencode({'key': 'PUBLIC', 'device': 'web', 'platform': 'chrome'})}"
    site.recipes[session] = filled_in(script, makes, CONTENT=content, SESSION=session, COLLECTOR=url)
    if story == "whole":
        site.held_from[session] = HELD_FROM
    elif story in ("nothing", "broken"):
        site.lost_from[session] = 0 if story == "nothing" else LOST_FROM
    played = {"nothing": "fails", "broken": "fails"}.get(story, story)
    page = browser.page(width_px=PAGE_PX[0], height_px=PAGE_PX[1])
    wanted = {"viewing": session, "story": played, "stream": f"{site.url}/stream/{session}/"}
    build = {} if player.endswith("-min") else {"debug": "1"}
    page.open(f"{site.url}/{kind}.html?{urlencode(wanted | build)}")
    return Viewing(player, story, page, session, content)


def watch(viewings: Sequence[Viewing]) -> None:
    """Until all are done; a viewer who leaves closes the tab. Fails where one does not get there."""
    left = list(viewings)
    deadline = time.monotonic() + DONE_S
    while left:
        for viewing in left:
            if viewing.page.evaluate("window.state") == "done":
                viewing.is_done = True
                if viewing.story == "left":
                    viewing.page.close()
        left = [viewing for viewing in left if not viewing.is_done]
        assert not left or time.monotonic() < deadline, [(one.name, told(one)) for one in left]
        time.sleep(0.1)


@contextmanager
def counted(viewings: Sequence[Viewing], admin: str) -> Iterator[None]:
    """Within the block, what the live count says of their contents is noted; more of them may be begun meanwhile."""
    is_over = threading.Event()

    def note() -> None:
        while not is_over.wait(COUNT_EVERY_S):
            told = live(admin)
            for viewing in list(viewings):
                viewing.most_viewers = max(viewing.most_viewers, told.get(viewing.content, 0))

    noting = threading.Thread(target=note, daemon=True)
    noting.start()
    try:
        yield
    finally:
        is_over.set()
        noting.join()


def live(admin: str) -> dict[str, int]:
    """Content → viewers now; none while there is no number."""
    try:
        answer = ask(f"{admin}/v1/live?top={LIVE_MAX}")
    except OSError:
        return {}
    if answer.status != 200:
        return {}
    return {one["content_id"]: one["viewers"] for one in answer.json["contents"]}


def told(viewing: Viewing) -> dict[str, Any]:
    """What its page says of itself."""
    said: dict[str, Any] = json.loads(
        viewing.page.evaluate("JSON.stringify({state: window.state, did: window.did, media: window.media})")
    )
    return said | {"errors": viewing.page.errors()}
