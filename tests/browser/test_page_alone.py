"""The page with made-up numbers: what it says of every kind of answer, in which light, how wide, by which keys."""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

import pytest

from gateway.flow import Counts
from live.source import Unavailable
from tests.acceptance.client import eventually
from tests.browser.chromium import Chromium, Page
from tests.browser.looking import FAINT, see
from tests.browser.stand_in import CAMPAIGNS, GIB, HOTNESS, QOE, StandIn, campaign, campaigns, edges, hotness, reader

SOON_S: Final = 30.0
CONTENTS: Final = [str(UUID(int=number << 100, version=4)) for number in range(1, 13)]
NOT_HERE: Final = "Not available here"
LOST: Final = Unavailable("rebuild_needed", "The counters were lost; `counters rebuild` brings them back.")
SPRING: Final = campaign("Spring  sale")
LONG: Final = campaign("w" * 255, 2, pace=0.4, currency="USD", spent="9876543210.0050", remaining_total="-0.0100")
ENDLESS: Final = campaign("", 3, pace=None, budget_total=None, remaining_total=None)
TO_REACH: Final = "a, select, button, input, [tabindex='0']"


def opened(browser: Chromium, there: StandIn, **options: Any) -> Page:
    """A page that shows numbers."""
    page = browser.page(**options)
    page.open(there.url)
    eventually(lambda: page.evaluate("document.readyState") == "complete" and see(page)["gateway"], SOON_S, "shown")
    return page


def told(page: Page, **expected: Any) -> None:
    """Wait until it shows these."""
    eventually(lambda: {name: see(page)[name] for name in expected} == expected, SOON_S, f"{expected}, not {see(page)}")


@pytest.fixture
def full(there: StandIn) -> StandIn:
    """A gateway that has everything to tell, with the longest names that players may send."""
    there.contents = {content: 5 * (12 - place) for place, content in enumerate(CONTENTS)}
    there.counts = Counts(1_234.5, 1_200, 7.3)
    there.used_bytes = 3 * GIB
    there.described = {HOTNESS, QOE, CAMPAIGNS}
    there.answers = {
        f"/v1/hotness/{content}": (200, hotness(content, 1 + place % 3)) for place, content in enumerate(CONTENTS)
    }
    there.answers["/v1/qoe"] = 200, edges("fra-1", "w" * 100, "a name with spaces", "")
    there.answers[CAMPAIGNS] = 200, campaigns(SPRING, LONG, ENDLESS)
    there.readers["views"] = reader("views", state="waiting", reason="x" * 300, lag_s=75.0)
    return there


def test_a_content_is_shown_by_its_name_where_it_has_one(browser: Chromium, there: StandIn) -> None:
    there.contents = {CONTENTS[0]: 3, CONTENTS[1]: 2}
    there.names = {CONTENTS[0]: "<img src=x onerror=alert(1)>"}
    page = opened(browser, there)
    told(page, contents=[["<img src=x onerror=alert(1)>", "3", "–"], [CONTENTS[1], "2", "–"]], state="Live")


def test_every_number_is_the_one_that_was_told(browser: Chromium, full: StandIn) -> None:
    page = opened(browser, full)
    told(
        page,
        state="Live",
        viewers="390",
        received="1,235",
        delivered="1,200",
        stored="7.3",
        spool="3.0 GiB",
        meter=0.375,
    )
    told(page, lag="0.0 s", **{"lag-note": "from disk to PostgreSQL; others 75 s at most"})
    tiers = ["global", "regional", "on demand"]
    told(page, contents=[[content, str(5 * (12 - n)), tiers[n % 3]] for n, content in enumerate(CONTENTS[:10])])
    shown = see(page)
    assert shown["edges"][0] == ["fra-1", "1,234", "640 ms", "1.9 s", "87", "0.4 %", "0.5 %"]
    assert [row[0] for row in shown["edges"]] == ["fra-1", "w" * 100, "a name with spaces", "unnamed"]
    assert [row[0] for row in shown["readers"]] == ["postgres", "redis", "views"]
    assert shown["readers"][2][1].startswith("waiting x")
    full.answers["/v1/qoe"] = 200, edges()
    told(page, edges=None, **{"edges-note": "No session yet."})
    assert page.errors() == []


