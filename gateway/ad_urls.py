"""The tracking URLs of an ad, for an ad server to hand out, and a VAST document of them to paste. Pure.

The ad server puts a new UUID for IMPRESSION into every document that it serves: the identity of what the player then
fires. Players fill TIMESTAMP, CACHEBUSTING and ERRORCODE; where one does not, nothing is lost.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote
from uuid import UUID
from xml.sax.saxutils import escape, quoteattr

from ingest.ad import CLICK, EVENTS, PROGRESS
from ingest.click import signature
from ingest.pixel import PATH

IMPRESSION: Final = "[IMPRESSION_ID]"
"""Stands for the impression until the ad server knows it; as sent by mistake, it is absent and nothing is kept."""
CLICK_THROUGH: Final = "clickThrough"
"""Name of the URL that sends a viewer on; all others are named by their event."""
PROGRESS_OFFSET: Final = "00:00:05"
_LINEAR: Final = {
    "loaded": "loaded", "start": "start", "firstQuartile": "firstQuartile", "midpoint": "midpoint",
    "thirdQuartile": "thirdQuartile", "complete": "complete", "skip": "skip", "pause": "pause", "resume": "resume",
    "rewind": "rewind", "mute": "mute", "unmute": "unmute", "playerExpand": "expand", "playerCollapse": "collapse",
    "closeLinear": "close",
}  # fmt: skip
"""Tracking of VAST 4.x → event; Linear takes these by name."""
_VIEWABLE: Final = {"Viewable": "viewable", "NotViewable": "notViewable", "ViewUndetermined": "viewUndetermined"}


@dataclass(frozen=True, kw_only=True)
class Ad:
    """What its URLs say; all but `base` and `campaign` may be empty, and are left out."""

    base: str
    """The door's origin: https://ingest.example."""
    campaign: str
    """A UUID of ad_campaigns."""
    creative: str = ""
    content: str = ""
    session: str = ""
    profile: str = ""
    duration_s: str = ""
    """Of the ad, in seconds or as HH:MM:SS."""
    key: str = ""
    """A public write key, where the door asks for one."""
    impression: str = IMPRESSION
    """A UUID, or what the ad server puts one for: that is written as it is."""


def ad_urls(ad: Ad, *, click_through: str = "", click_secret: str = "") -> dict[str, str]:
    """Event → URL, for every event; and CLICK_THROUGH when there is a `click_through` to send viewers to, signed when
    there is a secret (otherwise its host has to be one of ads.click_hosts).
    """
    known = {
        "cmp": ad.campaign,
        "cr": ad.creative,
        "c": ad.content,
        "s": ad.session,
        "p": ad.profile,
        "d": ad.duration_s,
        "key": ad.key,
    }
    said = "&".join([f"imp={ad.impression}", *(f"{name}={_quoted(value)}" for name, value in known.items() if value)])
    door = ad.base.rstrip("/") + PATH
    urls = {event: f"{door}{event}?{said}{_more(event)}&ts=[TIMESTAMP]&cb=[CACHEBUSTING]" for event in EVENTS}
    if click_through:
        url = f"{door}{CLICK}?{said}&to={quote(click_through, safe='')}"
        if click_secret:
            signed_for = ad.impression if _is_uuid(ad.impression) else ""  # that fits every impression
            url += f"&sig={signature(click_secret.encode(), signed_for, ad.campaign, click_through)}"
        urls[CLICK_THROUGH] = url
    return urls


def _more(event: str) -> str:
    if event == PROGRESS:
        return f"&off={PROGRESS_OFFSET}"
    return "&code=[ERRORCODE]" if event == "error" else ""


def _is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True


def _is_macro(value: str) -> bool:
    return value.startswith("[") and value.endswith("]")


def _quoted(value: str) -> str:
    return value if _is_macro(value) else quote(value, safe="")


def vast(ad: Ad, urls: dict[str, str], *, title: str = "An ad", media: str = "https://cdn.example/ad.mp4") -> str:
    """A VAST 4.2 document with the `urls` of `ad_urls`; `media`: where its MP4 lies."""
    duration = ad.duration_s if ":" in ad.duration_s else _clock(float(ad.duration_s or 30))
    creative = ad.creative or "creative"
    linear = [f"<Tracking event={quoteattr(name)}>{escape(urls[event])}</Tracking>" for name, event in _LINEAR.items()]
    linear.append(f'<Tracking event="{PROGRESS}" offset="{PROGRESS_OFFSET}">{escape(urls[PROGRESS])}</Tracking>')
    if CLICK_THROUGH in urls:  # it is kept on its way: a ClickTracking beside it would be a repeat
        clicks = [f"<ClickThrough>{escape(urls[CLICK_THROUGH])}</ClickThrough>"]
    else:
        clicks = [f"<ClickTracking>{escape(urls[CLICK])}</ClickTracking>"]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<VAST version="4.2" xmlns="http://www.iab.com/VAST">',
        f"  <Ad id={quoteattr(ad.campaign)}>",
        "    <InLine>",
        "      <AdSystem>StreamVerse</AdSystem>",
        f"      <Error>{escape(urls['error'])}</Error>",
        f"      <Impression>{escape(urls['impression'])}</Impression>",
        "      <ViewableImpression>",
        *(f"        <{name}>{escape(urls[event])}</{name}>" for name, event in _VIEWABLE.items()),
        "      </ViewableImpression>",
        f"      <AdServingId>{escape(ad.impression)}</AdServingId>",
        f"      <AdTitle>{escape(title)}</AdTitle>",
        "      <Creatives>",
        f"        <Creative id={quoteattr(creative)}>",
        f'          <UniversalAdId idRegistry="unknown">{escape(creative)}</UniversalAdId>',
        "          <Linear>",
        f"            <Duration>{escape(duration)}</Duration>",
        "            <TrackingEvents>",
        *(f"              {line}" for line in linear),
        "            </TrackingEvents>",
        "            <VideoClicks>",
        *(f"              {line}" for line in clicks),
        "            </VideoClicks>",
        "            <MediaFiles>",
        '              <MediaFile delivery="progressive" type="video/mp4" width="1280" height="720">'
        f"{escape(media)}</MediaFile>",
        "            </MediaFiles>",
        "          </Linear>",
        "        </Creative>",
        "      </Creatives>",
        "    </InLine>",
        "  </Ad>",
        "</VAST>",
    ]
    return "\n".join(lines) + "\n"


def _clock(seconds: float) -> str:
    """HH:MM:SS.mmm, as VAST writes it."""
    ms = round(seconds * 1_000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1_000 % 60:02}.{ms % 1_000:03}"
