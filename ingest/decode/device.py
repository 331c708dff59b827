"""What a viewer watches on, told by the headers of a request: device_type and platform of the schema, or None. Pure.

Televisions and consoles are known by their User-Agent alone; browsers say Sec-CH-UA-Platform, or only a User-Agent.
"""

import re
from typing import Final, NamedTuple

from ingest.crawler import USER_AGENT_MAX_CHARS

TV: Final = "tv"
MOBILE: Final = "mobile"
TABLET: Final = "tablet"
CONSOLE: Final = "console"
WEB: Final = "web"


class Device(NamedTuple):
    """As the schema names them."""

    device_type: str | None
    platform: str | None


UNKNOWN: Final = Device(None, None)

_BESIDE_THE_TV: Final = (
    (r"Tizen", Device(TV, "tizen")),
    (r"Web0S|WebOS|NetCast", Device(TV, "webos")),
    (r"Roku", Device(TV, "roku")),
    (r"Apple ?TV|tvOS", Device(TV, "tvos")),
    (r"\bAFT[A-Z]|Fire ?TV", Device(TV, "firetv")),
    (r"CrKey", Device(TV, "chromecast")),
    (r"Android ?TV|Google ?TV|BRAVIA|SHIELD", Device(TV, "androidtv")),
    (r"PlayStation", Device(CONSOLE, "playstation")),
    (r"Xbox", Device(CONSOLE, "xbox")),
    (r"Nintendo", Device(CONSOLE, "nintendo")),
    (r"VIDAA", Device(TV, "vidaa")),
    (r"HbbTV|Smart-?TV|SmartHub", Device(TV, "hbbtv")),
)
"""By what a User-Agent holds, in this order: most of these also say Linux, and some Android."""
_IN_HAND: Final = (
    (r"iPad", Device(TABLET, "ios")),
    (r"iPhone|iPod", Device(MOBILE, "ios")),
    (r"Android.*Mobile", Device(MOBILE, "android")),
    (r"Android", Device(TABLET, "android")),
    (r"Windows", Device(WEB, "windows")),
    (r"Mac ?OS X|Macintosh", Device(WEB, "macos")),
    (r"CrOS", Device(WEB, "chromeos")),
    (r"Linux|X11", Device(WEB, "linux")),
)
_HINTS: Final = {
    "Windows": Device(WEB, "windows"),
    "macOS": Device(WEB, "macos"),
    "Linux": Device(WEB, "linux"),
    "Chrome OS": Device(WEB, "chromeos"),
    "Chromium OS": Device(WEB, "chromeos"),
    "Android": Device(TABLET, "android"),
    "iOS": Device(TABLET, "ios"),
}
"""Sec-CH-UA-Platform, as browsers send it; of what is held in hand, the one that Sec-CH-UA-Mobile denies."""


def _compiled(table: tuple[tuple[str, Device], ...]) -> list[tuple[re.Pattern[str], Device]]:
    return [(re.compile(pattern, re.IGNORECASE), device) for pattern, device in table]


_TVS, _OTHERS = _compiled(_BESIDE_THE_TV), _compiled(_IN_HAND)


def device_of(user_agent: str, hinted_platform: str, hinted_mobile: str) -> Device:
    """From User-Agent, Sec-CH-UA-Platform and Sec-CH-UA-Mobile as sent, empty when absent."""
    user_agent = user_agent[:USER_AGENT_MAX_CHARS]
    if (found := _found(_TVS, user_agent)) is not None:
        return found
    if (hinted := _HINTS.get(hinted_platform.strip('" '))) is not None:
        return hinted._replace(device_type=MOBILE) if hinted_mobile == "?1" else hinted
    return _found(_OTHERS, user_agent) or UNKNOWN


def _found(table: list[tuple[re.Pattern[str], Device]], user_agent: str) -> Device | None:
    return next((device for pattern, device in table if pattern.search(user_agent)), None)
