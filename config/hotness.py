"""Settings of content hotness: a section of config.settings."""

from msgspec import Struct

from config.number import Positive, Share


class HotnessSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How much a content is watched, as a score from 0 to 1, and what follows from it (platform's schema, 3.7)."""

    divisor: Positive = 10_000  # of the weighted views, for a score of 1
    score_global: Share = 0.8  # from here on replication tier 1
    score_regional: Share = 0.5  # from here on tier 2; below it tier 3, on demand
    ttl_global_s: Positive = 86_400  # what an edge may keep it for: the hotter, the longer
    ttl_regional_s: Positive = 21_600
    ttl_on_demand_s: Positive = 3_600

    def __post_init__(self) -> None:
        if self.score_regional > self.score_global:
            raise ValueError("hotness.score_regional is above hotness.score_global")