def test_campaigns_are_told_with_their_pace_and_how_far_their_ads_were_watched(
    browser: Chromium, full: StandIn
) -> None:
    page = opened(browser, full)
    told(
        page,
        campaigns=[
            ["Spring  sale", "1.00 even", "10,000", "125.50 EUR", "374.50 EUR"],
            ["w" * 255, "0.40 behind", "5,000", "9,876,543,210.01 USD", "-0.01 USD"],
            [ENDLESS["campaign_id"], "–", "3,333", "125.50 EUR", "–"],
        ],
    )
    told(
        page,
        funnel=[
            ["Impressions", "18,333", "100.0 %"],
            ["Starts", "17,416", "95.0 %"],
            ["25 %", "16,499", "90.0 %"],
            ["50 %", "14,666", "80.0 %"],
            ["75 %", "13,749", "75.0 %"],
            ["100 %", "12,833", "70.0 %"],
            ["Clicks", "366", "2.0 %"],
        ],
    )
    assert see(page)["ads-note"].startswith("Of all time, as of ")
    bars = page.evaluate("[...document.querySelectorAll('#campaigns .bar')].map((bar) => bar.style.width)")
    assert bars == ["25.1%", "100%", "0%"]
    full.answers[CAMPAIGNS] = 503, {"error": "store_unavailable", "message": "PostgreSQL is away.", "retry_after_s": 1}
    told(page, campaigns=None, funnel=None, **{"ads-note": "PostgreSQL is away."})
    full.answers[CAMPAIGNS] = 200, campaigns()
    told(page, campaigns=None, funnel=None, **{"ads-note": "No campaign yet."})


def test_the_funnel_of_one_campaign_is_chosen_by_keys_and_stays_chosen(browser: Chromium, full: StandIn) -> None:
    page = opened(browser, full)
    eventually(lambda: see(page)["campaigns"], SOON_S, "campaigns")
    page.evaluate("document.getElementById('ads-of').focus()")
    page.press("ArrowDown")
    eventually(lambda: see(page)["funnel"][0] == ["Impressions", "10,000", "100.0 %"], SOON_S, "its own")
    page.evaluate("document.getElementById('ads-of').options[1].kept = true")
    full.answers[CAMPAIGNS] = 200, campaigns(SPRING | {"impressions": 20_000}, LONG, ENDLESS)
    eventually(lambda: see(page)["funnel"][0] == ["Impressions", "20,000", "100.0 %"], SOON_S, "its own of now")
    assert page.evaluate("document.getElementById('ads-of').options[1].kept") is True, "nobody's list was closed"
    full.answers[CAMPAIGNS] = 200, campaigns(LONG, SPRING)
    eventually(lambda: len(see(page)["campaigns"]) == 2, SOON_S, "others")
    assert see(page)["funnel"][0][1] == "10,000" and page.evaluate("document.activeElement.id") == "ads-of"
    full.answers[CAMPAIGNS] = 200, campaigns(LONG)
    eventually(lambda: see(page)["funnel"][0][1] == "5,000", SOON_S, "of all, as the chosen one is gone")


def test_routes_that_are_not_there_are_said_to_be_so_and_not_asked_for(browser: Chromium, there: StandIn) -> None:
    there.contents = {CONTENTS[0]: 3}
    page = opened(browser, there)
    eventually(lambda: see(page)["edges-note"].startswith(NOT_HERE), SOON_S, "edges")
    eventually(lambda: NOT_HERE in see(page)["tiers-note"], SOON_S, "tiers")
    eventually(lambda: see(page)["ads-note"].startswith(NOT_HERE), SOON_S, "campaigns")
    told(page, contents=[[CONTENTS[0], "3", "–"]], edges=None, state="Live")
    assert there.asked == [] and page.errors() == []
    there.described = {HOTNESS, QOE}  # by a description that is ahead of the routes
    page = opened(browser, there)
    eventually(lambda: see(page)["edges-note"].startswith(NOT_HERE), SOON_S, "edges, too")
    assert there.asked != []


