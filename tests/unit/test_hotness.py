"""Hourly counts of views, read a part at a time, and what two who count differ by."""

import random

import pytest

from storage.hotness import ENTRIES_MAX, HourlyViews, Views, difference

HOUR = 500_000
WINDOW = 720


def test_windows_end_with_the_running_hour_and_hold_whole_hours() -> None:
    hourly = HourlyViews()
    ages = (0, 1, 23, 24, 167, 168, 719, 720)
    hourly.take({HOUR - age: {"a": 1} for age in ages} | {HOUR + 1: {"a": 100}, HOUR - 30: {"b": 7}})
    assert hourly.views(HOUR) == {"a": Views(3, 5, 7), "b": Views(0, 7, 7)}


def test_everything_is_read_before_anything_is_said_and_then_the_newest_hours_always() -> None:
    hourly = HourlyViews()
    assert hourly.due(HOUR) == list(range(HOUR - WINDOW + 1, HOUR + 1))
    hourly.take({at: {str(number): 1 for number in range(1_000)} for at in hourly.due(HOUR)})
    due = hourly.due(HOUR)
    assert {HOUR, HOUR - 1} <= set(due)
    assert 150 <= len(due) <= ENTRIES_MAX // 1_000 + 2
    assert HOUR + 1 in hourly.due(HOUR + 1)


def test_of_a_small_catalogue_every_hour_is_read_each_time_of_a_large_one_all_come_round() -> None:
    small, large = HourlyViews(), HourlyViews()
    small.take({at: {"a": 1} for at in small.due(HOUR)})
    assert len(small.due(HOUR)) == WINDOW
    contents = {str(number): 1 for number in range(20_000)}
    large.take(dict.fromkeys(large.due(HOUR), contents))
    seen: set[int] = set()
    for _ in range(90):
        due = large.due(HOUR)
        assert len(due) <= 12
        seen |= set(due)
    assert seen == set(range(HOUR - WINDOW + 1, HOUR + 1))


def test_hours_that_have_left_the_window_are_forgotten_and_counts_begun_anew_are_read_anew() -> None:
    hourly = HourlyViews()
    hourly.take({HOUR: {"a": 5}})
    hourly.due(HOUR + WINDOW)
    assert hourly.views(HOUR) == {}
    hourly.take({HOUR: {"a": 5}})
    hourly.forget()
    assert hourly.views(HOUR) == {}


@pytest.mark.parametrize(
    ("ours", "others", "apart"),
    [({}, {}, 0.0), ({"a": 4}, {"a": 4}, 0.0), ({"a": 4}, {}, 1.0), ({"a": 99}, {"a": 100}, 0.01)],
)
def test_a_difference_is_a_share_of_all_that_is_counted(
    ours: dict[str, int], others: dict[str, int], apart: float
) -> None:
    assert difference(ours, others) == pytest.approx(apart)
    assert difference(others, ours) == pytest.approx(apart)


def test_any_division_into_reads_gives_the_same_sums() -> None:
    rng = random.Random(3)
    true = {HOUR - age: {str(n): rng.randrange(1, 9) for n in range(rng.randrange(4))} for age in range(WINDOW)}
    whole, parts = HourlyViews(), HourlyViews()
    whole.take(true)
    due = parts.due(HOUR)
    while due:
        part, due = due[:37], due[37:]
        parts.take({at: true[at] for at in part})
    assert parts.views(HOUR) == whole.views(HOUR)
