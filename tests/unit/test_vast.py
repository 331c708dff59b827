"""A pixel's URL, as players really fire it."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import ad
from ingest.ad import AdRow
from ingest.decode import vast
from tests.builders import CONTENT_ID, RECEIVED_AT_US, SESSION_ID, a_time

IMP = "0b9a3c52-0000-4000-8000-00000000000a"
DATA = Path(__file__).parents[3] / "shared" / "data" / "vast_tracking.json"
NAMELESS = {"/", "", "/b", "/pixel.jpg", "/trackingurl/secondCompanion"}
"""Paths of the data file that name no event: landing pages, a picture, another vendor's counter, a companion."""
BY_ELEMENT = {"Impression": "impression", "Error": "error", "ClickTracking": "click", "NonLinearClickTracking": "click",
              "CustomClick": "click"}  # fmt: skip


def decoded(path: str, query: str = f"imp={IMP}", **options: Any) -> vast.Pixel:
    return vast.decode(path, vast.parameters(query), RECEIVED_AT_US, **({"tests": False} | options))


def kept(path: str = "start", query: str = f"imp={IMP}", **options: Any) -> AdRow:
    pixel = decoded(path, query, **options)
    assert pixel.row is not None, pixel
    row = ad.decode(pixel.row)
    assert ad.encode(row) == pixel.row, "as whoever reads it would write it"
    return row


def said(query: str) -> AdRow:
    return kept("progress", f"imp={IMP}&{query}")


def test_a_pixel_says_all_in_its_url():
    row = kept("firstQuartile", f"imp={IMP}&cr=cr%2F7&cmp={CONTENT_ID}&c={CONTENT_ID}&s={SESSION_ID}&p={SESSION_ID}"
               "&d=30&code=405&ts=2026-11-22T19%3A59%3A58.500Z&cb=98296183&key=k&test=1")  # fmt: skip
    content, session = UUID(CONTENT_ID), UUID(SESSION_ID)
    assert row == AdRow(
        UUID(IMP), "firstQuartile", None, RECEIVED_AT_US - 1_500_000, RECEIVED_AT_US, True, content, "cr/7", content,
        session, session, "405", 30_000,
    )  # fmt: skip
    assert decoded("firstQuartile").unknown == 0


def test_the_impression_and_the_event_are_enough():
    assert kept() == AdRow(UUID(IMP), "start", None, RECEIVED_AT_US, RECEIVED_AT_US)


@pytest.mark.parametrize("path, event", [
    ("start", "start"), ("START", "start"), ("firstquartile", "firstQuartile"), ("first_quartile", "firstQuartile"),
    ("x/y/start", "start"), ("start/", "start"), ("vendor//complete", "complete"), ("st%61rt", "start"),
    ("start.gif", "start"), ("pixel/skip.PNG", "skip"), ("adStart", "start"), ("firstCompanionCreativeView",
    "creativeView"), ("exit-fullscreen", "exitFullscreen"), ("not_viewable", "notViewable"), ("video-complete",
    "complete"), ("clickTracking", "click"), ("companionClickTracking", "click"), ("closeLinear", "close"),
    ("breakStart", "breakStart"), ("start/stop", None), ("", None), ("starting", None), ("%", None), ("é", None),
    ("%FF", None), ("restart", None), ("x" * 5_000, None), ("start;jsessionid=1", None),
])  # fmt: skip
def test_the_event_is_in_the_last_segment(path, event):
    pixel = decoded(path)
    if event is None:
        assert pixel == (None, "unknown_event", 0)
    else:
        assert kept(path).event == event


@pytest.mark.parametrize("path, query, offset", [
    ("progress", "off=00:00:10", "00:00:10"), ("progress", "off=25%25", "25%"), ("progress", "OFF=25%", "25%"),
    ("progress-10", "", "10"), ("progress-10", "off=20", "20"), ("Progress_25%25", "", "25%"),
    ("progress", "", None), ("progress", "off=[OFFSET]", None), ("progress", "off=-1", None),
    ("progress", f"off={'x' * 33}", None), ("start", "off=10", None),
])  # fmt: skip
def test_progress_has_its_offset(path, query, offset):
    assert kept(path, f"imp={IMP}&{query}").progress_offset == offset


@pytest.mark.parametrize("query, code", [
    ("", "missing_field"), ("imp=", "missing_field"), ("imp=[IMPRESSION_ID]", "missing_field"), ("imp=-1",
    "missing_field"), ("imp=%5BIMPRESSION_ID%5D", "missing_field"), ("imp=%%IMPRESSION_ID%%", "missing_field"),
    ("impression=x", "missing_field"), ("imp=7", "invalid_uuid"), (f"imp={IMP}0", "invalid_uuid"),
    ("imp=%00", "invalid_uuid"), ("imp=\udcff", "invalid_uuid"), (f"imp={{{IMP}}}", "invalid_uuid"),
])  # fmt: skip
def test_without_an_impression_nothing_is_kept(query, code):
    assert decoded("start", query) == (None, code, 0)


