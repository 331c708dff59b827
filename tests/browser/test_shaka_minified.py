"""README's last recipe: Shaka as released, whose build tells of no state, with the browser module beside it.

Pictures of it and of the gateway's page while it plays are kept in .cache/players.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests import needs
from tests.acceptance.client import ask, eventually, sql
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.browser import stream
from tests.browser.chromium import Chromium, Page
from tests.browser.looking import see
from tests.browser.player_site import PlayerSite
from tests.browser.recipes import filled_in, recipe
from tests.browser.viewings import HELD_FROM, LOST_FROM, PAGE_PX
from tests.conftest import left_out

SOON_S: Final = 60.0
HELD_MS: Final = 1_400
"""Segments are held back for longer than that."""
ROWS_SQL: Final = "SELECT * FROM playback_events WHERE session_id = $1 ORDER BY sequence"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("minified")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as served:
        served.start()
        yield served.wait_ready()


def opened(browser: Chromium, site: PlayerSite, gateway: Gateway, session: str, content: str, story: str) -> Page:
    """A page that plays by the recipe."""
    names = {"GATEWAY": gateway.url, "SESSION": session, "CONTENT": content}
    site.recipes[session] = filled_in(recipe("Shaka Player, minified"), "player", **names)
    page = browser.page(width_px=PAGE_PX[0], height_px=PAGE_PX[1])
    wanted = {"viewing": session, "story": story, "stream": f"{site.url}/stream/{session}/"}
    page.open(f"{site.url}/shaka.html?{urlencode(wanted)}")
    return page


def rows_of(gateway: Gateway, session: str) -> list[dict[str, Any]]:
    return [dict(row) for row in sql(gateway.endpoints["postgres"], ROWS_SQL, session)]


def kinds(rows: list[dict[str, Any]]) -> list[str]:
    """But for what a slow machine or network adds."""
    return [row["event_type"] for row in rows if row["event_type"] not in ("quality_change", "buffering")]


def test_the_module_beside_a_minified_shaka_tells_a_viewing_whole(
    browser: Chromium, gateway: Gateway, tmp_path: Path
) -> None:
    if not needs.has_players() or not stream.is_at_hand():
        left_out("the players of tests/browser/npm, or ffmpeg, are not here: python -m tests.needs")
    stream.write_stream(tmp_path)
    session, content = str(uuid4()), str(uuid4())
    with PlayerSite(tmp_path) as site:
        site.held_from[session] = HELD_FROM
        page = opened(browser, site, gateway, session, content, "whole")
        live = f"{gateway.endpoints['admin']}/v1/live/{content}"
        eventually(lambda: ask(live).json.get("viewers") == 1, SOON_S, f"a viewer: {page.errors()}")
        looking = browser.page()
        looking.open(gateway.endpoints["admin"] + "/")
        eventually(lambda: looking.evaluate("document.readyState") == "complete", SOON_S, "loaded")
        eventually(lambda: see(looking)["contents"], SOON_S, "shown")
        needs.CACHE.joinpath("players").mkdir(parents=True, exist_ok=True)
        looking.picture(needs.CACHE / "players" / "shaka-minified.png")
        looking.close()
        page.picture(needs.CACHE / "players" / "shaka-minified-viewing.png")
        eventually(lambda: page.evaluate("window.state") == "done", 2 * SOON_S, "played")
        eventually(lambda: kinds(rows_of(gateway, session))[-1:] == ["completed"], SOON_S, "stored")
        found = rows_of(gateway, session)
        assert kinds(found) == ["play", "pause", "play", "seek", "completed"]
        assert found[0]["startup_ms"] is not None
        assert {(row["player"], row["device_type"], str(row["content_id"])) for row in found} == {
            ("shaka", "web", content)
        }
        assert found[-1]["bitrate"], "Shaka's choices are told to the module"
        stalls = [row for row in found if row["event_type"] == "buffering"]
        assert max(row["buffer_duration"] for row in stalls) >= HELD_MS
        eventually(lambda: ask(live).json.get("viewers") == 0, SOON_S, "nobody watches behind the end")
        page.close()


def test_a_film_that_breaks_off_is_one_error_with_the_player_s_own_code(
    browser: Chromium, gateway: Gateway, tmp_path: Path
) -> None:
    if not needs.has_players() or not stream.is_at_hand():
        left_out("the players of tests/browser/npm, or ffmpeg, are not here: python -m tests.needs")
    stream.write_stream(tmp_path)
    session = str(uuid4())
    with PlayerSite(tmp_path) as site:
        site.lost_from[session] = LOST_FROM
        page = opened(browser, site, gateway, session, str(uuid4()), "fails")

        def told() -> bool:
            errors = [row["error_code"] for row in rows_of(gateway, session) if row["event_type"] == "error"]
            return len(errors) == 1 and errors[0].startswith("SHAKA_")

        eventually(told, SOON_S, f"one error: {page.errors()}")
        page.close()
