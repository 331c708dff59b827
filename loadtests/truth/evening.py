"""A crowd's sessions and the requests they come in, as pure functions of a seed and a moment.

Told from behind: everything has happened when it is posted, so thirty hours with their midnights and full hours take
as long as the gateway takes. The events are those of `viewing`, in shorter sessions; profiles come back, on other
devices and for the same content.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from loadtests.catalogue import content_for
from loadtests.viewing import Player, Viewing, some_player

PAST_MS: Final = 30 * 3_600_000  # two midnights wherever it begins
NOW_MS: Final = 120_000  # how long ago those who still watch began, at most
FILM_LOG_S: Final = 3.6  # of the median session: 37 s, and a tenth of them longer than two minutes
EVENTS_A_REQUEST: Final = (1, 1, 2, 5, 20, 100)
PROFILES_A_SESSION: Final = 0.4  # so most profiles come twice or more


@dataclass(frozen=True, slots=True)
class Request:
    """Events of one session that are posted together, the player's clock, and whether it has to say `sent_at`."""

    events: tuple[dict[str, Any], ...]
    skew_ms: int
    needs_sent_at: bool


def profile(seed: int, number: int) -> UUID:
    """Profile `number` of the crowd."""
    return UUID(int=random.Random(f"profile:{seed}:{number}").getrandbits(128), version=4)


def profiles_count(sessions: int) -> int:
    """How many profiles a crowd of so many sessions has."""
    return max(1, int(sessions * PROFILES_A_SESSION))


def past(seed: int, sessions: int, now_ms: int) -> Iterator[Viewing]:
    """Sessions that began in the last PAST_MS and have nothing more to say after `now_ms`."""
    for index in range(sessions):
        rng = random.Random(f"truth:past:{seed}:{index}:{now_ms}")
        yield _session(rng, seed, sessions, now_ms - NOW_MS - rng.randrange(PAST_MS), now_ms)


def watching(seed: int, sessions: int, now_ms: int, profiles_of: int) -> Iterator[Viewing]:
    """Sessions of the last NOW_MS, most of which still watch at `now_ms`: what they would say later is not there."""
    for index in range(sessions):
        rng = random.Random(f"truth:now:{seed}:{index}:{now_ms}")
        yield _session(rng, seed, profiles_of, now_ms - rng.randrange(NOW_MS), now_ms)


def requests(seed: int, viewings: Sequence[Viewing]) -> list[Request]:
    """The viewings cut into requests, all of them in an order that has nothing to do with when things happened."""
    told = [([step.event for step in one.steps], one.skew_ms, one.needs_sent_at) for one in viewings]
    return _shuffled(random.Random(f"truth:order:{seed}"), told)


def requests_of(seed: int, sessions: Sequence[list[dict[str, Any]]]) -> list[Request]:
    """The same for events of sessions whose clock is right."""
    return _shuffled(random.Random(f"truth:order:{seed}"), [(events, 0, False) for events in sessions])


def _shuffled(rng: random.Random, told: Iterable[tuple[list[dict[str, Any]], int, bool]]) -> list[Request]:
    cut = []
    for events, skew_ms, needs_sent_at in told:
        at = 0
        while at < len(events):
            size = rng.choice(EVENTS_A_REQUEST)
            cut.append(Request(tuple(events[at : at + size]), skew_ms, needs_sent_at))
            at += size
    rng.shuffle(cut)
    return cut


def _session(rng: random.Random, seed: int, sessions: int, start_ms: int, now_ms: int) -> Viewing:
    player = some_player(rng, content_for(seed, rng.random()), start_ms, 1.0)
    if "profile_id" in player.fixed:
        player.fixed["profile_id"] = str(profile(seed, rng.randrange(profiles_count(sessions))))
    _tell(player, (now_ms - start_ms) / 1_000)
    player.steps = [step for step in player.steps if step.due_ms <= now_ms]
    return player.told()


def _tell(player: Player, most_s: float) -> None:
    """As `viewing` tells it, in a session that is some heartbeats long; beyond `most_s` of it nothing is needed."""
    rng = player.rng
    if rng.random() < 0.5:
        player.position_s = rng.uniform(0, player.content.duration_s or 7_200)  # goes on where it was
    startup_s = rng.lognormvariate(0, 0.6)
    player.wall_s = startup_s
    if rng.random() < 0.02:
        player.say("error", error_code="manifestLoadError")
        return
    player.say("play", startup_ms=int(startup_s * 1000))
    left_s = rng.lognormvariate(FILM_LOG_S, 1.0)
    while left_s > 0 and player.wall_s < most_s:
        stretch_s = min(left_s, rng.expovariate(1 / 40))
        player.watch(stretch_s)
        left_s -= stretch_s
        if left_s > 0 and not player.interrupt():
            return
    if player.content.duration_s is not None and player.position_s >= 0.95 * player.content.duration_s:
        player.position_s = float(player.content.duration_s)
        player.say("completed")
    elif rng.random() < 0.9:
        player.say("stop")
