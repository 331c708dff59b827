"""Devices are viewers, crawlers are not."""

import pytest

from ingest.crawler import USER_AGENT_MAX_CHARS, is_crawler
from tests.builders import a_body, an_event
from tests.decoding import SURPLUS, decoded, rows

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
DEVICES = [
    "",
    CHROME,
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_P30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/88 Mobile Safari/537.36",
    "Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.5) AppleWebKit/537.36 (KHTML, like Gecko) 85.0.4183.93/6.5 TV Safari/537.36",
    "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94 Safari/537.36 WebAppManager",
    "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0",
    "Mozilla/5.0 (Linux; Android 9; AFTMM) AppleWebKit/537.36 (KHTML, like Gecko) Silk/108 like Chrome/108",
    "Mozilla/5.0 (X11; Linux aarch64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/90 Safari/537.36 CrKey/1.56.500000",
    "Roku/DVP-12.0 (12.0.0.4182-88)",
    "AppleCoreMedia/1.0.0.20L498 (Apple TV; U; CPU OS 16_6 like Mac OS X; en_us)",
    "com.example.watch/5.1 CFNetwork/1404.0.5 Darwin/22.3.0",
    "ExoPlayerLib/2.18.1 (Linux; Android 12)",
    "Dalvik/2.1.0 (Linux; U; Android 12)",
    "VLC/3.0.16 LibVLC/3.0.16",
    "Dart/2.18 (dart:io)",
    "Xbox; Xbox One",
]
LIBRARIES = [
    "okhttp/4.9.3",
    "aiohttp/3.14",
    "python-requests/2.31",
    "Go-http-client/1.1",
    "curl/8.0",
    "Amazon CloudFront",
]
CRAWLERS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    CHROME.replace("Chrome", "HeadlessChrome"),
]


@pytest.mark.parametrize("user_agent", [*DEVICES, *LIBRARIES])
def test_a_device_is_no_crawler_nor_is_a_library_that_posts_for_one(user_agent):
    assert not is_crawler(user_agent)


@pytest.mark.parametrize("user_agent", CRAWLERS)
def test_a_crawler_is_one(user_agent):
    assert is_crawler(user_agent)


def test_of_an_endless_user_agent_only_its_beginning_is_looked_at():
    assert not is_crawler("x" * USER_AGENT_MAX_CHARS + CRAWLERS[0])


@SURPLUS
@pytest.mark.parametrize("test", [None, False, True])
def test_all_events_of_a_crawler_are_tests_whatever_they_say(surplus, test):
    event = an_event(test=test, event_id=None)
    body = a_body([event | surplus, event | surplus | {"sequence": 8}])
    (plain, tests) = (rows(decoded(body, tests=tests)) for tests in (False, True))
    assert [row.test for row in plain] == [bool(test)] * 2
    assert tests == [row._replace(test=True) for row in plain], "identity and all else are what they were"
