"""Campaigns and what an hour of each costs: seeded, pure. Times are epoch µs, money is decimal."""

from __future__ import annotations

import calendar
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final
from uuid import UUID

from loadtests.ledger import epoch_us

SECOND_US: Final = 1_000_000
HOUR_US: Final = 3_600 * SECOND_US
DAY_US: Final = 24 * HOUR_US
LONGEST_MONTH_DAYS: Final = 31
SETTLED_US: Final = 2 * DAY_US  # the month is over for so long: its late events have happened too
MODELS: Final = ("cpm", "cpc", "cpcv")
BIDS: Final = {"cpm": (0.5, 40), "cpc": (0.05, 4), "cpcv": (0.005, 0.2)}
SPENT_UNIT: Final = Decimal("0.0001")
CAMPAIGNS_COUNT: Final = 12
MILLE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Month:
    """From its first moment to the first of the next, UTC."""

    begin_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Price:
    """What holds from the full hour `from_us` on; None is since ever."""

    from_us: int | None
    model: str
    bid: Decimal


@dataclass(frozen=True, slots=True)
class Campaign:
    """One order. `told_late`: the platform writes its row when its ads have been shown already."""

    campaign_id: UUID
    name: str
    prices: tuple[Price, ...]
    """In the order of time, the first of them since ever."""
    budget_total: Decimal | None
    budget_daily: Decimal | None
    told_late: bool

    def price_at(self, hour_us: int) -> Price:
        """What the hour that begins then costs."""
        return [price for price in self.prices if price.from_us is None or price.from_us <= hour_us][-1]

    def cost(self, hour_us: int, *, impressions: int, clicks: int, completions: int) -> Decimal:
        """What an hour's figures cost, exactly."""
        price = self.price_at(hour_us)
        if price.model == "cpm":
            return impressions * price.bid / MILLE
        return (clicks if price.model == "cpc" else completions) * price.bid


def rounded(cost: Decimal) -> Decimal:
    """As it is charged."""
    return cost.quantize(SPENT_UNIT, ROUND_HALF_UP)


def last_long_month(now_us: int) -> Month:
    """The last one with a 31st that has been over for a while."""
    when = datetime.fromtimestamp(now_us / SECOND_US, UTC)
    year, number = when.year, when.month
    while True:
        year, number = (year, number - 1) if number > 1 else (year - 1, 12)
        days = calendar.monthrange(year, number)[1]
        begin_us = epoch_us(datetime(year, number, 1, tzinfo=UTC))
        end_us = begin_us + days * DAY_US
        if days == LONGEST_MONTH_DAYS and end_us + SETTLED_US <= now_us:
            return Month(begin_us, end_us)


def campaigns(seed: int, month: Month) -> tuple[Campaign, ...]:
    """The same for the same seed: every pricing model, prices that change in mid-flight, and one told late."""
    rng = random.Random(f"ads:campaigns:{seed}")
    return tuple(_campaign(rng, number, month) for number in range(CAMPAIGNS_COUNT))


def _campaign(rng: random.Random, number: int, month: Month) -> Campaign:
    model = MODELS[number % len(MODELS)]
    prices = [Price(None, model, _bid(rng, model))]
    hours = (month.end_us - month.begin_us) // HOUR_US
    for hour in sorted(rng.sample(range(1, hours), k=number % 4)):
        model = rng.choice(MODELS) if rng.random() < 0.4 else model
        prices.append(Price(month.begin_us + hour * HOUR_US, model, _bid(rng, model)))
    if number % 2:  # on the stroke of midnight behind the 31st
        prices.append(Price(month.end_us, model, _bid(rng, model)))
    return Campaign(
        UUID(int=rng.getrandbits(128), version=4),
        f"campaign {number}",
        tuple(prices),
        Decimal(rng.randrange(1, 5_000)) if number % 5 else None,
        Decimal(rng.randrange(100, 100_000)) / 100 if number % 3 else None,
        told_late=number == CAMPAIGNS_COUNT - 1,
    )


def _bid(rng: random.Random, model: str) -> Decimal:
    """With four decimals, so that something is there to be rounded."""
    least, most = BIDS[model]
    return Decimal(round(rng.uniform(least, most) * 10_000)) / 10_000
