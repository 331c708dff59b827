"""One seeded viewing as a pure function: (seed, index, start time) → what that player hands over, and when.

The events carry exactly the names of DESIGN §3. A viewing is not only the happy one: some players have no profile,
some send no `event_id` (then `sequence` is there and makes the identity), some clocks are broken (1970, 2038, two days
ahead, twenty minutes ahead; `sent_at` is as broken as `occurred_at`), some were offline and send hours later, some
send an event a second time, some beacons never leave, and a few values do not fit their column.

Two times run through a viewing: *true* time, in which the crowd acts, and the viewer's *clock*, which the events show.
`pace` compresses both: at pace 20 an hour of film passes in three minutes and `occurred_at` stays near now, while
`position` still counts seconds of film.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID

from loadtests.catalogue import COUNTRIES, DEVICES, EDGES, ERROR_CODES, LADDER, Content, content_for

HEARTBEAT_S: Final = 10

BROKEN_CLOCK_SHARE: Final = 0.05
LATE_SHARE: Final = 0.04
NO_EVENT_ID_SHARE: Final = 0.08
NO_PROFILE_SHARE: Final = 0.15
TEST_SHARE: Final = 0.015
RESENT_SHARE: Final = 0.02
NEVER_SENT_SHARE: Final = 0.005
BAD_VALUE_SHARE: Final = 0.003

LATE_MAX_S: Final = 9 * 86_400  # offline players keep 14 days; the door takes 35
RESEND_AFTER_MAX_S: Final = 30
INT32_MAX: Final = 2**31 - 1

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_2038_MS: Final = 2_147_483_647_000

WireEvent = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One event and the moment of true time (epoch ms) from which the player has it to send."""

    due_ms: int
    event: WireEvent


@dataclass(frozen=True, slots=True)
class Viewing:
    """What one player does: its steps in the order of `due_ms`, and what its clock shows beside the true one.

    `skew_ms` is added to the true time for `sent_at`, as it already was for every `occurred_at`. `needs_sent_at` is
    true for a broken clock: without `sent_at` nobody could tell, so such a player sends the envelope only.
    """

    session_id: UUID
    content_id: UUID
    skew_ms: int
    needs_sent_at: bool
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Player:
    """The state of one player while its viewing is being told."""

    rng: random.Random
    fixed: WireEvent
    content: Content
    start_ms: int
    late_ms: int
    skew_ms: int
    pace: float
    time_form: str
    with_event_id: bool
    whole_seconds: bool
    sequence: int = 0
    wall_s: float = 0.0
    position_s: float = 0.0
    rung: int = 2
    steps: list[Step] = field(default_factory=list)

    def say(self, event_type: str, ago_s: float = 0.0, **more: object) -> None:
        """Make the event of this moment, or of `ago_s` before it, and put it among the steps, once, twice or (a lost
        beacon) not at all.
        """
        rng = self.rng
        quality, bitrate_kbps = LADDER[self.rung]
        true_ms = self.start_ms + int(self.wall_s * 1000 / self.pace)
        ago_ms = int(ago_s * 1000 / self.pace)
        event: WireEvent = {
            "event_type": event_type,
            **self.fixed,
            "sequence": self.sequence,
            "occurred_at": wire_time(true_ms - ago_ms - self.late_ms + self.skew_ms, self.time_form),
            "position": int(self.position_s) if self.whole_seconds else round(self.position_s, 3),
            "quality": quality,
            "bitrate": bitrate_kbps,
            **more,
        }
        if self.with_event_id:
            event["event_id"] = str(_uuid(rng))
        if self.content.duration_s is not None:
            event["duration"] = self.content.duration_s
        self.sequence += 1
        chance = rng.random()
        if chance < NEVER_SENT_SHARE:
            return
        if chance < NEVER_SENT_SHARE + BAD_VALUE_SHARE:
            event["bitrate"] = INT32_MAX + 1
        self.steps.append(Step(true_ms, event))
        if rng.random() < RESENT_SHARE:
            again_s = rng.uniform(0, RESEND_AFTER_MAX_S)
            self.steps.append(Step(true_ms + int(again_s * 1000 / self.pace), event))

    def watch(self, seconds: float) -> None:
        """Let `seconds` of film pass, with a heartbeat every ten."""
        while seconds > 0:
            step_s = min(seconds, HEARTBEAT_S)
            self.wall_s += step_s
            self.position_s = min(self.position_s + step_s, self.content.duration_s or INT32_MAX)
            seconds -= step_s
            if step_s == HEARTBEAT_S:
                self.say("heartbeat")

    def stall(self, most_s: float = math.inf) -> None:
        """Wait for the network, `most_s` seconds of film at most."""
        stall_s = min(most_s, self.rng.expovariate(1 / 2.5))
        self.wall_s += stall_s
        self.say("buffering", ago_s=stall_s, buffer_duration=int(stall_s * 1000))

    def change_quality(self) -> None:
        """One rung up or down."""
        self.rung = max(0, min(len(LADDER) - 1, self.rung + self.rng.choice((-1, 1))))
        reason = self.rng.choice(("bandwidth", "viewport", "zuschauerwunsch äöü"))
        self.say("quality_change", metadata={"reason": reason})

    def interrupt(self) -> bool:
        """One thing that happens to a viewer; False when it ends the viewing."""
        rng = self.rng
        what = rng.choices(("pause", "seek", "buffering", "quality", "error", "fatal"), (30, 25, 20, 30, 4, 1))[0]
        if what == "pause":
            self.say("pause")
            self.wall_s += rng.uniform(2, 90)
            self.say("play")  # a resume: the same (session, content), so not another view
        elif what == "seek":
            end_s = self.content.duration_s or int(self.position_s) + 1
            self.position_s = rng.uniform(0, end_s)
            self.wall_s += 0.4
            self.say("seek")
        elif what == "buffering":
            self.stall()
        elif what == "quality":
            self.change_quality()
        else:
            self.say("error", error_code=rng.choice(ERROR_CODES))
        return what != "fatal"

    def told(self) -> Viewing:
        """All that was said so far."""
        return Viewing(
            UUID(self.fixed["session_id"]),
            self.content.content_id,
            self.skew_ms,
            needs_sent_at=self.skew_ms != 0,
            steps=tuple(sorted(self.steps, key=lambda step: step.due_ms)),
        )


