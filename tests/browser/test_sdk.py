"""The browser module reports a real <video> in a real browser: rows are what the page's own log says it did."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.acceptance.client import eventually, sql
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.browser.between import LOST, UNHEARD, Between, each
from tests.browser.chromium import Chromium
from tests.browser.film import film, frame_of, picture, pieces
from tests.browser.sdk_site import PIECES, RUNGS, SdkSite
from tests.browser.sdk_viewing import SOON_S, Did, Viewing, rows_are, rows_of, whole

README: Final = Path(__file__).resolve().parents[2] / "README.md"
RECIPE: Final = re.compile(r"### Any <video>: the SDK\n.*?```html\n(.*?)```", re.DOTALL)
FAULTS: Final = (503, UNHEARD, 429, LOST, 502, 408, 504, UNHEARD, LOST)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("sdk")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data", arguments=("--workers", "2")) as served:
        served.start()
        yield served.wait_ready()


@pytest.fixture(scope="module")
def site(browser: Chromium) -> Iterator[SdkSite]:
    drawing = browser.page()
    with SdkSite() as served:
        for rung, (width_px, height_px) in RUNGS.items():
            frame = frame_of(drawing.evaluate(picture(width_px, height_px)))
            begin, seconds = pieces(frame, PIECES, width_px, height_px)
            served.pieces |= {(rung, str(number)): piece for number, piece in enumerate(seconds)}
            served.pieces[rung, "begin"] = begin
        served.films = {"film.webm": film(frame_of(drawing.evaluate(picture(64, 36))), 2)}
        yield served


@pytest.fixture
def relay(gateway: Gateway) -> Iterator[Between]:
    with Between(gateway.url) as between:
        yield between


def stopped(did: list[Did]) -> list[Did]:
    """And now the viewer leaves."""
    return [*did, Did("stop", time.time_ns() // 1_000_000, 0, "", 0)]


def test_a_viewing_is_the_rows_that_its_page_s_log_tells_of(browser: Chromium, gateway: Gateway, site: SdkSite) -> None:
    profile = str(uuid4())
    viewing = Viewing(
        browser.page(), site, gateway,
        profileId=profile, device="web", platform="linux", cdn="e1", player="mse", appVersion="1.2", metadata={"a": 1},
    )  # fmt: skip
    found = viewing.told(whole(viewing, site))
    for row in found:
        assert str(row["content_id"]) == viewing.content
        assert str(row["profile_id"]) == profile
        said = row["device_type"], row["platform"], row["cdn_edge"], row["player"], row["app_version"], row["metadata"]
        assert said == ("web", "linux", "e1", "mse", "1.2", '{"a":1}')
        assert (row["duration"], row["test"]) == (PIECES, False)
    larger = [row["event_type"] for row in found].index("quality_change")
    assert {row["quality"] for row in found[:larger]} == {"480p"}
    assert {row["quality"] for row in found[larger:]} == {"720p"}
    assert found[0]["sequence"] == 0
    assert found[-1]["sequence"] >= len(found), "heartbeats are counted, and are no rows"
    eventually(lambda: viewing.kept() == [], SOON_S, "all is answered for")
    assert viewing.page.errors() == []


def test_refusals_and_broken_connections_lose_nothing_and_double_nothing(
    browser: Chromium, gateway: Gateway, site: SdkSite, relay: Between
) -> None:
    relay.faults = each(FAULTS)
    viewing = Viewing(browser.page(), site, gateway, url=relay.url, heartbeatS=0.3)
    viewing.page.evaluate("void setInterval(() => window.reporting.flush(), 100)")
    viewing.told(whole(viewing, site))
    eventually(lambda: viewing.kept() == [], SOON_S, "all is answered for")
    met = [body["fault"] for body in relay.seen if body["fault"]]
    assert len(met) >= 4, "the viewing was long enough to meet some"
    assert set(met) >= {503, UNHEARD, 429, LOST}
    sent = Counter(event["event_id"] for event in relay.events())
    assert max(sent.values()) > 1, "the same ids again"
    struck = {event["event_id"] for event in relay.events(*FAULTS)}
    assert all(sent[one] > 1 for one in struck), "and whatever a fault struck"
    by_id: dict[str, set[str]] = {}
    for event in relay.events():
        by_id.setdefault(event["event_id"], set()).add(str(sorted(event.items(), key=str)))
    assert all(len(forms) == 1 for forms in by_id.values()), "the very same events"
    for body, following in pairwise(relay.seen):  # behind a broken connection or a 408 the browser itself tries again
        assert body["fault"] <= 408 or body["sent_at"] < following["sent_at"], "stamped anew at every try"


def test_a_tab_that_is_closed_says_so_and_nobody_watches_any_more(
    browser: Chromium, gateway: Gateway, site: SdkSite, relay: Between
) -> None:
    viewing = Viewing(browser.page(), site, gateway, url=relay.url)
    viewing.play_a_little()
    viewing.play()
    eventually(lambda: viewing.viewers() == 1, SOON_S, "a viewer")
    did = stopped(viewing.did())
    viewing.page.close()
    viewing.told(did)
    eventually(lambda: viewing.viewers() == 0, SOON_S, "none")
    (last,) = (body for body in relay.seen if any(event["event_type"] == "stop" for event in body["events"]))
    assert last["headers"]["Sec-Fetch-Mode"] == "no-cors", "a beacon: nobody is left to hear the answer"


def test_what_could_not_be_sent_is_sent_by_the_next_page(
    browser: Chromium, gateway: Gateway, site: SdkSite, relay: Between
) -> None:
    relay.always = LOST
    first = Viewing(browser.page(), site, gateway, url=relay.url, key="of last year")
    first.play_a_little()
    did = first.did()
    eventually(lambda: len(first.kept()) == len(did), SOON_S, "kept")
    other = Viewing(first.page.beside(), site, gateway, url=relay.url)
    other.play_a_little()
    eventually(lambda: len(other.kept()) == len(did) + len(other.did()), SOON_S, "both")
    did = stopped(did)
    first.page.close()
    assert rows_of(gateway, first.session) == []
    relay.always = 0
    second = Viewing(other.page.beside(), site, gateway, url=relay.url)
    eventually(lambda: second.kept() == [], SOON_S, "all is answered for, the other page's by itself")
    found = rows_of(gateway, first.session)
    rows_are(gateway, first.session, did[: max(len(found), len(did) - 1)])
    other.told(other.did())


def test_without_locks_and_randomuuid_what_is_claimed_by_nobody_is_sent_by_the_next_page(
    browser: Chromium, gateway: Gateway, site: SdkSite, relay: Between
) -> None:
    relay.always = LOST
    first = Viewing(browser.page(), site, gateway, "bare", url=relay.url)
    first.play_a_little()
    did = stopped(first.did())
    eventually(lambda: len(first.kept()) == len(did) - 1, SOON_S, "kept")
    other = first.page.beside()
    first.page.close()
    relay.always = 0
    second = Viewing(other, site, gateway, "bare", url=relay.url)
    second.play_a_little()
    second.told(second.did())
    assert len([event for event in second.kept() if event["session_id"] == first.session]) >= 2, "a minute is not over"
    second.page.evaluate("window.ageKept(61_000)")
    second.page.evaluate("window.report({ sessionId: undefined })")
    eventually(lambda: second.kept() == [], SOON_S, "all is answered for")
    found = rows_of(gateway, first.session)
    rows_are(gateway, first.session, did[: max(len(found), len(did) - 1)])


def test_a_session_that_shall_stop_reporting_does(
    browser: Chromium, gateway: Gateway, site: SdkSite, relay: Between
) -> None:
    relay.always = 410
    viewing = Viewing(browser.page(), site, gateway, url=relay.url, key="a b&c")
    viewing.play_a_little()
    eventually(lambda: any(body["fault"] == 410 for body in relay.seen), SOON_S, "told")
    eventually(lambda: viewing.kept() == [], SOON_S, "nothing is kept for later")
    posts = len(relay.seen)
    viewing.play()
    viewing.until("window.video.currentTime > 0.6")
    viewing.page.evaluate("window.reporting.flush()")
    viewing.page.close()
    assert len(relay.seen) == posts
    assert {body["path"] for body in relay.seen} == {"/v1/events?key=a%20b%26c"}


def test_without_consent_nothing_is_kept_or_sent_and_taken_back_nothing_stays(
    browser: Chromium, gateway: Gateway, site: SdkSite, relay: Between
) -> None:
    viewing = Viewing(browser.page(), site, gateway, url=relay.url, consent=False)
    viewing.play_a_little()
    viewing.play()
    viewing.page.evaluate("window.reporting.flush()")
    assert (relay.seen, viewing.kept()) == ([], [])
    assert viewing.page.evaluate("indexedDB.databases().then((all) => all.length)") == 0
    viewing.page.evaluate("window.reporting.consent(true)")
    eventually(lambda: relay.seen, SOON_S, "from now on")
    assert [event["event_type"] for event in relay.events()][:1] == ["play"]
    assert relay.events()[0]["sequence"] == 0
    relay.always = LOST
    viewing.pause()
    eventually(viewing.kept, SOON_S, "kept")
    viewing.page.evaluate("window.reporting.consent(false)")
    eventually(lambda: viewing.kept() == [], SOON_S, "removed")
    relay.always, posts = 0, len(relay.seen)
    viewing.play()
    viewing.page.close()
    assert relay.seen[posts:] == [], "what was under way had gone before"
    assert [row["event_type"] for row in rows_of(gateway, viewing.session)] == ["play"]


def test_ads_rates_and_failures_are_told_by_whoever_knows_of_them(
    browser: Chromium, gateway: Gateway, site: SdkSite
) -> None:
    viewing = Viewing(browser.page(), site, gateway)
    impression, campaign = str(uuid4()), str(uuid4())
    fields = f"{{ impression_id: '{impression}', campaign_id: '{campaign}', creative_id: 'c', duration: 15 }}"
    for event in ("impression", "start", "firstQuartile"):
        viewing.page.evaluate(f"window.reporting.ad('{event}', {fields})")
    viewing.page.evaluate("window.reporting.bitrate = 1200.4")
    viewing.play()
    viewing.page.evaluate("window.reporting.bitrate = 1200; window.reporting.bitrate = 3000")
    viewing.page.evaluate("window.reporting.error('DRM_6001', 'no licence')")
    viewing.page.evaluate("window.reporting.detach()")
    viewing.pause()

    of_it = "SELECT * FROM ad_impressions WHERE impression_id = $1 AND events = 3"
    (ad,) = eventually(lambda: sql(gateway.endpoints["postgres"], of_it, impression), SOON_S, "stored")
    assert (ad["completion_percent"], str(ad["campaign_id"])) == (25, campaign)
    assert (str(ad["session_id"]), str(ad["content_id"]), ad["duration"]) == (viewing.session, viewing.content, 15_000)
    found = eventually(lambda: (rows := rows_of(gateway, viewing.session))[2:] and rows, SOON_S, "stored")
    told = [(row["event_type"], row["bitrate"], row["error_code"], row["metadata"]) for row in found]
    assert told == [
        ("play", 1200, None, None),
        ("quality_change", 3000, None, None),
        ("error", 3000, "DRM_6001", '{"message":"no licence"}'),
    ]


def test_a_film_that_is_not_there_is_an_error_however_it_is_named_and_however_late_it_is_attached(
    browser: Chromium, gateway: Gateway, site: SdkSite
) -> None:
    content = str(uuid4())
    site.pages["/broken.html"] = f"""<video src="/none.webm"></video><video><source src="/none.webm"></video>
      <video src="/none.webm"></video><video><source src="/none.webm"><source src="/none.webm"></video>
      <script type="module">
        import {{ attach }} from "{gateway.url}/sdk/v1.js";
        for (const [number, video] of document.querySelectorAll("video").entries()) {{
          if (number < 2)
            while (!video.error && video.networkState !== 3) await new Promise((done) => setTimeout(done, 20));
          else video.replaceWith(video.cloneNode(true));
          attach(document.querySelectorAll("video")[number], {{ contentId: "{content}" }});
        }}
      </script>"""
    browser.page().open(f"{site.url}/broken.html")
    select = "SELECT event_type, error_code, session_id FROM playback_events WHERE content_id = $1"
    found = eventually(
        lambda: (rows := sql(gateway.endpoints["postgres"], select, content))[3:] and rows, SOON_S, "stored"
    )
    assert {(row["event_type"], row["error_code"]) for row in found} == {("error", "MEDIA_ERR_SRC_NOT_SUPPORTED")}
    assert len({row["session_id"] for row in found}) == len(found) == 4


def test_metadata_that_is_no_json_costs_its_own_events_alone(
    browser: Chromium, gateway: Gateway, site: SdkSite
) -> None:
    viewing = Viewing(browser.page(), site, gateway)
    viewing.page.evaluate("window.report({ sessionId: undefined, metadata: { id: 1n } })")
    viewing.page.evaluate("window.report({ sessionId: undefined, metadata: { id: 2 } })")
    viewing.play_a_little()
    select = (
        "SELECT event_type, metadata FROM playback_events WHERE content_id = $1 AND event_type IN ('play', 'pause') "
        "ORDER BY event_type DESC, metadata::text"
    )
    found = eventually(
        lambda: (rows := sql(gateway.endpoints["postgres"], select, viewing.content))[3:] and rows, SOON_S, "stored"
    )
    told = [(row["event_type"], row["metadata"]) for row in found]
    assert told == [("play", '{"id":2}'), ("play", None), ("pause", '{"id":2}'), ("pause", None)]
    eventually(lambda: viewing.kept() == [], SOON_S, "no page to come is burdened")


def test_a_sandboxed_frame_that_may_keep_nothing_reports_all_the_same(
    browser: Chromium, gateway: Gateway, site: SdkSite
) -> None:
    content = str(uuid4())
    site.pages["/framed.html"] = f"""<video src="{site.url}/films/film.webm" autoplay muted></video>
      <script>
        for (const type of ["error", "unhandledrejection"])
          addEventListener(type, ({{ message, reason }}) => parent.postMessage(String(message ?? reason), "*"));
      </script>
      <script type="module">
        import {{ attach }} from "{gateway.url}/sdk/v1.js";
        attach(document.querySelector("video"), {{ contentId: "{content}" }});
      </script>"""
    site.pages["/framing.html"] = """<script>
        window.thrown = [];
        addEventListener("message", ({ data }) => thrown.push(data));
      </script>
      <iframe sandbox="allow-scripts" allow="autoplay" src="/framed.html"></iframe>"""
    page = browser.page()
    page.open(f"{site.url}/framing.html")
    select = "SELECT event_type FROM playback_events WHERE content_id = $1 ORDER BY sequence"

    def to_the_end() -> list[Any]:
        rows = sql(gateway.endpoints["postgres"], select, content)
        return rows if rows and rows[-1]["event_type"] == "completed" else []

    found = eventually(to_the_end, SOON_S, "stored")
    assert {row["event_type"] for row in found} - {"buffering"} == {"play", "completed"}
    assert page.evaluate("window.thrown") == []


def test_readme_s_recipe_does_what_it_says_as_written(browser: Chromium, gateway: Gateway, site: SdkSite) -> None:
    found = RECIPE.search(README.read_text())
    assert found
    recipe, content = found[1], str(uuid4())
    assert recipe.count("\n") <= 12
    for written, here in (("http://127.0.0.1:8080", gateway.url), ("7d2d9b1e-8f0f-4f5c-9a55-0d3f6f6d2c11", content)):
        assert written in recipe
        recipe = recipe.replace(written, here)
    site.pages["/recipe.html"] = recipe
    page = browser.page()
    page.open(f"{site.url}/recipe.html")
    eventually(lambda: page.evaluate("document.readyState") == "complete", SOON_S, "open")
    page.evaluate("document.querySelector('video').play()")
    eventually(lambda: page.evaluate("document.querySelector('video').ended"), SOON_S, f"seen: {page.errors()}")
    select = "SELECT event_type FROM playback_events WHERE content_id = $1 ORDER BY sequence"

    def told() -> list[str]:
        kinds = [row["event_type"] for row in sql(gateway.endpoints["postgres"], select, content)]
        return [kind for kind in kinds if kind != "buffering"]

    eventually(lambda: len(told()) == 2, SOON_S, "stored")
    assert told() == ["play", "completed"]
