"""One ad shown, `showing(seed, number, …)`: a pure function that says what its player fires, and when.

Times are epoch µs, whole milliseconds. What a player fires is VAST's: impression, start, the quartiles with their real
spacing, complete; some are skipped, clicked, muted, fail, or are lost for good on their way. A few are no viewer's
doing: crawlers, test traffic, and completions that no ad of this length can have had.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from loadtests.ads.campaign import DAY_US, HOUR_US, SECOND_US, Campaign, Month

STAGES: Final = ("impression", "start", "firstQuartile", "midpoint", "thirdQuartile", "complete")
QUARTILES: Final = (("firstQuartile", 0.25), ("midpoint", 0.5), ("thirdQuartile", 0.75), ("complete", 1.0))
DURATIONS_S: Final = (6, 10, 15, 20, 30, 60)
ERROR_CODES: Final = ("100", "303", "400", "402", "405", "900")
ON_THE_WAY: Final = ("mute", "unmute", "pause", "resume", "rewind", "fullscreen", "exitFullscreen", "expand")
VIEWABLES: Final = ("viewable", "viewable", "notViewable", "viewUndetermined")
BARELY: Final = ("complete at once", "order", "just in order", "too short", "just long enough", "half a second")
CREATIVES: Final = 40
PROFILES: Final = 300
CONTENTS: Final = 80
PIXEL_SHARE: Final = 0.3
CLOCK_OFF_SHARE: Final = 0.05
CLOCK_OFF_S: Final = (1_200, 3 * 86_400)
PIXELS_BEGIN_S: Final = 100  # before the run: the gateway believes a pixel's own time within five minutes
JITTER_US: Final = 250_000  # a quartile is fired at the player's next timeupdate


@dataclass(frozen=True, slots=True)
class AdEvent:
    """What one pixel says, or one event of a post. `at_us` is when it was, by a clock that is right."""

    impression_id: UUID
    event: str
    at_us: int
    campaign_id: UUID | None = None
    creative_id: str | None = None
    content_id: UUID | None = None
    profile_id: UUID | None = None
    session_id: UUID | None = None
    progress_offset: str | None = None
    error_code: str | None = None
    duration_s: int | None = None
    test: bool = False

    @property
    def identity(self) -> tuple[UUID, str, str | None]:
        return (self.impression_id, self.event, self.progress_offset)


@dataclass(frozen=True, slots=True)
class Showing:
    """All that one ad's player fires, in its order.

    `door` pixel or json; `timed`: its pixels say when they were fired; `skew_us`: how far the player's clock is off
    (json alone, and then all in one request, so that one correction holds for all).
    """

    events: tuple[AdEvent, ...]
    door: str
    timed: bool = True
    crawler: bool = False
    skew_us: int = 0


def showing(seed: int, number: int, orders: Sequence[Campaign], month: Month, now_us: int) -> Showing:
    """The ad of this number: by post somewhere in `month`, by pixel a moment before `now_us`."""
    rng = random.Random(f"ads:showing:{seed}:{number}")
    draw = rng.random()
    pixel, clock_off = draw < PIXEL_SHARE, draw > 1 - CLOCK_OFF_SHARE
    duration_s = rng.choice(DURATIONS_S)
    begin_us = _begin_us(rng, month, now_us, pixel=pixel, clock_off=clock_off)
    blank = _blank(rng, orders, duration_s)
    fired = _fired(rng, begin_us, duration_s)
    if not pixel and not clock_off and rng.random() < 0.1:  # after a long pause the viewer went back: not the earliest
        event, at_us = rng.choice(fired)
        fired.append((event, at_us + rng.randrange(HOUR_US, 30 * HOUR_US)))
    timed = not pixel or rng.random() < 0.75
    if not timed:  # when it was is when it came: nothing can be said of what lies between two stages
        fired = [(event, at_us) for event, at_us in fired if event == "impression" or event not in STAGES]
    if clock_off or not timed:
        fired = _once(fired)
    events = [
        replace(blank, event=event, at_us=at_us // 1_000 * 1_000, error_code=_error_code(rng, event))
        for event, at_us in fired
    ]
    events = _progress(rng, events, begin_us)
    events = _forgetful(rng, [event for event in events if rng.random() > 0.02] or events[:1])
    skew_us = rng.choice((-1, 1)) * rng.randint(*CLOCK_OFF_S) * SECOND_US if clock_off else 0
    crawler = not clock_off and rng.random() < 0.03
    return Showing(tuple(events), "pixel" if pixel else "json", timed, crawler, skew_us)


def _begin_us(rng: random.Random, month: Month, now_us: int, *, pixel: bool, clock_off: bool) -> int:
    """When the ad appears."""
    if pixel:
        return now_us - PIXELS_BEGIN_S * SECOND_US + rng.randrange(20 * SECOND_US)
    hour_us = month.begin_us + rng.randrange((month.end_us - month.begin_us) // HOUR_US) * HOUR_US
    if clock_off:  # far from a full hour: its time is known to some seconds alone
        return hour_us + rng.randrange(5 * 60 * SECOND_US, 50 * 60 * SECOND_US)
    draw = rng.random()
    if draw < 0.06:  # the last moments of the 31st: what follows is the next month's
        return month.end_us - rng.randrange(1_000, 60 * SECOND_US)
    if draw < 0.1:  # on the stroke of an hour, or a millisecond before
        return hour_us + rng.choice((0, HOUR_US - 1_000))
    if draw < 0.13:  # of a day
        return hour_us // DAY_US * DAY_US + rng.choice((0, DAY_US - 1_000))
    return hour_us + rng.randrange(HOUR_US)


def _blank(rng: random.Random, orders: Sequence[Campaign], duration_s: int) -> AdEvent:
    """What all events of an ad have in common. Few campaigns have most of the ads."""
    weights = [1 / (place + 1) for place in range(len(orders))]
    return AdEvent(
        impression_id=UUID(int=rng.getrandbits(128), version=4),
        event="",
        at_us=0,
        campaign_id=rng.choices(orders, weights)[0].campaign_id if rng.random() > 0.02 else None,
        creative_id=f"creative {rng.randrange(CREATIVES)}" if rng.random() > 0.1 else None,
        content_id=_one_of(rng, "content", CONTENTS) if rng.random() > 0.1 else None,
        profile_id=_one_of(rng, "profile", PROFILES) if rng.random() > 0.2 else None,
        session_id=UUID(int=rng.getrandbits(128), version=4) if rng.random() > 0.1 else None,
        duration_s=duration_s if rng.random() > 0.3 else None,
        test=rng.random() < 0.03,
    )


def _one_of(rng: random.Random, kind: str, count: int) -> UUID:
    return UUID(int=random.Random(f"ads:{kind}:{rng.randrange(count)}").getrandbits(128), version=4)


def _error_code(rng: random.Random, event: str) -> str | None:
    return rng.choice(ERROR_CODES) if event == "error" else None


def _fired(rng: random.Random, begin_us: int, duration_s: int) -> list[tuple[str, int]]:
    """Events and their times, in the player's order."""
    if rng.random() < 0.04:
        return [("error", begin_us)] if rng.random() < 0.5 else [("impression", begin_us), ("error", begin_us + 1_000)]
    if rng.random() < 0.05:
        return _implausible(rng, begin_us, duration_s)
    start_us = begin_us + rng.randrange(1_000, SECOND_US)
    fired = [("loaded", begin_us), ("impression", begin_us), ("creativeView", begin_us), ("start", start_us)]
    watched = rng.choices((0.1, 0.3, 0.6, 0.9, 1.0), (6, 8, 8, 8, 70))[0]
    for event, share in QUARTILES:
        if share <= watched:
            fired.append((event, start_us + round(duration_s * share * SECOND_US) + rng.randrange(JITTER_US)))
    end_us = start_us + round(duration_s * watched * SECOND_US)
    if watched < 1:
        fired.append(("skip" if rng.random() < 0.7 else "close", end_us + JITTER_US))
    if rng.random() < 0.12:
        fired.append(("click", rng.randrange(start_us, end_us)))
    if rng.random() < 0.6:
        fired.append((rng.choice(VIEWABLES), start_us + 2 * SECOND_US))
    more = rng.sample(ON_THE_WAY, rng.choice((0, 0, 1, 3)))
    fired += [(event, rng.randrange(start_us, end_us)) for event in more]
    if rng.random() < 0.08:  # the viewer went back, and the player fires a quartile or a click once more
        event, at_us = rng.choice([one for one in fired if one[0] not in ("loaded", "impression", "start")])
        fired.append((event, at_us + rng.randrange(2, 9) * SECOND_US))
    return sorted(fired, key=lambda one: one[1])