def viewing(seed: int, index: int, start_ms: int, pace: float = 1.0) -> Viewing:
    """The viewing number `index` of the crowd `seed`, begun at `start_ms` (epoch ms, true time).

    The same arguments give the same viewing, ids included; another start time gives other ids, so that a crowd played
    twice against one store is two crowds. `pace` ≥ 1 is seconds of film per second of wall time.
    """
    rng = random.Random(f"viewing:{seed}:{index}:{start_ms}")
    player = some_player(rng, content_for(seed, rng.random()), start_ms, pace)
    _tell(player)
    return player.told()


def some_player(
    rng: random.Random, content: Content, start_ms: int, pace: float, late_share: float = LATE_SHARE
) -> Player:
    """Somebody who begins to watch `content` at `start_ms`, with a device, habits and a clock by chance.

    `late_share` of the players with a right clock are offline, and send hours or days later.
    """
    assert pace > 0
    skew_ms = _skew_ms(rng, start_ms)
    late = skew_ms == 0 and rng.random() < late_share
    device = rng.choice(DEVICES)
    fixed: WireEvent = {
        "session_id": str(_uuid(rng)),
        "content_id": str(content.content_id),
        "device_type": device.device_type,
        "platform": device.platform,
        "player": device.player,
        "app_version": device.app_version,
        "cdn_edge": rng.choice(EDGES),
        "country": rng.choice(COUNTRIES),
    }
    if rng.random() >= NO_PROFILE_SHARE:
        fixed["profile_id"] = str(_uuid(rng))
    if rng.random() < TEST_SHARE:
        fixed["test"] = True
    return Player(
        rng=rng,
        fixed=fixed,
        content=content,
        start_ms=start_ms,
        late_ms=rng.randrange(600_000, LATE_MAX_S * 1000) if late else 0,
        skew_ms=skew_ms,
        pace=pace,
        time_form=rng.choices(("utc", "epoch_ms", "offset", "micro"), (50, 30, 10, 10))[0],
        with_event_id=rng.random() >= NO_EVENT_ID_SHARE,
        whole_seconds=rng.random() < 0.5,
        rung=rng.randrange(len(LADDER)),
    )


def _tell(player: Player) -> None:
    """Play the viewing through: startup, watching with interruptions, an end (or silence: the app was killed)."""
    rng = player.rng
    startup_s = rng.lognormvariate(0, 0.6)
    player.wall_s = startup_s
    if rng.random() < 0.02:
        player.say("error", error_code=rng.choice(ERROR_CODES))  # a start failure: no play, so not a view
        return
    player.say("play", startup_ms=int(startup_s * 1000))
    duration_s = player.content.duration_s or 7_200
    left_s = min(duration_s, rng.uniform(3, 60) if rng.random() < 0.2 else rng.lognormvariate(6.2, 1.0))
    while left_s > 0:
        stretch_s = min(left_s, rng.expovariate(1 / 120))
        player.watch(stretch_s)
        left_s -= stretch_s
        if left_s > 0 and not player.interrupt():
            return
    chance = rng.random()
    if player.content.duration_s is not None and player.position_s >= 0.95 * player.content.duration_s:
        player.position_s = float(player.content.duration_s)
        player.say("completed")
    elif chance < 0.9:
        player.say("stop")


def _skew_ms(rng: random.Random, start_ms: int) -> int:
    """How far a viewer's clock is off: 0 for most; the others stand at 1970, at 2038, or are ahead or behind."""
    if rng.random() >= BROKEN_CLOCK_SHARE:
        return 0
    kind = rng.choice(("1970", "2038", "two_days_ahead", "twenty_minutes_ahead", "three_hours_behind"))
    uptime_ms = rng.randrange(0, 86_400_000)
    return {
        "1970": uptime_ms - start_ms,
        "2038": YEAR_2038_MS - uptime_ms - start_ms,
        "two_days_ahead": 2 * 86_400_000 + uptime_ms,
        "twenty_minutes_ahead": 20 * 60_000,
        "three_hours_behind": -3 * 3_600_000,
    }[kind]


def wire_time(epoch_ms: int, form: str) -> str | int:
    """A time as a player writes it: "epoch_ms", or RFC 3339 in "utc", with an "offset", or in "micro" seconds."""
    if form == "epoch_ms":
        return epoch_ms
    when = EPOCH + timedelta(milliseconds=epoch_ms)
    if form == "offset":
        return when.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat(timespec="milliseconds")
    return when.isoformat(timespec="microseconds" if form == "micro" else "milliseconds").replace("+00:00", "Z")


def _uuid(rng: random.Random) -> UUID:
    return UUID(int=rng.getrandbits(128), version=4)
