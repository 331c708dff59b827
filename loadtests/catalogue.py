"""What there is to watch: a seeded list of contents with a popularity like Zipf's, and the devices it is watched on."""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final
from uuid import UUID

CONTENTS_COUNT: Final = 200
LIVE_SHARE: Final = 0.1
ZIPF_EXPONENT: Final = 1.1  # video catalogues are measured between 0.8 and 1.3: few titles take most plays


@dataclass(frozen=True, slots=True)
class Content:
    """One title; `duration_s` is None for a live channel, which has no end."""

    content_id: UUID
    duration_s: int | None


@dataclass(frozen=True, slots=True)
class Device:
    """What a player says about the thing it runs on; every text fits its column."""

    device_type: str
    platform: str
    player: str
    app_version: str


# The last ones are not in the schema's lists: the world has more devices, and DESIGN §3 stores them as sent.
DEVICES: Final = (
    Device("web", "chrome", "hls.js 1.7.4", "5.12.0"),
    Device("web", "firefox", "dash.js 5.2.1", "5.12.0"),
    Device("web", "safari", "native", "5.11.3"),
    Device("mobile", "ios", "AVPlayer", "8.3.1"),
    Device("mobile", "android", "Media3 1.9", "8.3.0"),
    Device("tv", "tizen", "shaka 5.2.12", "3.0.7"),
    Device("tv", "roku", "roku-video", "3.1.0"),
    Device("tv", "webos", "shaka 5.2.12", "3.0.7"),
    Device("console", "playstation", "shaka 5.2.12", "2.4.0"),
)

# (quality, kbps): the ladder a player climbs; 1440p is beyond the schema's list on purpose.
LADDER: Final = (("480p", 1_200), ("720p", 3_000), ("1080p", 5_800), ("1440p", 9_000), ("4k", 15_500))

EDGES: Final = ("fra-1", "fra-2", "lhr-1", "iad-3", "nrt-1", "gru-2", "syd-1")
COUNTRIES: Final = ("DE", "FR", "GB", "US", "JP", "BR", "AU", "IN")
ERROR_CODES: Final = ("manifestLoadError", "bufferStalledError", "3016", "MEDIA_ERR_DECODE")


@lru_cache(maxsize=8)
def catalogue(seed: int) -> tuple[Content, ...]:
    """The same contents for the same seed, the most popular one first."""
    rng = random.Random(f"catalogue:{seed}")
    return tuple(
        Content(
            content_id=UUID(int=rng.getrandbits(128), version=4),
            duration_s=None if rng.random() < LIVE_SHARE else rng.randrange(300, 9_000),
        )
        for _ in range(CONTENTS_COUNT)
    )


@lru_cache(maxsize=1)
def _shares() -> tuple[float, ...]:
    """Cumulated popularity of each rank; the last is 1."""
    weights = [1 / rank**ZIPF_EXPONENT for rank in range(1, CONTENTS_COUNT + 1)]
    total = sum(weights)
    return tuple(share / total for share in accumulate(weights))


def content_for(seed: int, chance: float) -> Content:
    """The content that a viewer with this `chance` (0 ≤ chance < 1) chooses."""
    assert 0 <= chance < 1
    return catalogue(seed)[min(bisect_left(_shares(), chance), CONTENTS_COUNT - 1)]
