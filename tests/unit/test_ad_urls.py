"""Tracking URLs for an ad server: each is understood by the door as the event it is for."""

import json
from urllib.parse import urlsplit
from uuid import UUID
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from gateway.ad_urls import CLICK_THROUGH, IMPRESSION, Ad, ad_urls, vast
from gateway.cli import main
from ingest import ad as ad_event
from ingest.ad import EVENTS
from ingest.click import Targets
from ingest.decode.vast import decode, parameters
from ingest.pixel import PATH
from tests.builders import CONTENT_ID, RECEIVED_AT_US, SESSION_ID

SECRET = "s" * 32
SHOP = "https://shop.example/sale?a=1&b=2"
AD = Ad(
    base="https://ingest.example/", campaign=CONTENT_ID, creative='cr "7" & <é>', content=SESSION_ID, duration_s="30"
)
NAMESPACE = "{http://www.iab.com/VAST}"


def fired(url: str) -> ad_event.AdRow:
    """As the ad server bakes it, and a player without macros fires it."""
    parts = urlsplit(url.replace(IMPRESSION, SESSION_ID))
    assert (parts.scheme, parts.netloc) == ("https", "ingest.example")
    pixel = decode(parts.path.removeprefix(PATH), parameters(parts.query), RECEIVED_AT_US, tests=False)
    assert pixel.row is not None and pixel.unknown == 0
    return ad_event.decode(pixel.row)


def test_every_event_has_a_url_that_says_all_there_is_to_say():
    urls = ad_urls(AD)
    assert list(urls) == list(EVENTS)
    for event, url in urls.items():
        row = fired(url)
        assert (row.event, str(row.impression_id), str(row.campaign_id)) == (event, SESSION_ID, CONTENT_ID)
        assert (row.creative_id, str(row.content_id), row.duration_ms) == ('cr "7" & <é>', SESSION_ID, 30_000)
        assert row.progress_offset == ("00:00:05" if event == "progress" else None)
        assert ("[ERRORCODE]" in url) == (event == "error")


def test_what_is_not_known_is_left_out():
    row = fired(ad_urls(Ad(base="https://ingest.example", campaign=CONTENT_ID))["start"])
    assert row[6:] == (UUID(CONTENT_ID), *[None] * 6)


def test_an_impression_nobody_filled_in_is_none():
    query = urlsplit(ad_urls(AD)["start"]).query
    assert "imp" not in parameters(query)


@pytest.mark.parametrize("impression", [IMPRESSION, SESSION_ID, "${IMP}", "%%IMP%%", "{{imp}}"])
def test_a_target_is_signed_for_the_impression_or_for_every_one(impression):
    ad = Ad(base=AD.base, campaign=CONTENT_ID, impression=impression)
    url = ad_urls(ad, click_through=SHOP, click_secret=SECRET)[CLICK_THROUGH].replace(impression, SESSION_ID)
    assert str(fired(url).impression_id) == SESSION_ID
    said = parameters(urlsplit(url).query)
    assert Targets(SECRET, "").location(said) == SHOP


def texts(document: str) -> dict[str, str]:
    """Element, or event of a Tracking → text."""
    root = ElementTree.fromstring(document.encode())  # noqa: S314  it is ours
    assert root.get("version") == "4.2"
    return {one.get("event") or one.tag.removeprefix(NAMESPACE): (one.text or "").strip() for one in root.iter()}


@pytest.mark.parametrize("click_through", ["", SHOP])
def test_the_vast_document_is_xml_that_has_each_url_in_its_place(click_through):
    urls = ad_urls(AD, click_through=click_through, click_secret=SECRET)
    found = texts(vast(AD, urls))
    for element, event in {"Error": "error", "Impression": "impression", "Viewable": "viewable", "start": "start",
                           "closeLinear": "close", "progress": "progress"}.items():  # fmt: skip
        assert found[element] == urls[event]
    assert found["Duration"] == "00:00:30.000"
    assert found["AdServingId"] == IMPRESSION
    assert found["UniversalAdId"] == AD.creative
    assert (found.get("ClickThrough"), found.get("ClickTracking")) == (
        (urls[CLICK_THROUGH], None) if click_through else (None, urls["click"])
    )


def printed(*arguments: str, code: int = 0, **environment: str) -> str:
    result = CliRunner().invoke(
        main,
        ["ad-urls", "--base", "https://ingest.example", "--campaign", CONTENT_ID, *arguments],
        env={"INGEST_ADS_CLICK_SECRET": SECRET, **environment},
    )
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_prints_urls_and_a_document():
    ad = Ad(base="https://ingest.example", campaign=CONTENT_ID, creative="7")
    urls = ad_urls(ad, click_through=SHOP, click_secret=SECRET)
    output = printed("--creative", "7", "--click-through", SHOP)
    assert all(url in output for url in urls.values())
    assert output.endswith(vast(ad, urls))
    assert json.loads(printed("--creative", "7", "--click-through", SHOP, "--json")) == urls
    assert printed("--creative", "7", "--click-through", SHOP, "--vast") == vast(ad, urls)


@pytest.mark.parametrize("arguments, environment, words", [
    (["--base", "ingest.example"], {}, "--base"), (["--duration", "30s"], {}, "--duration"),
    (["--campaign", "7"], {}, "not a valid UUID"), (["--creative", "x" * 101], {}, "--creative"),
    (["--click-through", "shop.example"], {}, "absolute http"),
    (["--click-through", SHOP], {"INGEST_ADS_CLICK_SECRET": ""}, "ads.click_hosts"),
    ([], {"INGEST_ADS_CLICK_SECRET": "short"}, "click_secret"),
])  # fmt: skip
def test_what_cannot_be_is_said(arguments, environment, words):
    assert words in printed(*arguments, code=2, **environment)
