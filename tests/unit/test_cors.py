"""CORS as sendBeacon and fetch need it."""

from ingest import cors


def test_a_browser_gets_its_origin_named_because_sendbeacon_sends_credentials() -> None:
    headers = cors.headers("https://tv.example")
    assert headers["Access-Control-Allow-Origin"] == "https://tv.example"
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert headers["Vary"] == "Origin"


def test_without_an_origin_nothing_is_mirrored() -> None:
    assert cors.headers(None) == {"Access-Control-Allow-Origin": "*", "Vary": "Origin"}


def test_a_preflight_allows_a_compressed_json_post_for_two_hours() -> None:
    headers = dict(cors.PREFLIGHT)
    assert {"content-type", "content-encoding"} <= set(headers["Access-Control-Allow-Headers"].split(", "))
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert headers["Access-Control-Max-Age"] == "7200"
