"""How much a key may send: by one bucket, and by many that share a pool."""

from collections.abc import Callable
from math import floor
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest.keyring import Key
from ingest.rate import IDLE_S, SHARED_S, Rates, Report, Standing


def a_key(rate: int | None = 10, burst: int = 20, bucket: str = "b") -> Key:
    return Key("k", b"", "acme", rate=rate, burst=burst, bucket=bucket)


def sent(rates: Rates, key: Key, events: int, now_s: float) -> int:
    """How many of them were taken."""
    if rates.wait_s(key, now_s):
        return 0
    rates.charge(key, events, now_s)
    return events


def test_a_key_without_a_rate_is_never_told_to_wait() -> None:
    rates = Rates()
    assert sum(sent(rates, a_key(None), 10**9, 0) for _ in range(9)) == 9 * 10**9
    assert rates.reports(0) == []


def test_a_bucket_gives_its_burst_then_its_rate_and_says_how_long_to_wait() -> None:
    rates, key = Rates(), a_key()
    assert [sent(rates, key, 5, 100.0) for _ in range(5)] == [5, 5, 5, 5, 0]
    assert rates.wait_s(key, 100.0) == 0.1
    assert sent(rates, key, 1, 100.11) == 1


def test_a_request_may_take_a_bucket_into_debt_once_and_the_debt_is_paid() -> None:
    rates, key = Rates(), a_key()
    assert sent(rates, key, 1_000, 0.0) == 1_000
    assert rates.wait_s(key, 0.0) == (1 + 980) / 10
    assert sent(rates, key, 1, 97.9) == 0
    assert sent(rates, key, 1, 98.2) == 1


@given(
    st.integers(1, 50),
    st.integers(1, 100),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 40)), min_size=1, max_size=60),
)
def test_whatever_comes_when_a_bucket_alone_gives_no_more_than_rate_and_burst_and_one_request(
    rate: int, burst: int, requests: list[tuple[float, int]]
) -> None:
    rates, key, now_s, taken, largest = Rates(), a_key(rate, burst), 5.0, 0, 0
    for pause_s, events in requests:
        now_s += pause_s
        taken += sent(rates, key, events, now_s)
        largest = max(largest, events)
        assert taken <= burst + rate * (now_s - 5.0) + largest + 1e-6


class Pool:
    """What rate.lua does, in the same words: tests/contract/test_rate_pools.py holds them together."""

    def __init__(self) -> None:
        self.tokens: float | None = None
        self.at_s = 0.0
        self.asked_s: dict[int, float] = {}

    def settle(self, collector: int, report: Report, now_s: float) -> Standing:
        tokens = float(report.burst)
        if self.tokens is not None:
            tokens = min(tokens, self.tokens + (now_s - self.at_s) * report.rate)
        self.asked_s[collector] = now_s
        tokens -= report.spent
        self.tokens, self.at_s = tokens, now_s
        if 1 <= tokens <= report.burst / 2:
            tokens = max(1, tokens / sum(1 for asked_s in self.asked_s.values() if now_s - asked_s < SHARED_S))
        return Standing(report.bucket, floor(tokens))


Step = tuple[float, int, int, str]
STEPS = st.lists(
    st.tuples(
        st.floats(0, 0.3), st.integers(0, 2), st.integers(1, 30), st.sampled_from(["send", "send", "settle", "lost"])
    ),
    max_size=150,
)


def played(rate: int, burst: int, steps: list[Step], collectors: int, check: Callable[[int, float, int], None]) -> None:
    """Sends and settlements of some collectors; `check` gets what was taken, the time, and the largest request."""
    pool, key, now_s, taken, largest = Pool(), a_key(rate, burst), 0.0, 0, 0
    every = [Rates() for _ in range(collectors)]
    for pause_s, number, events, what in steps:
        now_s, rates = now_s + pause_s, every[number % collectors]
        if what == "send":
            taken += sent(rates, key, events, now_s)
            largest = max(largest, events)
        else:
            for report in rates.reports(now_s):
                standing = pool.settle(number % collectors, report, now_s)
                if what == "lost":
                    rates.lost()
                else:
                    rates.told([standing], now_s)
        check(taken, now_s, largest)


