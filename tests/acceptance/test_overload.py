"""A crowd of useless clients harms nobody who is of use: the quick form of `./gw overload`."""

from __future__ import annotations

import pytest
import uvloop

from loadtests.overload import CROWDS, QUICK_SECONDS, QUICK_SHARE, Outcome, run, table

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    seen = uvloop.run(run(list(CROWDS), QUICK_SHARE, QUICK_SECONDS))
    print(table(seen))
    return {outcome.name: outcome for outcome in seen}


@pytest.mark.parametrize("burden", CROWDS)
def test_a_good_player_is_never_refused_and_each_of_its_events_is_one_row(
    burden: str, outcomes: dict[str, Outcome]
) -> None:
    outcome = outcomes[burden]
    assert outcome.posts == len(outcome.acknowledged) > 0
    assert not outcome.refused
    assert (outcome.missing, outcome.doubled) == (0, 0)


@pytest.mark.parametrize("burden", CROWDS)
def test_memory_keeps_under_its_mark(burden: str, outcomes: dict[str, Outcome]) -> None:
    assert outcomes[burden].holds, table([outcomes[burden]])
