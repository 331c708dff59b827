"""One seeded viewing of a live final as a pure function: everybody watches one content, and does the same at once.

A viewer comes before the kick-off (or late), watches with a heartbeat every ten seconds of film and what the network
does to it, pauses within a second of half-time, comes back before the second half or a little late, and goes within a
minute of the end, most with a `stop`, some without a word. The events are those of `viewing`, its faults too; nobody
is offline.
"""

from __future__ import annotations

import random
from typing import Final
from uuid import UUID

from loadtests.catalogue import Content
from loadtests.models import Match
from loadtests.viewing import Player, Viewing, some_player

PAUSE_WITHIN_S: Final = 1.0
BACK_SHARE: Final = 0.5  # of half-time: its last half is when people come back
LATE_BACK_SHARE: Final = 0.2  # of half-time: for so long after it some still come back
SILENT_SHARE: Final = 0.05
STRETCH_S: Final = 120.0  # seconds of film between two things that happen, on average
STALL_SHARE: Final = 0.4  # of these; the others are changes of quality


def live_content(seed: int) -> Content:
    """The channel that shows the final; the same for all of one crowd."""
    return Content(UUID(int=random.Random(f"final:{seed}").getrandbits(128), version=4), duration_s=None)


def live_viewing(seed: int, index: int, start_ms: int, match: Match, begun_ms: int, pace: float = 1.0) -> Viewing:
    """What viewer `index` of the crowd `seed` hands over who comes at `start_ms`; the run of the `match` began at
    `begun_ms` (epoch ms, true time). `pace` is seconds of film per second: it makes heartbeats come closer, and nothing
    else, the match's moments are those of the clock. Nothing is said by who comes after the end.
    """
    rng = random.Random(f"final:{seed}:{index}:{start_ms}")
    player = some_player(rng, live_content(seed), start_ms, pace, late_share=0.0)
    came_s = (start_ms - begun_ms) / 1000

    def film_s(at_s: float) -> float:
        """A moment of the run as the player counts: in seconds of film since it came."""
        return (at_s - came_s) * pace

    goes_s = match.end_s + rng.uniform(0, match.crowding_s)
    pauses_s = match.half_time_s + rng.uniform(0, PAUSE_WITHIN_S)
    pause_s = match.second_half_s - match.half_time_s
    back_s = match.second_half_s + pause_s * rng.uniform(-BACK_SHARE, LATE_BACK_SHARE)
    if came_s >= match.end_s:
        return player.told()
    startup_s = rng.lognormvariate(0, 0.6)
    player.wall_s = startup_s
    player.say("play", startup_ms=int(startup_s * 1000))
    if came_s < match.half_time_s:
        _watch_until(player, film_s(pauses_s))
        player.say("pause")
        player.wall_s = max(player.wall_s, film_s(back_s))
        player.say("play")  # a resume: not another view
    _watch_until(player, film_s(goes_s))
    if rng.random() >= SILENT_SHARE:
        player.say("stop")
    return player.told()


def _watch_until(player: Player, film_s: float) -> None:
    """Watch, with what the network does meanwhile, until that much film has passed."""
    rng = player.rng
    while (left_s := film_s - player.wall_s) > 0:
        player.watch(min(left_s, rng.expovariate(1 / STRETCH_S)))
        if (left_s := film_s - player.wall_s) <= 0:
            return
        if rng.random() < STALL_SHARE:
            player.stall(left_s)
        else:
            player.change_quality()