def test_what_is_not_known_now_is_a_reason_and_no_number(browser: Chromium, full: StandIn) -> None:
    page = opened(browser, full)
    told(page, viewers="390")
    full.away = LOST
    full.answers["/v1/qoe"] = 503, {"error": "counters_unavailable", "message": "Too far behind.", "retry_after_s": 1}
    told(page, viewers="–", contents=[], state="Some numbers are not known")
    told(page, edges=None, **{"viewers-note": LOST.message, "edges-note": "Too far behind."})
    assert see(page)["received"] == "1,235", "what is known is told"
    full.away = None
    full.reasons = ["spool_full"]
    told(page, viewers="390", state="Door closed: spool full")


def test_a_content_without_a_score_has_no_tier_and_the_others_have(browser: Chromium, full: StandIn) -> None:
    unknown = 404, {"error": "unknown_content", "message": "It has no score."}
    full.answers[f"/v1/hotness/{CONTENTS[0]}"] = unknown
    page = opened(browser, full)
    eventually(lambda: [row[2] for row in see(page)["contents"][:3]] == ["–", "regional", "on demand"], SOON_S, "tiers")
    assert see(page)["tiers-note"] == ""


def test_what_players_send_is_text(browser: Chromium, full: StandIn) -> None:
    evil = '<img src="x" onerror="window.ran=1"><script>window.ran=1</script>'
    full.answers["/v1/qoe"] = 200, edges(evil)
    full.answers[CAMPAIGNS] = 200, campaigns(campaign(evil))
    page = opened(browser, full)
    eventually(lambda: (see(page)["campaigns"] or [[None]])[0][0] == evil, SOON_S, "as it was named")
    eventually(lambda: (see(page)["edges"] or [[None]])[0][0] == evil, SOON_S, "as it was sent")
    assert page.evaluate("document.querySelectorAll('td img, td script, th img, th script').length") == 0
    assert page.evaluate("window.ran") is None
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert page.evaluate("window.ran") is None, "the policy lets nothing else run"


def test_a_gateway_that_goes_is_told_and_comes_back(browser: Chromium, full: StandIn) -> None:
    page = opened(browser, full)
    told(page, state="Live", old=False)
    page.ask("Network.enable")
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    full.drop()
    page.ask("Network.emulateNetworkConditions", offline=True, **offline)
    told(page, state="No connection; trying again …", old=True)
    page.ask("Network.emulateNetworkConditions", offline=False, **offline)
    told(page, state="Live", old=False)


@pytest.mark.parametrize("dark", [False, True])
def test_in_either_light_every_text_can_be_read(browser: Chromium, full: StandIn, dark: bool) -> None:
    page = opened(browser, full, dark=dark)
    told(page, state="Live")
    eventually(
        lambda: see(page)["edges"] and see(page)["campaigns"] and see(page)["contents"][0][2] == "global",
        SOON_S,
        "full",
    )
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in re.findall(r"\d+", ground)[:3]) < 200) == dark
    found = page.evaluate(FAINT)
    assert found["seen"] > 50 and found["faint"] == []
    line = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--series-1')")
    page.shade(not dark)
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--series-1')") != line
    assert page.evaluate("document.querySelectorAll('.plot canvas').length") == 2, "drawn anew, and once"
    assert page.evaluate(FAINT)["faint"] == []
    assert page.errors() == []


