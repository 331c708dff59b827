"""A few campaigns and the breaks in which a platform shows them, for people to look at: seeded, pure.

What each number has to be is `loadtests.ads.__main__`'s business; here ads are as ads are: most are seen to the end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from loadtests.ads.showing import QUARTILES

ORDER_SQL: Final = """
INSERT INTO ad_campaigns
    (id, name, advertiser, status, pricing_model, bid_amount, budget_total, budget_daily, start_date, end_date)
VALUES ($1, $2, $3, 'active', $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING
"""
BEGAN: Final = timedelta(hours=12)
LASTS: Final = timedelta(hours=24)
LEAVING: Final = 0.07
"""Of those who reach a quarter, who do not reach the next."""
CLICKING: Final = 0.04
DURATION_S: Final = 15
FIRES_LATE_MS: Final = 200


@dataclass(frozen=True, slots=True)
class Order:
    """A campaign of `weight` among the others."""

    name: str
    advertiser: str
    model: str
    bid: Decimal
    budget: Decimal
    weight: int

    @property
    def campaign_id(self) -> UUID:
        return UUID(int=random.Random(f"ads:breaks:{self.name}").getrandbits(128), version=4)


ORDERS: Final = (
    Order("Autumn on the coast", "Coastline Railways", "cpm", Decimal("18"), Decimal("40"), 6),
    Order("Decaf, honestly", "Morning Roasters", "cpcv", Decimal("0.02"), Decimal("30"), 4),
    Order("Learn the cello at home", "Bow & String", "cpc", Decimal("0.6"), Decimal("24"), 2),
    Order("Bikes for rain", "Puddle Cycles", "cpm", Decimal("9.5"), Decimal("9"), 1),
)


def order_values(order: Order, now: datetime) -> tuple[Any, ...]:
    """Of ORDER_SQL: a day's campaign, half of it over."""
    start, end = ((now + at).astimezone(UTC).replace(tzinfo=None) for at in (-BEGAN, LASTS - BEGAN))
    daily = order.budget / 2
    return (
        *(order.campaign_id, order.name, order.advertiser, order.model, order.bid, order.budget, daily),
        *(start, end),
    )


def shown(rng: random.Random, at_ms: int) -> list[dict[str, Any]]:
    """What one ad's player fires, as events of `POST /v1/events`. It begins at `at_ms`, epoch ms."""
    order = rng.choices(ORDERS, [one.weight for one in ORDERS])[0]
    common = {
        "type": "ad",
        "impression_id": _an_id(rng),
        "campaign_id": str(order.campaign_id),
        "profile_id": _an_id(rng),
    }
    start_ms = at_ms + rng.randrange(FIRES_LATE_MS)
    fired = [("impression", at_ms), ("start", start_ms)]
    for event, share in QUARTILES:
        if rng.random() < LEAVING:
            fired.append(("skip", fired[-1][1] + 1_000))
            break
        fired.append((event, start_ms + round(DURATION_S * share * 1_000) + rng.randrange(FIRES_LATE_MS)))
    if rng.random() < CLICKING:
        fired.append(("click", start_ms + 2_000))
    return [common | {"event": event, "occurred_at": moment_ms} for event, moment_ms in fired]


def _an_id(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
