"""The ledger of a month of ads: what the answers promise, in figures by campaign and hour, money and frequencies. Pure.

Each figure counts in the UTC hour of its event's earliest time. What a client cannot know are the moments of receipt,
but that they lie within the run: hours of the run are therefore one hour here, named by the first of them. Repeats
alone have bounds, when a try was cut off: it may have been kept, or not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeVar
from uuid import UUID

from loadtests.ads.campaign import DAY_US, HOUR_US, SECOND_US, Campaign
from loadtests.ads.posting import Sent, Try
from loadtests.ads.request import Copy
from loadtests.expectation import Bounds

T = TypeVar("T")

FIGURES: Final = {
    "impressions": "impression",
    "starts": "start",
    "first_quartiles": "firstQuartile",
    "midpoints": "midpoint",
    "third_quartiles": "thirdQuartile",
    "completions": "complete",
    "clicks": "click",
    "skips": "skip",
    "errors": "error",
    "viewables": "viewable",
}
"""Name of a figure → the event it counts."""
STAGES: Final = ("impression", "start", "firstQuartile", "midpoint", "thirdQuartile", "complete")
TOLERANCE_US: Final = 5 * SECOND_US  # a stage may seem so much earlier than the one before it
PIXEL_BELIEVED_US: Final = 300 * SECOND_US


class Unclear(Exception):
    """A figure hangs on when exactly a request came: the run took too long, or its model is wrong."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time that is known to lie between these two."""

    least_us: int
    most_us: int


