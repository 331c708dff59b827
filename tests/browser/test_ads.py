"""Real players play VAST in a real browser, and a gateway's rows are what their pages' own logs say was fired."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID, uuid4

import pytest

from tests import needs
from tests.acceptance.client import eventually, sql
from tests.acceptance.commands import run
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.browser.ad_site import ADVERTISER, AdSite
from tests.browser.chromium import Chromium, Page
from tests.browser.film import PICTURE, film, frame_of
from tests.conftest import left_out

SOON_S: Final = 60.0
AD_S: Final = 2
FILM_S: Final = 1
CAMPAIGN: Final = str(uuid4())
CONTENT: Final = str(uuid4())
CREATIVE: Final = "a creative"
SECRET: Final = {"INGEST_ADS_CLICK_SECRET": "what only the ad server knows, too"}
STAGES: Final = ("impression", "start", "firstQuartile", "midpoint", "thirdQuartile", "complete")
ROW_SQL: Final = "SELECT * FROM ad_impressions WHERE impression_id = $1"


class Ads:
    """An ad server: VAST of one campaign by the product's own `ad-urls`, an impression of its own in each document."""

    def __init__(self, gateway: Gateway, site: AdSite) -> None:
        self.site = site
        self.served: dict[str, UUID] = {}
        """Name of a document → the impression in it."""
        options = ("--campaign", CAMPAIGN, "--creative", CREATIVE, "--content", CONTENT, "--duration", str(AD_S))
        to = ("--click-through", site.url + ADVERTISER, "--media", f"{site.url}/films/ad.webm")
        made = run("ad-urls", "--base", gateway.url, *options, *to, "--vast", environment=SECRET)
        assert made.returncode == 0, made.stderr
        self._document = made.stdout.replace('type="video/mp4"', 'type="video/webm"')
        site.vast = self._serve

    def _serve(self, name: str) -> str:
        document = self._document.replace("<Linear>", '<Linear skipoffset="00:00:00">')
        if name.startswith("broken"):
            document = document.replace("ad.webm", "none.webm")
        return document.replace("[IMPRESSION_ID]", str(self.served.setdefault(name, uuid4())))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("ads")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data", environment=SECRET) as served:
        served.start()
        yield served.wait_ready()


@pytest.fixture(scope="module")
def ads(gateway: Gateway, browser: Chromium) -> Iterator[Ads]:
    if not needs.has_players():
        left_out("the players of tests/browser/npm are not here: python -m tests.needs")
    frame = frame_of(browser.page().evaluate(PICTURE))
    with AdSite() as site:
        site.films = {"ad.webm": film(frame, AD_S), "film.webm": film(frame, FILM_S), "none.webm": b"no film"}
        yield Ads(gateway, site)


def opened(browser: Chromium, ads: Ads, player: str, name: str, *, viewer: bool = True, skip: bool = False) -> Page:
    """A page with a player that has read this VAST document, by a viewer's browser or by one that has no window."""
    page = browser.page()
    if not viewer:
        page.tell_that_there_is_no_window()
    site = ads.site.url
    query = f"vast={quote(f'{site}/vast/{name}')}&film={quote(f'{site}/films/film.webm')}{'&skip=1' if skip else ''}"
    page.open(f"{site}/{player}.html?{query}")
    eventually(lambda: page.evaluate("window.state") == "ready", SOON_S, f"ready: {page.errors()}")
    return page


def played(page: Page) -> None:
    """Somebody presses play."""
    page.click("button")


def played_a_little(page: Page) -> None:
    """Somebody presses play, and soon pause."""
    page.evaluate("void window.video.addEventListener('timeupdate', () => window.video.pause(), { once: true })")
    played(page)
    eventually(lambda: page.evaluate("window.video.readyState > 1 && window.video.paused"), SOON_S, "paused")


def fired(page: Page) -> list[dict[str, Any]]:
    """What the page's log says, once all of it has arrived or failed."""
    log = eventually(
        lambda: (said := page.evaluate("window.fired")) and all(one["arrived"] is not None for one in said) and said,
        SOON_S,
        "answered",
    )
    assert isinstance(log, list)
    return log


def event_of(entry: dict[str, Any]) -> str:
    """As the URL says, with an offset where there is one."""
    at = urlsplit(str(entry["url"]))
    offset = parse_qs(at.query).get("off")
    return at.path.rpartition("/")[2] + (f" {offset[0]}" if offset else "")


