"""What campaigns reached and cost, by their hours, which the merge of ad events moves."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from live.source import EPOCH, time_text
from live.tables import Tables
from storage.postgres.campaigns import STATEMENTS

Row = dict[str, Any]

FIGURES: Final = (
    "impressions", "starts", "first_quartiles", "midpoints", "third_quartiles", "completions", "clicks", "skips",
    "errors", "viewables", "repeats", "implausible", "tests",
)  # fmt: skip
CENTS: Final = Decimal("0.0001")
"""What sums are rounded to, as `ad_campaigns.spent` is."""
NOTHING: Final = Decimal(0)
HOURS_MAX: Final = 744
"""Told at once: a month."""


class Hours(NamedTuple):
    """Of one campaign, from the oldest on."""

    hours: list[Row]
    """Those with a figure."""
    next: str | None
    """The one that did not fit in any more."""


async def of(tables: Tables, campaign: UUID, profile: UUID | None = None) -> Row | None:
    """One campaign, None where there is none; with how often `profile` has seen it. Raises Unavailable."""
    rows = await tables.fetch(STATEMENTS["campaigns"], [campaign])
    if not rows:
        return None
    told = _told(rows[0])
    if profile is not None:
        (frequency,) = await tables.fetch(STATEMENTS["frequency"], campaign, profile)
        told["frequency"] = dict(frequency)
    return told


async def busiest(tables: Tables, top: int) -> list[Row]:
    """Those with most impressions in the last 24 hours. Raises Unavailable."""
    campaigns = [row["id"] for row in await tables.fetch(STATEMENTS["busiest"], top)]
    return [_told(row) for row in await tables.fetch(STATEMENTS["campaigns"], campaigns)] if campaigns else []


async def hours(tables: Tables, campaign: UUID, begin: datetime, end: datetime) -> Hours | None:
    """The hours of one campaign that begin at `begin` or later and before `end`; None where there is no such campaign.
    Raises Unavailable."""
    rows = await tables.fetch(STATEMENTS["hours"], campaign, begin, end, HOURS_MAX + 1)
    if not rows:
        return None
    told = [
        {"hour": _time(row["hour"]), **{name: row[name] for name in FIGURES}, "spent": _money(row["spent"] or NOTHING)}
        for row in rows
        if row["hour"] is not None
    ]
    return Hours(told[:HOURS_MAX], told[HOURS_MAX]["hour"] if len(told) > HOURS_MAX else None)


def pace(
    spent: Decimal, budget: Decimal | None, begin: datetime | None, end: datetime | None, now: datetime
) -> float | None:
    """The share of the budget that is spent, by the share of the flight that has passed: 1 is on schedule, above it
    ahead. None without a budget, without a beginning or an end, and before the beginning. Pure."""
    if not budget or begin is None or end is None or now <= begin:
        return None
    passed = min(1.0, (now - begin) / (end - begin))
    return round(float(spent / budget) / passed, 6)


def share(part: int, whole: int) -> float | None:
    """Of 1; None of nothing. Pure."""
    return round(part / whole, 6) if whole else None


def _told(row: Any) -> Row:
    figures = {name: row[name] or 0 for name in FIGURES}
    spent, spent_today = row["spent"] or NOTHING, row["spent_today"] or NOTHING
    total, daily = row["budget_total"], row["budget_daily"]
    return {
        "campaign_id": str(row["id"]),
        "name": row["name"],
        "status": row["status"],
        "as_of": _time(row["as_of"]),
        "currency": row["currency"],
        "pricing_model": row["pricing_model"],
        "bid_amount": _money(row["bid_amount"]),
        **figures,
        "click_through_rate": share(figures["clicks"], figures["impressions"]),
        "completion_rate": share(figures["completions"], figures["impressions"]),
        "spent": _money(spent),
        "spent_today": _money(spent_today),
        "budget_total": None if total is None else str(total),
        "budget_daily": None if daily is None else str(daily),
        "remaining_total": None if total is None else _money(total - spent),
        "remaining_daily": None if daily is None else _money(daily - spent_today),
        "pace": pace(spent, total, row["starts_at"], row["ends_at"], row["as_of"]),
    }


def _money(amount: Decimal) -> str:
    return f"{amount.quantize(CENTS, ROUND_HALF_UP):f}"


def _time(at: datetime) -> str:
    return time_text(round((at.astimezone(UTC) - EPOCH).total_seconds() * 1e6))
