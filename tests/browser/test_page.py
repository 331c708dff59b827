"""The page of a real gateway in a real browser: its numbers are the API's, and it outlives the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.acceptance.audience import Audience
from tests.acceptance.client import Book, an_event, ask, eventually, pid_of, stopped
from tests.acceptance.event_stream import EventStream
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.browser.chromium import Chromium, Page
from tests.browser.looking import number, see

SLOW_S: Final = 30.0
BACK_S: Final = 60.0
TOP: Final = 10
MOMENTS: Final = 5
NOT_NOW: Final = ("/v1/hotness/", "/v1/qoe", "/v1/campaigns")
"""Asked now and again; an answer for later, or for a content that nobody scored yet, is written to a console, too."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("page")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as served:
        served.start()
        served.wait_ready()
        yield served


def opened(browser: Chromium, gateway: Gateway, **options: Any) -> Page:
    """Its page, which shows numbers."""
    page = browser.page(**options)
    page.open(gateway.endpoints["admin"] + "/")
    eventually(lambda: page.evaluate("document.readyState") == "complete" and is_live(page), SLOW_S, "shown")
    return page


def errors(page: Page) -> list[str]:
    """In its console, but for answers that are none yet."""
    return [
        error for error in page.errors() if not (error.startswith("network:") and any(at in error for at in NOT_NOW))
    ]


def is_live(page: Page) -> bool:
    return bool(see(page)["state"] == "Live")


def is_as_told(shown: dict[str, Any], live: dict[str, Any], gateway: dict[str, Any]) -> None:
    """Fails where what is shown differs from the samples of the same moments."""
    assert number(shown["viewers"]) == live["viewers"]
    told = [(content["content_id"], content["viewers"]) for content in live["contents"][:TOP]]
    assert [(row[0], number(row[1])) for row in shown["contents"]] == told
    for place in ("received", "delivered", "stored"):
        rate = gateway[f"{place}_per_s"]
        assert number(shown[place]) == pytest.approx(rate, abs=0.5 if rate >= 9.95 else 0.05), place
    assert [row[0] for row in shown["readers"]] == [one["reader"] for one in gateway["readers"]]
    assert [row[1] for row in shown["readers"]] == [one["state"] for one in gateway["readers"]]
    lag_s = next(one["lag_s"] for one in gateway["readers"] if one["reader"] == "postgres")
    assert shown["lag"] == (f"{lag_s:.1f} s" if lag_s < 9.95 else f"{lag_s:.0f} s")
    assert shown["meter"] == pytest.approx(gateway["spool"]["used_bytes"] / gateway["spool"]["quota_bytes"], abs=1e-9)


def test_its_numbers_are_those_of_the_api_at_the_same_moment(
    browser: Chromium, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    admin = gateway.endpoints["admin"]
    with (
        EventStream(f"{admin}/v1/live/stream?top={TOP}") as live,
        EventStream(f"{admin}/v1/gateway/stream") as flow,
        Audience(tmp_path_factory.mktemp("crowd"), gateway.endpoints["http"], number=0, viewers=60) as crowd,
    ):
        page = opened(browser, gateway)
        eventually(lambda: number(see(page)["viewers"]) > 20, SLOW_S, "a crowd")
        compared: set[tuple[str, str]] = set()

        def more() -> bool:
            shown = see(page)
            told = [{event.id: event.data for event in stream.events} for stream in (live, flow)]
            if shown["live"] in told[0] and shown["gateway"] in told[1]:
                is_as_told(shown, told[0][shown["live"]], told[1][shown["gateway"]])
                compared.add((shown["live"], shown["gateway"]))
            return len(compared) >= MOMENTS

        # a failure of `more` is final: the page and the streams tell of the same sample
        for _ in range(600):
            if more():
                break
            page.evaluate("new Promise((done) => setTimeout(done, 100))")
        assert len(compared) >= MOMENTS
        assert crowd.figures["acknowledged"] > 0
        assert errors(page) == []


@pytest.mark.parametrize("options", [{"dark": True}, {"width_px": 360, "height_px": 800}])
def test_no_error_stands_in_its_console_and_nothing_is_cut_off(
    browser: Chromium, gateway: Gateway, options: dict[str, Any]
) -> None:
    Book().post(gateway.endpoints["http"], [an_event() for _ in range(20)])
    page = opened(browser, gateway, **options)
    eventually(lambda: see(page)["contents"] and see(page)["edges-note"] != "Asking …", SLOW_S, "all of it")
    assert page.evaluate("document.documentElement.scrollWidth") == options.get("width_px", 1280)
    assert errors(page) == []


def test_a_redis_that_hangs_leaves_no_number_of_viewers(browser: Chromium, gateway: Gateway) -> None:
    page = opened(browser, gateway)
    with stopped(pid_of(gateway, "redis")):
        eventually(lambda: see(page)["viewers"] == "–" and see(page)["contents"] == [], SLOW_S, "none")
        assert "Redis" in see(page)["viewers-note"] or "reader" in see(page)["viewers-note"]
        assert see(page)["received"] != "–"
    eventually(lambda: see(page)["viewers"] != "–" and is_live(page), BACK_S, "as before")


def test_it_outlives_a_gateway_that_is_killed_and_started_again(browser: Chromium, gateway: Gateway) -> None:
    page = opened(browser, gateway)
    page.evaluate("window.opened = true")
    gateway.kill_everything()
    eventually(lambda: see(page)["state"].startswith("No connection"), SLOW_S, "it is gone")
    assert see(page)["old"]
    gateway.start()
    gateway.wait_ready()
    content = str(uuid4())
    events = [an_event(content_id=content) for _ in range(97)]
    eventually(lambda: Book().post(gateway.endpoints["http"], events).status == 200, BACK_S, "taken")
    eventually(lambda: is_live(page) and [content, "97"] in [row[:2] for row in see(page)["contents"]], BACK_S, "new")
    assert number(see(page)["viewers"]) >= 97 and not see(page)["old"]
    assert page.evaluate("window.opened") is True, "it was not loaded anew"
    assert ask(gateway.endpoints["admin"] + "/v1/gateway").status == 200
    thrown = [error for error in page.errors() if not error.startswith("network:")]
    assert thrown == []
