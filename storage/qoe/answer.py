"""The figures of a window as they are told. Pure."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from storage.qoe.figures import (
    DIMENSIONS,
    EXITS,
    EXPECTED,
    FAILURES,
    MINUTE_US,
    NOT_TOLD,
    OTHER,
    RATED,
    RATED_US,
    RECEIVED,
    SLOTS,
    STALLED_US,
    STALLS,
    STARTS,
    STARTUP_LE_MS,
    STARTUPS,
    TOTAL,
    WATCHED_US,
)
from storage.qoe.fold import AHEAD_MIN, Fold

WINDOWS_MIN: Final = {"1m": 1, "5m": 5, "1h": 60}
TOP_MAX: Final = 100


class Bucket(Struct, frozen=True):
    """Start-ups that took at most so long; None is without bound."""

    le_ms: int | None
    count: int


class Startup(Struct, frozen=True):
    """Of sessions that started and of which it is known; percentiles lie within their bucket by its width."""

    count: int
    p50: int | None
    p95: int | None
    histogram: tuple[Bucket, ...]


class Told(Struct, frozen=True, kw_only=True):
    """One group. Of the dimensions the one that was asked for is there; None is that of sessions that did not tell."""

    content_id: str | UnsetType | None = UNSET
    platform: str | UnsetType | None = UNSET
    cdn_edge: str | UnsetType | None = UNSET
    country: str | UnsetType | None = UNSET
    sessions: int
    starts: int
    startup_ms: Startup
    stalls: int
    stalled_share: float | None
    watched_s: float
    playback_failures: int
    playback_failure_share: float | None
    exits_before_start: int
    average_bitrate_kbps: int | None
    delivery_loss_share: float | None


class Window(NamedTuple):
    """What was asked for."""

    as_of_us: int
    since_us: int
    """Where it begins, or what is known does."""
    groups: list[Told]
    """By sessions falling, then by watched time."""


def told(fold: Fold, by: str | None, window_min: int, now_us: int, top: int = TOP_MAX) -> Window:
    """`by`: one of DIMENSIONS, or everything together. The running minute, and `window_min` before it."""
    last = now_us // MINUTE_US
    first = last - window_min
    dimension = TOTAL if by is None else DIMENSIONS.index(by)
    found = fold.minutes.window(first, last + AHEAD_MIN, dimension)
    best = sorted(found.items(), key=lambda one: (-one[1][1], -one[1][0][WATCHED_US], one[0]))[:top]
    groups = [_group(sums, sessions, by, value) for value, (sums, sessions) in best]
    if by is None and not groups:
        groups = [_group([0] * SLOTS, 0, by, NOT_TOLD)]
    return Window(min(now_us, fold.clock_us), max(first * MINUTE_US, fold.since_us), groups)


def _group(sums: Sequence[int], sessions: int, by: str | None, value: bytes) -> Told:
    counts = list(sums[STARTUPS:])
    watched_us, expected = sums[WATCHED_US], sums[EXPECTED]
    dimension: dict[str, Any] = {} if by is None else {by: _name(by, value)}
    return Told(
        sessions=sessions,
        starts=sums[STARTS],
        startup_ms=Startup(sum(counts), percentile(counts, 0.5), percentile(counts, 0.95), _histogram(counts)),
        stalls=sums[STALLS],
        stalled_share=_share(sums[STALLED_US], watched_us),
        watched_s=round(watched_us / 1e6, 3),
        playback_failures=sums[FAILURES],
        playback_failure_share=_share(sums[FAILURES], sessions),
        exits_before_start=sums[EXITS],
        average_bitrate_kbps=round(1_000 * sums[RATED] / sums[RATED_US]) if sums[RATED_US] > 0 else None,
        delivery_loss_share=_share(expected - sums[RECEIVED], expected),
        **dimension,
    )


def percentile(counts: Sequence[int], share: float) -> int | None:
    """Milliseconds that this share of start-ups took at most: a straight line within the bucket; beyond the last bound,
    that bound. None of nothing."""
    left = share * sum(counts)
    if left <= 0:
        return None
    below_ms = 0
    for le_ms, count in zip(STARTUP_LE_MS, counts, strict=False):
        if left <= count:
            return round(below_ms + (le_ms - below_ms) * left / count)
        left -= count
        below_ms = le_ms
    return below_ms


def _histogram(counts: Sequence[int]) -> tuple[Bucket, ...]:
    running, buckets = 0, []
    for le_ms, count in zip((*STARTUP_LE_MS, None), counts, strict=True):
        running += count
        buckets.append(Bucket(le_ms, running))
    return tuple(buckets)


def _share(part: int, whole: int) -> float | None:
    return round(min(max(part / whole, 0.0), 1.0), 6) if whole > 0 else None


def _name(by: str, value: bytes) -> str | None:
    if value == NOT_TOLD:
        return None
    if value == OTHER:
        return "other"
    return str(UUID(bytes=value)) if by == "content_id" else value.decode()
