"""What goes on the wire: pixels and posts, out of order, some of it twice. Seeded, pure.

Late events and resends come last, days after the others by their own time, so that an hour that was told already has to
be told anew. Names of events are written as players write them: in any case, and some by what older VAST calls them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from loadtests.ads.campaign import SECOND_US
from loadtests.ads.showing import AdEvent, Showing
from loadtests.body import some_form

EVENTS_A_POST: Final = (1, 2, 5, 10, 20, 40)
REPEATED_SHARE: Final = 0.04
REQUEST_REPEATED_SHARE: Final = 0.02
LATE_SHARE: Final = 0.05
BEFORE_US: Final = 40 * 60 * SECOND_US  # how far an event is overtaken by those of others, of its own ad too
ABSENT: Final = ("", "-1", "-2", "[UNKNOWN]", "%%NOTHING%%")  # what an ad server's macros leave behind
ALIASES: Final = {
    "click": ("ClickTracking", "nonLinearClickTracking", "companionClickTracking", "customClick"),
    "close": ("closeLinear",),
    "expand": ("playerExpand",),
    "collapse": ("playerCollapse",),
}
CRAWLER: Final = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BROWSER: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0"


@dataclass(frozen=True, slots=True)
class Copy:
    """One telling of an event. `untimed`: it says not when, so that the moment of its receipt is its time."""

    event: AdEvent
    door: str
    crawler: bool
    skew_us: int = 0
    untimed: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One request: a pixel's `method` and `target`, or a post of `bodies` in `form`, by a clock `skew_us` off.

    `copies` are what a 200 promises; `refused` the places of bodies that no gateway takes.
    """

    copies: tuple[Copy, ...]
    user_agent: str
    method: str = "POST"
    target: str | None = None
    form: str = "envelope"
    skew_us: int = 0
    bodies: tuple[dict[str, Any], ...] = ()
    refused: frozenset[int] = frozenset()


def requests(seed: int, showings: Sequence[Showing]) -> tuple[list[Request], list[Request]]:
    """Those that come in about the order of time, and posts that come after all others. Pixels are among the first, and
    late ones the last of these: what a pixel says of its time is believed for some minutes alone."""
    rng = random.Random(f"ads:requests:{seed}")
    copies: list[tuple[float, Copy]] = []
    late: list[Copy] = []
    first: list[tuple[float, Request]] = []
    for one in showings:
        if one.skew_us:
            request = _post(rng, [_copy(one, event) for event in one.events], one.skew_us)
            first += [(one.events[0].at_us, request)] * (2 if rng.random() < REQUEST_REPEATED_SHARE else 1)
            continue
        for event in one.events:
            copy = _copy(one, event)
            if rng.random() < LATE_SHARE:
                late.append(copy)
            else:
                copies.append((event.at_us + rng.uniform(0, BEFORE_US), copy))
            late += [_repeated(rng, copy) for _ in range(rng.choice((1, 1, 2)) if rng.random() < REPEATED_SHARE else 0)]
    copies.sort(key=lambda placed: placed[0])
    rng.shuffle(late)
    begun = [*(request for _, request in first), *_all(rng, [copy for _, copy in copies])]
    rng.shuffle(begun)
    begun += _all(rng, [copy for copy in late if copy.door == "pixel"])
    return begun, list(_all(rng, [copy for copy in late if copy.door != "pixel"]))


def _copy(one: Showing, event: AdEvent) -> Copy:
    return Copy(event, one.door, one.crawler, one.skew_us, not one.timed)


def _repeated(rng: random.Random, copy: Copy) -> Copy:
    """Told again, maybe through the other door: the identity is what was shown, not how it was told."""
    if copy.untimed or rng.random() < 0.8:
        return copy
    return replace(copy, door="json")


def _all(rng: random.Random, copies: Sequence[Copy]) -> Iterator[Request]:
    """Each in one request; posts gather what comes together, whoever's it is."""
    waiting: dict[bool, list[Copy]] = {False: [], True: []}
    wanted = 1
    for copy in copies:
        if copy.door == "pixel":
            yield _pixel(rng, copy)
            continue
        gathered = waiting[copy.crawler]
        gathered.append(copy)
        if len(gathered) >= wanted:
            request = _post(rng, gathered)
            yield request
            if rng.random() < REQUEST_REPEATED_SHARE:  # an answer that never came, as its player has it
                yield request
            waiting[copy.crawler], wanted = [], rng.choice(EVENTS_A_POST)
    yield from (_post(rng, gathered) for gathered in waiting.values() if gathered)


