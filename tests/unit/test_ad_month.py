"""The seeded month of ads and its ledger: what is sent, and which figures that promises."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Final
from uuid import UUID

import pytest

from loadtests.ads.campaign import HOUR_US, SECOND_US, Campaign, Month, Price, campaigns, last_long_month, rounded
from loadtests.ads.figures import Run, Span, Unclear, hour_cost, is_implausible, ledger
from loadtests.ads.posting import Sent, Try
from loadtests.ads.request import Copy, Request, requests
from loadtests.ads.showing import AdEvent, Showing, showing
from loadtests.expectation import Bounds
from loadtests.ledger import epoch_us

BEGIN_US: Final = epoch_us("2026-10-01T00:00:00Z")
END_US: Final = epoch_us("2026-11-01T00:00:00Z")
MONTH: Final = Month(BEGIN_US, END_US)
NOW_US: Final = epoch_us("2026-11-26T20:45:00Z")
RUN: Final = Run(NOW_US, NOW_US + 60 * SECOND_US)
ORDER: Final = UUID(int=1)
PROFILE: Final = UUID(int=2)
SHOWN: Final = UUID(int=3)
KEPT: Final = Try(NOW_US, NOW_US + 5_000, acknowledged=True)


def told(event: str, at_us: int, *tries: Try, door: str = "json", **more: object) -> Sent:
    """One event by itself, acknowledged at once unless told otherwise."""
    one = AdEvent(SHOWN, event, at_us, campaign_id=ORDER, profile_id=PROFILE, **more)  # type: ignore[arg-type]
    return Sent(Request((Copy(one, door, crawler=False),), "a browser"), list(tries) or [KEPT])


@pytest.fixture(scope="module")
def shown() -> list[Showing]:
    orders = campaigns(1, MONTH)
    return [showing(1, number, orders, MONTH, NOW_US) for number in range(2_000)]


def test_a_seed_is_one_month_and_another_seed_another(shown: list[Showing]) -> None:
    orders = campaigns(1, MONTH)
    assert [showing(1, number, orders, MONTH, NOW_US) for number in range(2_000)] == shown
    assert requests(1, shown) == requests(1, shown)
    assert showing(2, 0, orders, MONTH, NOW_US) != shown[0]
    assert campaigns(2, MONTH) != orders


def test_everything_that_was_fired_is_sent_and_some_of_it_twice(shown: list[Showing]) -> None:
    begun, late = requests(1, shown)
    fired = Counter(event for one in shown for event in one.events)
    sent = Counter(copy.event for request in [*begun, *late] for copy in request.copies)
    assert sent.keys() == fired.keys()
    assert all(sent[event] >= times for event, times in fired.items())
    assert fired.total() * 1.03 < sent.total() < fired.total() * 1.2
    assert all(request.target is None for request in late), "a pixel's own time is believed for minutes alone"
    assert any(request.refused for request in begun)


def test_the_month_has_all_that_makes_campaigns_hard(shown: list[Showing]) -> None:
    posted = [one.events for one in shown if one.door == "json"]
    over_midnight = [events for events in posted if events[0].at_us < END_US <= events[-1].at_us]
    assert len(over_midnight) > 20
    assert sum(one.crawler for one in shown) > 20
    assert sum(one.events[0].test for one in shown) > 20
    assert sum(one.skew_us != 0 for one in shown) > 50
    assert sum(not one.timed for one in shown) > 50
    assert {one.door for one in shown} == {"pixel", "json"}
    book = [Sent(request, [KEPT]) for part in requests(1, shown) for request in part]
    made = ledger(book, RUN)
    assert made.implausible.total() > 10
    assert made.events == len({event.identity for one in shown for event in one.events})
    prices = [len(order.prices) for order in campaigns(1, MONTH)]
    assert max(prices) >= 4
    assert {price.model for order in campaigns(1, MONTH) for price in order.prices} == {"cpm", "cpc", "cpcv"}


def test_a_figure_is_in_the_hour_of_its_earliest_time() -> None:
    late_us, early_us = END_US + 2 * SECOND_US, END_US - 3 * SECOND_US
    made = ledger([told("midpoint", late_us), told("midpoint", early_us), told("impression", early_us)], RUN)
    hour_us = END_US - HOUR_US
    assert made.hours[ORDER] == {hour_us: Counter(midpoints=1, impressions=1)}
    assert made.repeats[ORDER] == Bounds(1, 1)
    assert made.frequencies == {(ORDER, PROFILE, END_US - 24 * HOUR_US): 1}


def test_a_try_without_answer_may_have_been_kept_and_is_a_repeat_then() -> None:
    cut = Try(NOW_US - SECOND_US, NOW_US, acknowledged=False)
    made = ledger([told("start", END_US, cut, KEPT)], RUN)
    assert made.repeats[ORDER] == Bounds(0, 1)
    assert made.hours[ORDER][END_US]["starts"] == 1


def test_of_a_request_that_says_the_same_twice_one_is_kept_and_an_earlier_time_is_a_repeat() -> None:
    copies = [told("click", END_US + at_s * SECOND_US).request.copies[0] for at_s in (4, 4, 3)]
    made = ledger([Sent(Request(tuple(copies), "a browser"), [KEPT])], RUN)
    assert made.repeats[ORDER] == Bounds(1, 1)
    assert made.impressions[SHOWN].at("click") == Span(END_US + 3 * SECOND_US, END_US + 3 * SECOND_US)


def test_what_is_told_late_of_an_ad_counts_from_its_begin() -> None:
    nameless = AdEvent(SHOWN, "impression", END_US)
    book = [Sent(Request((Copy(nameless, "json", crawler=False),), "a browser"), [KEPT])]
    assert not ledger(book, RUN).hours
    assert ledger([*book, told("complete", END_US + 9 * SECOND_US)], RUN).total(ORDER, "impressions") == 1


def test_tests_and_the_implausible_are_in_no_figure_but_their_own() -> None:
    at_once = [told("start", END_US), told("complete", END_US + SECOND_US - 1_000), told("start", END_US)]
    made = ledger(at_once, RUN)
    assert (made.implausible[ORDER], made.tests[ORDER], made.repeats[ORDER]) == (1, 0, Bounds(0, 0))
    assert not made.hours
    made = ledger([*at_once, told("mute", END_US, test=True)], RUN)
    assert (made.implausible[ORDER], made.tests[ORDER]) == (0, 1)


@pytest.mark.parametrize(
    ("times_s", "duration_s", "implausible"),
    [
        ((0, 1, 8, 15, 23, 31), 30, False),
        ((0, 1, None, None, None, 15), 30, False),  # half of it less a second: 14 s
        ((0, 1, None, None, None, 14.999), 30, True),
        ((0, 1, None, None, None, 2), None, False),
        ((0, 1, None, None, None, 1.999), None, True),
        ((5, 0, None, None, None, None), None, False),
        ((5.001, 0, None, None, None, None), None, True),
        ((None, 0, 30, None, 24.999, None), None, True),
        ((None, None, None, None, None, 3), 30, False),
    ],
)
def test_what_no_ad_can_have_had_is_implausible(
    times_s: tuple[float | None, ...], duration_s: int | None, implausible: bool
) -> None:
    times_us = [None if at_s is None else END_US + round(at_s * SECOND_US) for at_s in times_s]
    assert is_implausible(times_us, duration_s) is implausible


def test_an_hour_costs_what_its_price_was_when_it_began() -> None:
    prices = (
        Price(None, "cpm", Decimal("2.5175")),
        Price(END_US, "cpc", Decimal("0.3333")),
        Price(END_US + HOUR_US, "cpcv", Decimal("0.0125")),
    )
    order = Campaign(ORDER, "one", prices, None, None, told_late=False)
    figures = Counter(impressions=3, clicks=2, completions=1)
    costs = [hour_cost(order, END_US + hours * HOUR_US, figures) for hours in (-1, 0, 1, 2)]
    assert costs == [Decimal("0.0075525"), Decimal("0.6666"), Decimal("0.0125"), Decimal("0.0125")]
    assert rounded(sum(costs, Decimal(0))) == Decimal("0.6992"), "rounded at the end alone"
    assert rounded(Decimal("0.00005")) == Decimal("0.0001")


def test_hours_of_the_run_are_one_and_another_time_that_is_unclear_is_said_to_be() -> None:
    run = Run(NOW_US, NOW_US + HOUR_US)
    begin_us = NOW_US // HOUR_US * HOUR_US
    assert run.hour_of(Span(NOW_US, NOW_US + HOUR_US)) == begin_us
    with pytest.raises(Unclear):
        run.hour_of(Span(END_US - 1, END_US))
    with pytest.raises(Unclear):
        ledger([told("start", NOW_US - 301 * SECOND_US, door="pixel")], RUN)


def test_the_month_has_a_31st_and_is_over() -> None:
    assert last_long_month(NOW_US) == MONTH
    assert last_long_month(epoch_us("2026-03-01T00:00:00Z")).begin_us == epoch_us("2026-01-01T00:00:00Z")
    assert last_long_month(epoch_us("2026-01-02T00:00:00Z")).begin_us == epoch_us("2025-10-01T00:00:00Z")