def _implausible(rng: random.Random, begin_us: int, duration_s: int) -> list[tuple[str, int]]:
    """What no ad can have had, and beside it what it barely can: five seconds early, or half of it seen."""
    what = rng.choice(BARELY)
    fired = [("impression", begin_us), ("start", begin_us + 1_000)]
    start_us = begin_us + 1_000
    if what == "complete at once":
        return [*fired, ("complete", start_us + 999_000)]
    if what == "half a second":
        return [*fired, ("complete", start_us + 500_000), ("click", start_us + 200_000)]
    if what == "too short":
        return [*fired, ("complete", start_us + duration_s * 500_000 - 1_001_000)]
    if what == "just long enough":
        return [*fired, ("complete", max(start_us + duration_s * 500_000 - 1_000_000, start_us + SECOND_US))]
    early_us = (5_001 if what == "order" else 5_000) * 1_000
    middle_us = start_us + 8 * SECOND_US
    return [*fired, ("firstQuartile", middle_us), ("midpoint", middle_us - early_us), ("click", middle_us)]


def _once(fired: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Without what the player fired a second time."""
    return list({event: (event, at_us) for event, at_us in reversed(fired)}.values())[::-1]


def _progress(rng: random.Random, events: list[AdEvent], begin_us: int) -> list[AdEvent]:
    """Beside them progress by offset, of some."""
    if rng.random() > 0.15:
        return events
    offsets = rng.sample(("00:00:01", "00:00:03.500", "00:00:05", "10%", "50%"), 2)
    last_us = max(event.at_us for event in events)
    told = [
        replace(events[0], event="progress", progress_offset=offset, at_us=min(last_us, begin_us // 1_000 * 1_000))
        for offset in offsets
    ]
    return [*events, *told]


def _forgetful(rng: random.Random, events: list[AdEvent]) -> list[AdEvent]:
    """Some players name what they know in one event alone, which may well be the last one to come."""
    if rng.random() > 0.1 or len(events) < 2:
        return events
    knowing = rng.randrange(len(events))
    return [
        event
        if number == knowing
        else replace(event, campaign_id=None, creative_id=None, content_id=None, profile_id=None, duration_s=None)
        for number, event in enumerate(events)
    ]
