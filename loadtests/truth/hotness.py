"""Views in 24 hours, 7 and 30 days, score, tier and TTL of every content, as the ledger has them. Pure; by spec §3.7:
hotness = min(1, (24h·0.5 + 7d·0.3 + 30d·0.2) / 10000); 0.8 and more is tier 1, 0.5 and more tier 2, else 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple
from uuid import UUID

from loadtests.expectation import NOTHING, Bounds, Views

WINDOWS_HOURS: Final = (24, 7 * 24, 30 * 24)
SHARES: Final = (0.5, 0.3, 0.2)
TTL_S: Final = {1: 86_400, 2: 21_600, 3: 3_600}


class Hotness(NamedTuple):
    """What the API says of one content."""

    views: tuple[int, int, int]
    """Of the last 24 hours, 7 days and 30 days."""
    score: float
    tier: int
    ttl_s: int


def windows(views: Views, content: UUID, hour: int) -> tuple[Bounds, Bounds, Bounds]:
    """Views of the three windows that end with the whole hour `hour` (since 1970 UTC), the running one."""
    sums = [NOTHING] * len(WINDOWS_HOURS)
    for (of, at), bounds in views.by_hour.items():
        if of == content:
            for number, hours in enumerate(WINDOWS_HOURS):
                if hour - hours < at <= hour:
                    so_far = sums[number]
                    sums[number] = Bounds(so_far.least + bounds.least, so_far.most + bounds.most)
    return sums[0], sums[1], sums[2]


def wrong(said: Hotness, expected: Iterable[tuple[Bounds, Bounds, Bounds]], divisor: float) -> str:
    """What is wrong with what was said, by the windows of every hour it may be of; empty when nothing is."""
    if not any(all(b.hold(v) for b, v in zip(bounds, said.views, strict=True)) for bounds in expected):
        return f"views {said.views}, expected one of {[tuple(map(tuple, _pairs(b))) for b in expected]}"
    score = min(1.0, sum(v * share for v, share in zip(said.views, SHARES, strict=True)) / divisor)
    if abs(said.score - score) > 1e-12:
        return f"score {said.score}, expected {score}"
    tier = 1 if said.score >= 0.8 else 2 if said.score >= 0.5 else 3
    if (said.tier, said.ttl_s) != (tier, TTL_S[tier]):
        return f"tier {said.tier} and ttl_hint {said.ttl_s} at a score of {said.score}"
    return ""


def _pairs(bounds: Iterable[Bounds]) -> list[tuple[int, int]]:
    return [(b.least, b.most) for b in bounds]