@pytest.mark.parametrize("absent", [
    "", "[ERRORCODE]", "%5BERRORCODE%5D", "[random]", "%%CACHEBUSTER%%", "%%CC%%", "-1", "-2", "[]",
])  # fmt: skip
def test_what_nobody_filled_in_is_absent(absent):
    pixel = decoded("error", "&".join([f"imp={IMP}", *(f"{name}={absent}" for name in sorted(vast.NAMES - {"imp"}))]))
    assert pixel.row is not None
    assert ad.decode(pixel.row)[5:] == (False, *[None] * 7)
    assert pixel.unknown == 0


def test_names_come_in_any_case_and_escaped_twice():
    assert kept("start", f"IMP={IMP.upper()}&amp;Cr=7&amp;CMP={CONTENT_ID}")[6:8] == (UUID(CONTENT_ID), "7")


def test_of_a_doubled_name_the_first_that_says_something_counts():
    assert said("cr=[X]&cr=a&cr=b").creative_id == "a"


@pytest.mark.parametrize("name, column", [("cmp", 6), ("c", 8), ("p", 9), ("s", 10), ("cr", 7), ("d", 12)])
@pytest.mark.parametrize("value", ["é" * 101, "%00", "\udcff", "1:2", "1e3"])
def test_an_attribute_that_is_not_taken_is_left_out_and_counted(name, column, value):
    if name == "cr" and value in ("1:2", "1e3"):
        return
    pixel = decoded("start", f"imp={IMP}&{name}={value}")
    assert pixel.row is not None
    assert (ad.decode(pixel.row)[column], pixel.unknown) == (None, 1)


def test_other_names_are_counted():
    assert decoded("start", f"imp={IMP}&ph=00%3A05%3A01.250&tx=tx%201%2F2&ph=1").unknown == 2


@pytest.mark.parametrize("value, ms", [
    ("30", 30_000), ("29.97", 29_970), ("00:00:30", 30_000), ("00:01:30.500", 90_500), ("0", 0), ("1:0:1", 3_601_000),
    ("30s", None), ("+30", None), ("9" * 9, None),
])  # fmt: skip
def test_a_duration_is_seconds_or_as_vast_writes_it(value, ms):
    assert said(f"d={value}").duration_ms == ms


@pytest.mark.parametrize("value, code", [
    ("405", "405"), ("900", "900"), ("10001", "900"), ("MEDIA_ERR", "900"), ("٤٠٥", "900"), ("[ERRORCODE]", None),
])  # fmt: skip
def test_an_error_code_has_three_digits_or_is_undefined(value, code):
    assert said(f"code={value}").error_code == code


@pytest.mark.parametrize("ts, before_us", [
    (a_time(seconds=2), 2_000_000), (a_time(seconds=-2), -2_000_000), (a_time(minutes=5), 300_000_000),
    (a_time(minutes=5, seconds=1), 0), (a_time(minutes=-6), 0), (a_time(days=9999), 0),
    ("2026-11-22T19%3A59%3A58.500Z", 1_500_000), ("2026-11-22T21:00:00.000+01:00", 0),
    ("2026-11-22T20:59:58.000%2B01:00", 2_000_000), ("2026-11-22T14:59:58.000-05", 2_000_000),
    ("2026-11-22T9:59:58.000-10", 2_000_000), ("2026-11-22T14:59:58-0500", 2_000_000),
    ("2026-11-22T19:59:58", 2_000_000), (str(RECEIVED_AT_US // 1_000 - 7), 7_000), ("[TIMESTAMP]", 0), ("now", 0),
    ("2026-13-22T19:59:58Z", 0), ("9" * 5_000, 0), ("1243", 0),
])  # fmt: skip
def test_a_time_near_enough_is_believed_and_no_other(ts, before_us):
    row = said(f"ts={ts}")
    assert (RECEIVED_AT_US - row.occurred_at_us, row.received_at_us) == (before_us, RECEIVED_AT_US)


@pytest.mark.parametrize("value, test", [("1", True), ("TRUE", True), ("0", False), ("", False), ("yes", False)])
def test_test_traffic_says_so(value, test):
    assert said(f"test={value}").test is test
    assert kept("start", f"imp={IMP}&test={value}", tests=True).test


@given(st.text(max_size=80), st.text(max_size=400))
def test_whatever_the_url_it_is_understood_or_not_and_nothing_else(path, query):
    decoded(path, query)
    pixel = decoded("start", f"imp={IMP}&{query}")
    assert pixel.row is None or ad.encode(ad.decode(pixel.row)) == pixel.row


@pytest.mark.skipif(not DATA.exists() and not os.environ.get("CI"), reason=f"{DATA} is not here")
def test_every_tracking_url_of_the_samples_names_its_event():
    tracked = [url for url in json.loads(DATA.read_text("utf-8"))["tracking_urls"] if "Through" not in url["element"]]
    assert len(tracked) > 50
    for one in tracked:
        path = urlsplit(one["url"]).path
        event, offset = vast.event_of(path)
        if path in NAMELESS:
            assert event is None, one
        elif "error?errcode" in one["url"]:  # three elements of one sample: it is the path that counts
            assert event == "error"
        elif one["element"] == "Tracking" and "/nonlinear/creativeView/" in path:
            assert event is not None and path.endswith(event)
        else:
            assert event == ad.canonical(one["event"] or BY_ELEMENT[one["element"]]), one
        assert (offset is not None) == (event == "progress")