@pytest.mark.parametrize("width_px", [320, 360, 768, 1280, 1920])
def test_no_width_needs_scrolling_sideways(browser: Chromium, full: StandIn, width_px: int) -> None:
    full.contents = dict.fromkeys(CONTENTS, 10**7)
    full.counts = Counts(9_999_999, 9_999_999, 9_999_999)
    full.used_bytes = 8 * GIB - 1
    page = opened(browser, full, width_px=width_px, height_px=800)
    eventually(lambda: see(page)["edges"] and see(page)["contents"] and see(page)["campaigns"], SOON_S, "full")
    assert page.evaluate("document.documentElement.scrollWidth") == width_px
    cut = "[...document.querySelectorAll('.figure, .note, h2')].filter((e) => e.scrollWidth > e.clientWidth + 1)"
    assert page.evaluate(f"{cut}.map((e) => e.textContent)") == []
    wide = "[...document.querySelectorAll('.plot canvas')].map((c) => [c.clientWidth, c.closest('.plot').clientWidth])"
    eventually(lambda: all(0 < canvas <= room for canvas, room in page.evaluate(wide)), SOON_S, "charts fit")


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser: Chromium, full: StandIn) -> None:
    page = opened(browser, full)
    eventually(lambda: see(page)["edges"] and see(page)["contents"] and see(page)["campaigns"], SOON_S, "full")
    page.evaluate("window.reached = new Set(); window.unseen = []")
    reach = f"""(() => {{
      const at = document.activeElement;
      if (at === document.body) return "";
      const style = getComputedStyle(at);
      if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) unseen.push(at.outerHTML);
      reached.add(at.getAttribute("href") ?? at.id ?? at.className);
      return [...document.querySelectorAll("{TO_REACH}")].filter((e) => e.checkVisibility()).length;
    }})()"""
    stops = 0
    for _ in range(60):
        page.press("Tab")
        if page.evaluate(reach) == "":
            break
        stops += 1
    assert page.evaluate("unseen") == []
    assert stops >= page.evaluate(f'document.querySelectorAll("{TO_REACH}").length')
    wanted = {
        "#numbers",
        f"v1/live/{CONTENTS[0]}",
        f"v1/live/{CONTENTS[9]}",
        "contents",
        "edges",
        "window",
        "readers",
        f"v1/campaigns/{SPRING['campaign_id']}",
        "ads-of",
        "campaigns",
        "funnel",
        "statusz",
    }
    assert wanted <= set(page.evaluate("[...reached]"))


def test_the_keyboard_keeps_its_place_while_rows_are_filled_anew(browser: Chromium, full: StandIn) -> None:
    page = opened(browser, full)
    eventually(lambda: see(page)["contents"], SOON_S, "full")
    link = f"v1/live/{CONTENTS[4]}"
    page.evaluate(f"document.querySelector('a[href=\"{link}\"]').focus()")
    before = see(page)["live"]
    full.contents[CONTENTS[4]] = 1_000  # it moves to the top
    eventually(lambda: see(page)["contents"][0][0] == CONTENTS[4] and see(page)["live"] != before, SOON_S, "moved")
    assert page.evaluate("document.activeElement.getAttribute('href')") == link


def test_a_chart_is_told_in_words_and_read_by_keys(browser: Chromium, full: StandIn) -> None:
    page = opened(browser, full)
    told(page, captions=["Last minute: viewers 390 to 390", "Last minute: in 1,235 to 1,235, delivered 1,200 to 1,200"])
    eventually(lambda: page.evaluate("performance.now()") > 4_000, SOON_S, "some moments")
    page.evaluate("document.querySelector('#chart-events .plot').focus()")
    times = []
    for key in ("End", "ArrowLeft", "ArrowLeft", "Home"):
        page.press(key)
        caption = see(page)["captions"][1]
        at, _, text = caption.partition(": ")
        assert re.fullmatch(r"\d\d:\d\d:\d\d", at) and text == "in 1,235, delivered 1,200", caption
        times.append(at)
    assert times == sorted(times, reverse=True) and times[0] > times[-1]
    assert page.evaluate("document.querySelector('#chart-events figcaption').getAttribute('aria-live')") == "polite"
    page.evaluate("document.activeElement.blur()")
    eventually(lambda: see(page)["captions"][1].startswith("Last"), SOON_S, "the summary again")
    assert page.evaluate("document.querySelectorAll('[aria-live]').length") == 0


def test_the_window_of_the_edges_is_chosen_by_keys_and_asked_for(browser: Chromium, full: StandIn) -> None:
    page = opened(browser, full)
    eventually(lambda: "/v1/qoe?by=cdn_edge&window=5m" in full.asked, SOON_S, "five minutes")
    page.evaluate("document.getElementById('window').focus()")
    page.press("ArrowDown")
    eventually(lambda: "/v1/qoe?by=cdn_edge&window=1h" in full.asked, SOON_S, "an hour")
