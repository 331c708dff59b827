"""The comparison of a month of ads with its ledger, figure by figure. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Final
from uuid import UUID

from loadtests.ads.campaign import DAY_US, HOUR_US, Campaign, rounded
from loadtests.ads.figures import FIGURES, Ledger, Run, hour_cost
from loadtests.expectation import Bounds
from loadtests.truth.verdict import Verdict

HOUR: Final = "figure of a campaign and hour"
HOUR_SPENT: Final = "money of a campaign and hour"
CAMPAIGN: Final = "figure of a campaign"
SPENT: Final = "money of a campaign"
REPEATS: Final = "repeats of a campaign"
RATE: Final = "rate of a campaign"
PACE: Final = "pace of a campaign"
TOP: Final = "place among the campaigns of the last day"
FREQUENCY: Final = "impressions of a profile, campaign and day"
IMPRESSION: Final = "row of an impression"
FREQUENCY_ASKED: Final = "frequency of a profile, by the API"
PLAYED: Final = "playback event beside the ads"


def campaign(verdict: Verdict, ledger: Ledger, order: Campaign, said: Mapping[str, Any] | None) -> None:
    """What is said of a whole campaign."""
    if said is None:
        verdict.judge(CAMPAIGN, order.name, "unknown")
        return
    of, name = order.campaign_id, order.name
    total = {figure: ledger.total(of, figure) for figure in FIGURES}
    told = {**total, "implausible": ledger.implausible[of], "tests": ledger.tests[of]}
    for figure, count in told.items():
        verdict.number(CAMPAIGN, f"{figure} of {name}", said[figure], Bounds(count, count))
    verdict.number(REPEATS, name, said["repeats"], ledger.repeats[of])
    spent = rounded(ledger.cost(order))
    _money(verdict, SPENT, f"spent of {name}", said["spent"], spent)
    left = None if order.budget_total is None else order.budget_total - spent
    _money(verdict, SPENT, f"remaining_total of {name}", said["remaining_total"], left)
    # its flight is over: what is spent of the budget is its pace
    pace = ledger.cost(order) / order.budget_total if order.budget_total else None
    wrong = said["pace"] is not None if pace is None else said["pace"] is None or abs(said["pace"] - float(pace)) > 1e-6
    verdict.judge(PACE, order.name, f"{said['pace']}, expected {pace}" if wrong else "")
    for rate, figure in (("click_through_rate", "clicks"), ("completion_rate", "completions")):
        of_all = total[figure] / total["impressions"] if total["impressions"] else None
        wrong = said[rate] != of_all if of_all is None or said[rate] is None else abs(said[rate] - of_all) > 1e-3
        verdict.judge(RATE, f"{rate} of {name}", f"{said[rate]}, expected {of_all}" if wrong else "")


def today(verdict: Verdict, ledger: Ledger, order: Campaign, run: Run, said: Mapping[str, Any] | None) -> None:
    """The money of the day on which everything was received; for a run within one day."""
    if said is None:
        return
    day_us = run.begin_us // DAY_US * DAY_US
    hours = [hour_us for hour_us in ledger.hours[order.campaign_id] if day_us <= hour_us < day_us + DAY_US]
    spent = rounded(ledger.cost(order, hours)) if hours else Decimal(0)
    _money(verdict, SPENT, f"spent_today of {order.name}", said["spent_today"], spent)
    left = None if order.budget_daily is None else order.budget_daily - spent
    _money(verdict, SPENT, f"remaining_daily of {order.name}", said["remaining_daily"], left)


def top(verdict: Verdict, ledger: Ledger, orders: Sequence[Campaign], run: Run, said: Sequence[str]) -> None:
    """Which campaigns are told first: those with most impressions in the hours of the last day, all of them active."""
    since_us = run.end_us - DAY_US
    shown = {
        order.campaign_id: sum(
            hour["impressions"] for at_us, hour in ledger.hours[order.campaign_id].items() if at_us > since_us
        )
        for order in orders
    }
    expected = [str(of) for of in sorted(shown, key=lambda of: (-shown[of], of))]
    for place, (is_there, is_due) in enumerate(zip_longest(said, expected)):
        verdict.judge(TOP, place, "" if is_there == is_due else f"{is_there}, expected {is_due}")


def hours(verdict: Verdict, ledger: Ledger, order: Campaign, run: Run, said: Mapping[int, Mapping[str, Any]]) -> None:
    """What is said of each hour; those of the run taken together."""
    figures: dict[int, Counter[str]] = {}
    spent: Counter[int] = Counter()
    money: dict[int, Decimal] = {}
    for at_us, hour in said.items():
        folded_us = run.folded(at_us, HOUR_US)
        figures.setdefault(folded_us, Counter()).update({figure: hour[figure] for figure in FIGURES})
        money[folded_us] = money.get(folded_us, Decimal(0)) + Decimal(hour["spent"])
        spent[folded_us] += 1
    known = ledger.hours[order.campaign_id]
    for hour_us in figures.keys() | known.keys():
        expected, seen = known.get(hour_us, Counter()), figures.get(hour_us, Counter())
        where = f"{order.name} at {hour_us}"
        for figure in FIGURES:
            verdict.number(HOUR, f"{figure} of {where}", seen[figure], Bounds(expected[figure], expected[figure]))
        cost = rounded(hour_cost(order, hour_us, expected))
        if spent[hour_us] <= 1:  # of several hours, each is rounded by itself
            _money(verdict, HOUR_SPENT, where, money.get(hour_us, Decimal(0)), cost)


def frequencies(verdict: Verdict, ledger: Ledger, run: Run, said: Mapping[tuple[UUID, UUID, int], int]) -> None:
    """How often each profile saw each campaign on each day."""
    seen: Counter[tuple[UUID, UUID, int]] = Counter()
    for (of, profile, day_us), count in said.items():
        seen[of, profile, run.folded(day_us, DAY_US)] += count
    for key in seen.keys() | ledger.frequencies.keys():
        count = ledger.frequencies[key]
        verdict.number(FREQUENCY, key, seen[key], Bounds(count, count))


def impressions(verdict: Verdict, ledger: Ledger, rows: Iterable[Mapping[str, Any]]) -> None:
    """One row an impression, and its marks."""
    seen = {row["impression_id"]: row for row in rows}
    for of in seen.keys() | ledger.impressions.keys():
        known, row = ledger.impressions.get(of), seen.get(of)
        if known is None or row is None:
            verdict.judge(IMPRESSION, of, "no row" if row is None else "nobody showed it")
            continue
        said = (row["events"], row["test"], row["implausible"])
        expected = (len(known.times), known.test, known.implausible)
        wrong = "" if said == expected and known.repeats.hold(row["repeats"]) else f"{row}, expected {expected}"
        verdict.judge(IMPRESSION, of, wrong)


def played(verdict: Verdict, expected: set[str], said: list[str]) -> None:
    """Every playback event once."""
    seen = Counter(said)
    for event in seen.keys() | expected:
        wrong = "" if seen[event] == (event in expected) else f"{seen[event]} rows"
        verdict.judge(PLAYED, event, wrong)


def _money(verdict: Verdict, kind: str, what: str, said: str | Decimal | None, expected: Decimal | None) -> None:
    """Decimal strings; to the last of their decimals."""
    same = said is None if expected is None else said is not None and Decimal(said) == expected
    verdict.judge(kind, what, "" if same else f"{said}, expected {expected}")