@given(st.integers(1, 50), st.integers(1, 100), STEPS)
def test_whatever_becomes_of_the_pool_collectors_never_give_more_than_each_alone(
    rate: int, burst: int, steps: list[Step]
) -> None:
    def check(taken: int, now_s: float, largest: int) -> None:
        assert taken <= 3 * (burst + rate * now_s + largest) + 1e-6

    played(rate, burst, steps, 3, check)


def settled_often(
    rate: int, burst: int, collectors: int, load: Callable[[int], Any], for_s: float
) -> tuple[int, float]:
    """All settle every 200 ms; `load(collector)` events are sent by each every 20 ms. What was taken, and when."""
    pool, key, taken, now_s = Pool(), a_key(rate, burst), 0, 0.0
    every = [Rates() for _ in range(collectors)]
    tick = 0
    while now_s < for_s:
        for number, rates in enumerate(every):
            if (events := load(number)) > 0:
                taken += sent(rates, key, events, now_s)
            if (tick + number) % 10 == 9:
                rates.told([pool.settle(number, report, now_s) for report in rates.reports(now_s)], now_s)
        now_s += 0.02
        tick += 1
    return taken, now_s


def test_two_collectors_that_share_give_rate_and_burst_together_and_all_of_it() -> None:
    taken, until_s = settled_often(1_000, 500, 2, lambda _: 20, 20.0)  # twice the rate
    bound = 500 + 1_000 * until_s
    assert 0.95 * bound <= taken <= bound + 2 * 20, "and what both spent of the first burst is paid back"


def test_a_collector_with_all_the_load_gets_all_the_rate_whoever_else_is_there() -> None:
    taken, until_s = settled_often(1_000, 500, 3, lambda number: 40 if number == 0 else 0, 20.0)
    assert 0.95 * (500 + 1_000 * until_s) <= taken <= 500 + 1_000 * until_s + 40
    taken, until_s = settled_often(1_000, 500, 2, lambda number: 40 if number == 0 else 1, 20.0)
    assert 0.9 * (500 + 1_000 * until_s) <= taken


def test_who_falls_silent_begins_again_with_what_the_pool_may_have_by_then() -> None:
    rates, key = Rates(), a_key(10, 100)
    assert sent(rates, key, 10, 0.0) == 10
    assert rates.reports(0.1) == [Report("b", 10, 100, 10)]
    rates.told([Standing("b", -40)], 0.1)
    assert rates.reports(0.1 + IDLE_S) == []
    assert sent(rates, key, 1, 1.1 + 3.9) == 0, "others have spent it: the debt is paid after four seconds"
    assert sent(rates, key, 1, 1.1 + 4.2) == 1


def test_without_the_pool_for_a_while_a_collector_goes_on_alone() -> None:
    rates, key = Rates(), a_key(10, 100)
    sent(rates, key, 1, 0.0)
    rates.reports(0.1)
    rates.told([Standing("b", 2)], 0.1)
    assert [sent(rates, key, 1, 0.2) for _ in range(4)] == [1, 1, 0, 0]
    rates.reports(0.3)
    rates.lost()
    assert sent(rates, key, 1, 0.1 + SHARED_S) == 0
    assert sent(rates, key, 1, 0.25 + SHARED_S) == 1


def test_what_is_spent_while_the_pool_is_asked_is_reported_the_next_time() -> None:
    rates, key = Rates(), a_key(10, 100)
    sent(rates, key, 10, 0.0)
    rates.reports(0.1)
    sent(rates, key, 7, 0.1)
    rates.told([Standing("b", 50)], 0.11)
    assert rates.reports(0.2) == [Report("b", 10, 100, 7)]
    assert [sent(rates, key, 43, 0.2), sent(rates, key, 1, 0.2)] == [43, 0]


def test_buckets_of_keys_that_are_gone_are_forgotten_and_changed_rates_are_in_force() -> None:
    rates = Rates()
    for bucket in ("a", "b"):
        sent(rates, a_key(bucket=bucket), 1, 0.0)
    rates.reports(0.0)
    rates.keep([a_key(bucket="a")])
    rates.told([Standing("b", 5)], 0.0)
    rates.lost()
    assert [report.bucket for report in rates.reports(0.1)] == ["a"]
    rates.keep([a_key(1, 1, "a")])
    assert sent(rates, a_key(1, 1, "a"), 1, 0.1) == 1 and rates.wait_s(a_key(1, 1, "a"), 0.1) > 0