def column(event: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", event) + "_at"


def row_is_as_fired(gateway: Gateway, ads: Ads, name: str, log: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of this document's impression, which holds exactly what was fired, and as often."""
    impression = ads.served[name]
    assert {parse_qs(urlsplit(one["url"]).query)["imp"][0] for one in log} == {str(impression)}
    assert all(one["arrived"] for one in log), log
    times = Counter(map(event_of, log))

    def stored() -> dict[str, Any]:
        (row,) = sql(gateway.endpoints["postgres"], ROW_SQL, impression)
        assert row["events"] + row["repeats"] == times.total(), (dict(row), times)
        return dict(row)

    row = eventually(stored, SOON_S, f"stored: {times}")
    untimed = set(row["other_events"] or ())
    timed = {event for event in STAGES + tuple(times) if column(event) in row and row[column(event)] is not None}
    assert timed | untimed == set(times)
    others = {name for name, value in row.items() if name.endswith("_at") and value is not None} - {"received_at"}
    assert {name for name in others if "told" not in name} == {column(event) for event in timed}
    assert row["repeats"] == times.total() - len(times)
    assert (str(row["campaign_id"]), row["creative_id"], str(row["content_id"])) == (CAMPAIGN, CREATIVE, CONTENT)
    assert row["duration"] == AD_S * 1_000
    assert not row["implausible"]
    return row


def test_vast_client_s_ad_to_its_end_is_a_complete_row(browser: Chromium, gateway: Gateway, ads: Ads) -> None:
    page = opened(browser, ads, "vast-client", "to-the-end")
    played_a_little(page)
    eventually(lambda: "pause" in map(event_of, fired(page)), SOON_S, "paused")
    page.evaluate("window.video.muted = false")
    eventually(lambda: "unmute" in map(event_of, fired(page)), SOON_S, "not muted")
    page.evaluate("window.video.muted = true")
    page.evaluate("void window.video.play()")
    eventually(lambda: page.evaluate("window.state") == "ended", SOON_S, f"ended: {page.errors()}")
    log = fired(page)
    assert {one["how"] for one in log} == {"image"}
    assert {*STAGES, "loaded", "pause", "resume", "mute", "unmute"} <= set(map(event_of, log)), log
    assert all("[" not in one["url"] for one in log), "it fills every macro"
    row = row_is_as_fired(gateway, ads, "to-the-end", log)
    assert (row["completion_percent"], row["test"]) == (100, False)
    times = [row[column(stage)] for stage in STAGES]
    assert times == sorted(times), "by the player's own clock"
    assert page.errors() == []


def test_vast_client_s_ad_clicked_and_skipped_is_a_clicked_and_skipped_row(
    browser: Chromium, gateway: Gateway, ads: Ads
) -> None:
    page = opened(browser, ads, "vast-client", "skipped")
    played_a_little(page)
    page.click("video")
    eventually(lambda: ADVERTISER in ads.site.asked, SOON_S, f"sent on to the advertiser: {page.errors()}")
    page.evaluate("window.skip()")
    log = fired(page)
    assert {"click", "skip"} <= set(map(event_of, log))
    row = row_is_as_fired(gateway, ads, "skipped", log)
    assert row["clicked"]
    assert not row["completed"]


def test_vast_client_s_ad_that_cannot_be_played_is_an_error_and_without_a_window_a_test(
    browser: Chromium, gateway: Gateway, ads: Ads
) -> None:
    page = opened(browser, ads, "vast-client", "broken", viewer=False)
    played(page)
    eventually(lambda: page.evaluate("window.state") == "failed", SOON_S, "failed")
    row = row_is_as_fired(gateway, ads, "broken", fired(page))
    assert row["error_code"] == "405"
    assert row["impression_at"] is None
    assert row["test"], "a browser without a window is nobody's"


def test_shaka_s_ad_to_its_end_is_a_complete_row(browser: Chromium, gateway: Gateway, ads: Ads) -> None:
    page = opened(browser, ads, "shaka", "shaka-to-the-end")
    played(page)
    eventually(lambda: "ad-complete" in page.evaluate("window.told"), SOON_S, f"ended: {page.errors()}")
    log = fired(page)
    assert {one["how"] for one in log} == {"fetch"}
    assert set(STAGES) <= set(map(event_of, log)), log
    assert all("ts=[TIMESTAMP]" in one["url"] for one in log), "it fills no macro"
    row = row_is_as_fired(gateway, ads, "shaka-to-the-end", log)
    assert (row["completion_percent"], row["test"]) == (100, False)
    assert row["repeats"] == 0, "it tries again what it takes for failed"
    assert page.errors() == []


def test_shaka_s_ad_skipped_is_a_skipped_row(browser: Chromium, gateway: Gateway, ads: Ads) -> None:
    page = opened(browser, ads, "shaka", "shaka-skipped", skip=True)
    played(page)
    eventually(lambda: "ad-skipped" in page.evaluate("window.told"), SOON_S, "skipped")
    log = fired(page)
    assert "skip" in set(map(event_of, log))
    row = row_is_as_fired(gateway, ads, "shaka-skipped", log)
    assert not row["completed"]