@dataclass(frozen=True, slots=True)
class Run:
    """When everything was received."""

    begin_us: int
    end_us: int

    def hour_of(self, span: Span) -> int:
        """The hour it lies in, epoch µs; hours of the run are its first one. Raises Unclear."""
        return self._unit_of(span, HOUR_US)

    def day_of(self, span: Span) -> int:
        """The same with days."""
        return self._unit_of(span, DAY_US)

    def folded(self, at_us: int, unit_us: int) -> int:
        """What an hour or a day is here."""
        begin_us = self.begin_us // unit_us * unit_us
        return begin_us if begin_us <= at_us <= self.end_us else at_us

    def _unit_of(self, span: Span, unit_us: int) -> int:
        ends = {self.folded(at_us // unit_us * unit_us, unit_us) for at_us in (span.least_us, span.most_us)}
        if len(ends) > 1:
            raise Unclear(f"between {span.least_us} and {span.most_us}")
        return ends.pop()


@dataclass(slots=True)
class Shown:
    """What is known of one impression: the earliest time of each event, and what it was."""

    times: dict[tuple[str, str | None], Span] = field(default_factory=dict)
    campaigns: set[UUID] = field(default_factory=set)
    profiles: set[UUID] = field(default_factory=set)
    durations_s: set[int] = field(default_factory=set)
    test: bool = False
    arrivals_least: int = 0
    arrivals_most: int = 0

    def take(self, copy: Copy, tries: Sequence[Try]) -> None:
        """One telling, with every try of it that may have been kept."""
        event = copy.event
        self.campaigns |= _told(event.campaign_id)
        self.profiles |= _told(event.profile_id)
        self.durations_s |= _told(event.duration_s)
        self.test |= event.test or copy.crawler
        span, key = _time(copy, tries), (event.event, event.progress_offset)
        known = self.times.get(key, span)
        self.times[key] = Span(min(known.least_us, span.least_us), min(known.most_us, span.most_us))
        self.arrivals_least += sum(one.acknowledged for one in tries)
        self.arrivals_most += len(tries)

    def at(self, event: str) -> Span | None:
        return self.times.get((event, None))

    @property
    def repeats(self) -> Bounds:
        return Bounds(self.arrivals_least - len(self.times), self.arrivals_most - len(self.times))

    @property
    def implausible(self) -> bool:
        spans = [self.at(stage) for stage in STAGES]
        return is_implausible([span.least_us if span else None for span in spans], _one(self.durations_s))


@dataclass(slots=True)
class Ledger:
    """Every figure. Hours and days are epoch µs of their begin, those of the run folded into one."""

    hours: defaultdict[UUID, defaultdict[int, Counter[str]]]
    """Campaign → hour → figure → how many."""
    repeats: dict[UUID, Bounds]
    implausible: Counter[UUID]
    tests: Counter[UUID]
    frequencies: Counter[tuple[UUID, UUID, int]]
    """(campaign, profile, day) → impressions."""
    impressions: dict[UUID, Shown]
    events: int
    """Distinct ones, of whatever impression."""

    def total(self, campaign: UUID, figure: str) -> int:
        """Over all hours."""
        return sum(hour[figure] for hour in self.hours[campaign].values())

    def cost(self, campaign: Campaign, hours: Iterable[int] | None = None) -> Decimal:
        """Of these hours, or of all of them; exact."""
        figures = self.hours[campaign.campaign_id]
        return sum((hour_cost(campaign, hour, figures[hour]) for hour in hours or list(figures)), Decimal(0))


def hour_cost(campaign: Campaign, hour_us: int, figures: Counter[str]) -> Decimal:
    """What one hour costs, exactly."""
    return campaign.cost(
        hour_us,
        impressions=figures["impressions"],
        clicks=figures["clicks"],
        completions=figures["completions"],
    )


def ledger(sent: Iterable[Sent], run: Run) -> Ledger:
    """All of it, from what was acknowledged. Raises Unclear."""
    shown: defaultdict[UUID, Shown] = defaultdict(Shown)
    for one in sent:
        assert one.acknowledged, "everything is resent until it is acknowledged"
        for copy in dict.fromkeys(one.request.copies):  # the same again is answered as a duplicate, and not kept
            shown[copy.event.impression_id].take(copy, one.tries)
    made = Ledger(
        hours=defaultdict(lambda: defaultdict(Counter)),
        repeats=defaultdict(lambda: Bounds(0, 0)),
        implausible=Counter(),
        tests=Counter(),
        frequencies=Counter(),
        impressions=dict(shown),
        events=sum(len(one.times) for one in shown.values()),
    )
    for impression in shown.values():
        _count(made, impression, run)
    return made


def is_implausible(times_us: Sequence[int | None], duration_s: int | None) -> bool:
    """By the earliest time of each of STAGES, None when it never came, and the ad's length where one was told."""
    latest_us = 0
    for at_us in times_us:
        if at_us is None:
            continue
        if at_us < latest_us - TOLERANCE_US:
            return True
        latest_us = max(latest_us, at_us)
    start_us, complete_us = times_us[1], times_us[-1]
    if start_us is None or complete_us is None:
        return False
    half_us = SECOND_US if duration_s is None else duration_s * SECOND_US // 2 - SECOND_US
    return complete_us - start_us < max(SECOND_US, half_us)


def _count(made: Ledger, impression: Shown, run: Run) -> None:
    """What one impression is to its campaign; nothing while none is named."""
    campaign = _one(impression.campaigns)
    if campaign is None:
        return
    if impression.test:
        made.tests[campaign] += 1
        return
    if impression.implausible:
        made.implausible[campaign] += 1
        return
    for figure, event in FIGURES.items():
        if span := impression.at(event):
            made.hours[campaign][run.hour_of(span)][figure] += 1
    known = made.repeats[campaign]
    made.repeats[campaign] = Bounds(known.least + impression.repeats.least, known.most + impression.repeats.most)
    profile, span = _one(impression.profiles), impression.at("impression")
    if profile is not None and span is not None:
        made.frequencies[campaign, profile, run.day_of(span)] += 1


def _time(copy: Copy, tries: Sequence[Try]) -> Span:
    """When the event was, of all its tries the earliest. Raises Unclear."""
    at_us = copy.event.at_us
    if copy.door == "pixel" and (copy.untimed or max(one.ended_us for one in tries) - at_us > PIXEL_BELIEVED_US):
        if not copy.untimed:
            raise Unclear("a pixel took so long that its own time was not believed")
        return Span(min(one.begun_us for one in tries), min(one.ended_us for one in tries if one.acknowledged))
    if not copy.skew_us:
        return Span(at_us, at_us)
    return Span(at_us, at_us + max(one.ended_us - one.begun_us for one in tries))


def _told(value: T | None) -> set[T]:
    return set() if value is None else {value}


def _one(told: set[T]) -> T | None:
    """All events of an impression that say it say the same."""
    assert len(told) <= 1, told
    return next(iter(told), None)
