"""A page that plays the film of an SdkSite, reported by a gateway's browser module; what it did by its own log."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode
from uuid import uuid4

from tests.acceptance.client import ask, eventually, sql
from tests.acceptance.gateway_process import Gateway
from tests.browser.chromium import Page
from tests.browser.sdk_site import SdkSite

SOON_S: Final = 60.0
STALLED_MS: Final = 1_500
APART_MS: Final = 2_000
"""Between two listeners to one event of the page, on a machine that is busy with other things."""
ROWS_SQL: Final = "SELECT * FROM playback_events WHERE session_id = $1 ORDER BY sequence"


class Did(NamedTuple):
    """Something that the viewer or the film did, by the page's log."""

    kind: str
    at_ms: int
    position_s: int
    quality: str
    took_ms: int


class Viewing:
    """One page. `extra` are flags, `options` those of `attach`; see sdk_pages/watch.js."""

    def __init__(self, page: Page, site: SdkSite, gateway: Gateway, *extra: str, **options: Any) -> None:
        self.page = page
        self.gateway = gateway
        self.content, self.session = str(uuid4()), str(uuid4())
        options = {"contentId": self.content, "sessionId": self.session, "heartbeatS": 1, **options}
        query = {"module": gateway.url + "/sdk/v1.js", "options": json.dumps(options)} | dict.fromkeys(extra, "1")
        page.open(f"{site.url}/watch.html?{urlencode(query, quote_via=quote)}")
        self.until("window.state === 'ready'")

    def until(self, expression: str) -> None:
        """It has to become true in the page."""
        eventually(lambda: self.page.evaluate(expression), SOON_S, f"{expression}: {self.page.errors()}")

    def play(self) -> None:
        """Until it plays."""
        self.page.evaluate("void (window.from = window.log.length, window.video.play())")
        self.until("window.log.slice(window.from).some(({ type }) => type === 'playing')")

    def pause(self) -> None:
        self.page.evaluate("window.video.pause()")
        self.until("window.log.at(-1).type === 'pause'")

    def play_a_little(self) -> None:
        """And pause."""
        self.play()
        self.until("window.video.currentTime > 0.3")
        self.pause()

    def kept(self) -> list[dict[str, Any]]:
        """Events on the device."""
        records: list[dict[str, Any]] = self.page.evaluate("window.keptOnDevice()")
        return [json.loads(record["text"]) for record in records]

    def did(self) -> list[Did]:
        """What its log means."""
        return meaning(self.page.evaluate("window.log"))

    def told(self, did: list[Did]) -> list[dict[str, Any]]:
        """Its rows, which are what was done, once and in order."""
        return rows_are(self.gateway, self.session, did)

    def viewers(self) -> int:
        """Of its content, who is its alone."""
        number: int = ask(f"{self.gateway.endpoints['admin']}/v1/live/{self.content}").json["viewers"]
        return number


def meaning(log: list[dict[str, Any]]) -> list[Did]:
    """Of a page's log (sdk_pages/log.js)."""
    did: list[Did] = []
    asked = waited = None
    playing, lines = False, 0
    for entry in log:
        kind, at_ms, before = entry["type"], entry["at"], lines
        lines = entry["lines"] or lines
        means = {"seeked": "seek", "ended": "completed", "error": "error"}.get(kind)
        took_ms = 0
        if kind == "play" and asked is None:
            asked = at_ms
        elif kind == "playing":
            if not playing:
                means, took_ms = "play", at_ms - (asked if not did and asked else at_ms)
            elif waited is not None:
                means, took_ms = "buffering", at_ms - waited
            playing, waited = True, None
        elif kind == "waiting" and playing and not entry["inside"]:
            waited = at_ms
        elif kind == "pause" and playing and not entry["over"]:
            means, playing = "pause", False
        elif kind == "resize" and did and lines != before:
            means = "quality_change"
        if means is not None:
            began_ms = at_ms - took_ms if means == "buffering" else at_ms
            did.append(Did(means, began_ms, int(entry["position"]), f"{lines}p", took_ms))
    return did


def rows_of(gateway: Gateway, session: str) -> list[dict[str, Any]]:
    """Of a session, as its page counted."""
    return [dict(row) for row in sql(gateway.endpoints["postgres"], ROWS_SQL, session)]


def rows_are(gateway: Gateway, session: str, did: list[Did]) -> list[dict[str, Any]]:
    """Once there are as many: all that was done, once, in its order, and nothing else."""

    def stored() -> list[dict[str, Any]]:
        found = rows_of(gateway, session)
        assert len(found) >= len(did), ([row["event_type"] for row in found], did)
        return found

    found = eventually(stored, SOON_S, "stored")
    assert [row["event_type"] for row in found] == [one.kind for one in did]
    for row, one in zip(found, did, strict=True):
        apart_ms = one.took_ms / 2 if one.kind == "buffering" and one.took_ms >= STALLED_MS else APART_MS
        assert abs(row["occurred_at"].timestamp() * 1_000 - one.at_ms) < apart_ms, (row, one)
        if one.kind != "stop":
            assert abs(row["position"] - one.position_s) <= 1, (row, one)
        assert abs((row["startup_ms"] or row["buffer_duration"] or 0) - one.took_ms) < APART_MS, (row, one)
        assert (row["startup_ms"] is not None) == (one is did[0] and one.kind == "play")
        assert (row["buffer_duration"] is not None) == (one.kind == "buffering")
        if one.kind == "quality_change":
            assert row["quality"] == one.quality
    return found


def whole(viewing: Viewing, site: SdkSite) -> list[Did]:
    """Play, pause, play, seek to where nothing is yet, stall, another rung, and the end."""
    page = viewing.page
    site.held.add("/films/480/5")
    viewing.play_a_little()
    viewing.play()
    page.evaluate("void (window.video.currentTime = 4)")
    viewing.until("window.log.some(({ type }) => type === 'seeked') && !window.video.seeking")
    viewing.until(
        "window.log.at(-1).type === 'waiting' && window.video.currentTime > 4.8"
    )  # a busy machine waits before
    page.evaluate(f"window.rung = 720; new Promise((done) => setTimeout(done, {STALLED_MS}))")
    site.release()
    viewing.until("window.video.ended && window.log.at(-1).type === 'ended'")
    did = viewing.did()
    meant = [
        one.kind for one in did if one.kind != "buffering" or one.took_ms >= STALLED_MS
    ]  # a busy machine has its own
    expected = ["play", "pause", "play", "seek", "buffering", "quality_change", "completed"]
    assert meant == expected, page.evaluate("window.log")
    return did