def _post(rng: random.Random, gathered: Sequence[Copy], skew_us: int = 0) -> Request:
    bodies = [_body(rng, copy) for copy in gathered]
    copies, refused = list(gathered), set[int]()
    if rng.random() < 0.1:
        bodies.append(_nonsense(rng, gathered[0]))
        refused.add(len(bodies) - 1)
    if rng.random() < 0.1:  # told twice in one breath: one of them is a duplicate, and nobody's repeat
        bodies.append(_body(rng, gathered[0]))
    if rng.random() < 0.1:
        bodies.append(_played(rng, gathered[0].event.at_us + skew_us))
    form = some_form(rng, needs_sent_at=bool(skew_us), last=False)
    if form == "single" and len(bodies) > 1:
        form = "array"
    agent = CRAWLER if gathered[0].crawler else BROWSER
    return Request(tuple(copies), agent, form=form, skew_us=skew_us, bodies=tuple(bodies), refused=frozenset(refused))


def _body(rng: random.Random, copy: Copy) -> dict[str, Any]:
    """One ad event of a post, its time as the player's own clock has it."""
    event, at_us = copy.event, copy.event.at_us + copy.skew_us
    told = {
        "type": "ad",
        "impression_id": _uuid_text(rng, event.impression_id),
        "event": _name(rng, event.event),
        "occurred_at": at_us // 1_000 if rng.random() < 0.5 else _iso(at_us),
        "campaign_id": _text_or_none(event.campaign_id),
        "creative_id": event.creative_id,
        "content_id": _text_or_none(event.content_id),
        "profile_id": _text_or_none(event.profile_id),
        "session_id": _text_or_none(event.session_id),
        "progress_offset": event.progress_offset,
        "error_code": event.error_code,
        "duration": event.duration_s,
        "test": event.test or None,
    }
    with_nulls = rng.random() < 0.2
    return {name: value for name, value in told.items() if value is not None or with_nulls}


def _nonsense(rng: random.Random, copy: Copy) -> dict[str, Any]:
    """An event that no gateway takes."""
    body = _body(rng, copy)
    changes: Mapping[str, Any] = rng.choice(
        (
            {"event": "quartile"},
            {"event": None},
            {"impression_id": "not one"},
            {"impression_id": None},
            {"occurred_at": None},
            {"occurred_at": "yesterday"},
            {"campaign_id": "summer"},
        )
    )
    return {**body, **changes}


def _played(rng: random.Random, at_us: int) -> dict[str, Any]:
    """A playback event beside the ads, as players send them."""
    return {
        "event_id": str(UUID(int=rng.getrandbits(128), version=4)),
        "event_type": "pause",
        "content_id": str(UUID(int=rng.getrandbits(128), version=4)),
        "session_id": str(UUID(int=rng.getrandbits(128), version=4)),
        "occurred_at": at_us // 1_000,
        "position": 61,
    }


def _pixel(rng: random.Random, copy: Copy) -> Request:
    """A tracking URL as the ad server made it and the player filled it in."""
    event = copy.event
    told = {
        "imp": _uuid_text(rng, event.impression_id),
        "cr": event.creative_id,
        "cmp": _text_or_none(event.campaign_id),
        "c": _text_or_none(event.content_id),
        "s": _text_or_none(event.session_id),
        "p": _text_or_none(event.profile_id),
        "d": _text_or_none(event.duration_s),
        "off": event.progress_offset,
        "code": event.error_code,
        "ts": None if copy.untimed else _iso(event.at_us),
        "cb": f"{rng.randrange(10**8):08}",
        "test": "1" if event.test else None,
    }
    pairs = [(name, value) for name, value in told.items() if value is not None or rng.random() < 0.3]
    rng.shuffle(pairs)
    query = "&".join(f"{name}={quote(value or rng.choice(ABSENT), safe='[]')}" for name, value in pairs)
    before = rng.choice(("", "", "", "x/", "linear/"))
    method = rng.choices(("GET", "HEAD", "POST"), (90, 5, 5))[0]
    return Request(
        (copy,), CRAWLER if copy.crawler else BROWSER, method, f"/v1/ad/{before}{_name(rng, event.event)}?{query}"
    )


def _name(rng: random.Random, event: str) -> str:
    """As players write it."""
    if event in ALIASES and rng.random() < 0.5:
        return rng.choice(ALIASES[event])
    return rng.choice((event, event, event, event.lower(), event.upper()))


def _iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // SECOND_US, UTC).strftime("%Y-%m-%dT%H:%M:%S") + (
        f".{at_us % SECOND_US // 1_000:03}Z"
    )


def _uuid_text(rng: random.Random, one: UUID) -> str:
    return str(one) if rng.random() < 0.9 else str(one).upper()


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)
