"""Ad events with one thing changed, and what a store has to make of them, by a fold that imports none of it."""

import random
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from ingest.ad import AdRow, encode
from ingest.batch import KIND_AD, MONTH_AD, SCHEMA_AD, FrameBody
from tests.builders import RECEIVED_AT_US
from tests.spooled import SECOND, an_id

HOUR = 3_600 * SECOND
STAGES = ("impression", "start", "firstQuartile", "midpoint", "thirdQuartile", "complete")
TIMED = (
    *STAGES, "loaded", "creativeView", "click", "skip", "pause", "resume", "rewind", "mute", "unmute", "fullscreen",
    "exitFullscreen", "expand", "collapse", "acceptInvitation", "close", "viewable", "notViewable", "viewUndetermined",
    "error",
)  # fmt: skip
FIGURES = {
    "impressions": "impression", "starts": "start", "first_quartiles": "firstQuartile", "midpoints": "midpoint",
    "third_quartiles": "thirdQuartile", "completions": "complete", "clicks": "click", "skips": "skip",
    "errors": "error", "viewables": "viewable",
}  # fmt: skip
ATTRIBUTES = {
    "campaign_id": "campaign_id", "creative_id": "creative_id", "content_id": "content_id", "profile_id": "profile_id",
    "session_id": "session_id", "error_code": "error_code", "duration": "duration_ms",
}  # fmt: skip
Hours = dict[tuple[UUID, datetime], dict[str, int]]


def an_ad(**changes: Any) -> AdRow:
    """An impression ten seconds old, of a new id, that says nothing more."""
    values: dict[str, Any] = {
        "impression_id": an_id(),
        "event": "impression",
        "progress_offset": None,
        "occurred_at_us": RECEIVED_AT_US - 10 * SECOND,
        "received_at_us": RECEIVED_AT_US,
    }
    return AdRow(**values | changes)


def ads_frame(ads: Iterable[AdRow]) -> FrameBody:
    """These, as the door frames them."""
    return FrameBody.of(KIND_AD, 0, MONTH_AD, [encode(one) for one in ads], SCHEMA_AD)


def column(event: str) -> str:
    """firstQuartile → first_quartile_at."""
    return re.sub("([A-Z])", r"_\1", event).lower() + "_at"


def moment(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def expected_row(ads: list[AdRow]) -> dict[str, Any]:
    """Of all arrivals of one impression, its row."""
    row: dict[str, Any] = {"impression_id": ads[0].impression_id}
    row["received_at"] = moment(min(one.received_at_us for one in ads))
    row["test"] = any(one.test for one in ads)
    for event in TIMED:
        times = [one.occurred_at_us for one in ads if one.event == event]
        row[column(event)] = moment(min(times)) if times else None
    for name, field in ATTRIBUTES.items():
        told = [(one.received_at_us, getattr(one, field)) for one in ads if getattr(one, field) is not None]
        row[name] = min(told)[1] if told else None
    others = {" ".join(filter(None, one[1:3])) for one in ads if one.event not in TIMED}
    row["other_events"] = sorted(others)[:100] or None
    row["events"] = len({one.event for one in ads if one.event in TIMED}) + min(len(others), 100)
    row["repeats"] = len(ads) - row["events"]
    row["implausible"] = _is_implausible(row)
    return row


def _is_implausible(row: dict[str, Any]) -> bool:
    times = [row[column(event)] for event in STAGES]
    for number, later in enumerate(times):
        if any(later and earlier and earlier - later > timedelta(seconds=5) for earlier in times[:number]):
            return True
    if row["start_at"] is None or row["complete_at"] is None:
        return False
    least = timedelta(seconds=1)
    if row["duration"] is not None:
        least = max(least, timedelta(milliseconds=row["duration"]) / 2 - timedelta(seconds=1))
    return bool(row["complete_at"] - row["start_at"] < least)


def expected_hours(rows: Iterable[dict[str, Any]]) -> Hours:
    """(campaign, hour) → the figures that are not 0."""
    sums: dict[tuple[UUID, datetime], Counter[str]] = {}

    def add(campaign: UUID, at: datetime, figure: str, number: int = 1) -> None:
        hour = at.replace(minute=0, second=0, microsecond=0)
        if number:
            sums.setdefault((campaign, hour), Counter())[figure] += number

    for row in rows:
        campaign = row["campaign_id"]
        if campaign is None:
            continue
        if row["test"] or row["implausible"]:
            add(campaign, row["received_at"], "tests" if row["test"] else "implausible")
            continue
        add(campaign, row["received_at"], "repeats", row["repeats"])
        for figure, event in FIGURES.items():
            if (at := row[column(event)]) is not None:
                add(campaign, at, figure)
    return {key: dict(figures) for key, figures in sums.items()}


def expected_frequencies(rows: Iterable[dict[str, Any]]) -> dict[tuple[UUID, UUID, date], int]:
    """(campaign, profile, day) → impressions."""
    return dict(Counter(
        (row["campaign_id"], row["profile_id"], row["impression_at"].date())
        for row in rows
        if row["impression_at"] and row["campaign_id"] and row["profile_id"] and not row["test"]
        and not row["implausible"]
    ))  # fmt: skip


def many_ads(chance: random.Random, impressions: int) -> list[AdRow]:
    """What players might send of so many: in no order, some of it twice, some of it contradictory."""
    campaigns, profiles = [an_id() for _ in range(3)], [an_id() for _ in range(4)]
    ads: list[AdRow] = []
    for _ in range(impressions):
        shown, at_us = an_id(), RECEIVED_AT_US - chance.randrange(30 * HOUR)
        campaign = chance.choice([*campaigns, *campaigns, None])
        profile, duration_ms = chance.choice(profiles), chance.choice([None, 30_000])
        length_s = chance.choice([30, 30, 30, 12, 3])
        names = [*STAGES[: chance.randrange(7)], *chance.sample(TIMED, chance.randrange(4))]
        names += chance.sample(["progress", "minimize", "timeSpentViewing"], chance.randrange(3)) or names[:1]
        for event in names or ["error"]:
            stage = STAGES.index(event) if event in STAGES else chance.randrange(6)
            occurred_us = at_us + int(max(0, stage - 1) * length_s / 4 * SECOND)
            if chance.random() < 0.05:
                occurred_us += chance.randrange(-2 * HOUR, 2 * HOUR)
            one = an_ad(
                impression_id=shown, event=event, occurred_at_us=occurred_us,
                progress_offset=chance.choice(["5", "00:00:10", None]) if event == "progress" else None,
                received_at_us=RECEIVED_AT_US + chance.choice([0, 0, chance.randrange(3 * HOUR)]),
                test=chance.random() < 0.02,
                campaign_id=chance.choice([*[campaign] * 6, None, None, chance.choice(campaigns)]),
                profile_id=chance.choice([profile, profile, None, chance.choice(profiles)]),
                creative_id=chance.choice([None, "a", "b"]), content_id=chance.choice([None, UUID(int=7), UUID(int=8)]),
                session_id=chance.choice([None, UUID(int=9)]), duration_ms=duration_ms,
                error_code=chance.choice(["900", "901"]) if event == "error" else None,
            )  # fmt: skip
            ads.append(one)
            while chance.random() < 0.15:
                later_us = chance.choice([0, chance.randrange(-HOUR, HOUR)])
                ads.append(one._replace(
                    occurred_at_us=occurred_us + later_us, received_at_us=one.received_at_us + abs(later_us)
                ))  # fmt: skip
    chance.shuffle(ads)
    return ads
