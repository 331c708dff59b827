"""Sessions whose every stall, failure and lost beacon is known, and what they come to on each edge. Pure.

Told from behind, like the evening, but within one minute: quality is of minutes, and what follows on nothing is waited
for some seconds, not hours. Terms and formulas are CTA-2066's.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Any, Final
from uuid import UUID

KINDS: Final = ("smooth", "stalls", "pauses", "fails", "recovers", "leaves", "fails_to_start", "loses")
AGO_S: Final = 60.0
"""How long ago they began; the longest takes 16 s."""
Event = dict[str, Any]


@dataclass(slots=True)
class Edge:
    """What its sessions went through."""

    sessions: int = 0
    starts: int = 0
    stalls: int = 0
    stalled_s: float = 0.0
    watched_s: float = 0.0
    failures: int = 0
    exits: int = 0
    kilobits: float = 0.0
    media_s: float = 0.0
    sent: int = 0
    lost: int = 0
    startups_ms: list[int] = field(default_factory=list)

    def wrong(self, group: Mapping[str, Any]) -> str:
        """How a group of `/v1/qoe` differs, or nothing."""
        expected: dict[str, tuple[float, float]] = {
            "sessions": (self.sessions, 0),
            "starts": (self.starts, 0),
            "stalls": (self.stalls, 0),
            "playback_failures": (self.failures, 0),
            "exits_before_start": (self.exits, 0),
            "watched_s": (self.watched_s, 0.01),
            "stalled_share": (self.stalled_s / self.watched_s, 1e-5),
            "playback_failure_share": (self.failures / self.sessions, 1e-5),
            "average_bitrate_kbps": (self.kilobits / self.media_s, 1),
            "delivery_loss_share": (self.lost / self.sent, 1e-5),
        }
        wrong = [
            f"{name} {group[name]}, expected {value}"
            for name, (value, within) in expected.items()
            if abs((group[name] or 0) - value) > within
        ]
        startup = group["startup_ms"]
        if startup["count"] != len(self.startups_ms):
            wrong.append(f"{startup['count']} start-ups, expected {len(self.startups_ms)}")
        for bucket in startup["histogram"]:
            many = sum(one <= (bucket["le_ms"] or inf) for one in self.startups_ms)
            if bucket["count"] != many:
                wrong.append(f"{bucket['count']} start-ups up to {bucket['le_ms']} ms, expected {many}")
        return "; ".join(wrong)


class Watched:
    """Sessions of a seed, one after the other; a player sends a sign every four seconds."""

    def __init__(self, seed: int, edges: Sequence[str], contents: Sequence[UUID]) -> None:
        """`edges`: names that nobody else's sessions have; `contents`: what they watch."""
        self._contents = contents
        self._chance = random.Random(f"truth:quality:{seed}")
        self.edges = {name: Edge() for name in edges}

    def sessions(self, many: int, now_ms: int) -> list[list[Event]]:
        """So many, all kinds in turns; of each what its player sent and did not lose, in order."""
        kinds = (KINDS[number % len(KINDS)] for number in count())
        return [self.session(kind, now_ms) for kind, _ in zip(kinds, range(many), strict=False)]

    def session(self, kind: str, now_ms: int) -> list[Event]:
        """One of a kind."""
        chance = self._chance
        name, kbps = chance.choice(list(self.edges)), chance.choice((800, 2_400, 4_500))
        edge = self.edges[name]
        edge.sessions += 1
        if kind == "leaves":
            story: list[tuple[str, float, Event]] = [("buffering", 0, {}), ("stop", 3, {})]
            edge.exits += 1
            edge.watched_s += 3
        elif kind == "fails_to_start":
            story = [("error", 0, {"error_code": "MANIFEST"})]
            edge.failures += 1
        else:
            story = self._started(kind, edge, kbps)
        content = str(chance.choice(self._contents))
        fixed = {"session_id": _id(chance), "content_id": content, "cdn_edge": name, "bitrate": kbps}
        sent = []
        for sequence, (event_type, at_s, more) in enumerate(story):
            event = {"event_id": _id(chance), "event_type": event_type, "sequence": sequence, **fixed, **more}
            event["occurred_at"] = now_ms - int((AGO_S - at_s) * 1_000)
            edge.sent += 1
            if kind == "loses" and event_type == "heartbeat" and at_s == 4:
                edge.lost += 1
            else:
                sent.append(event)
        return sent

    def _started(self, kind: str, edge: Edge, kbps: int) -> list[tuple[str, float, Event]]:
        startup_ms = self._chance.randrange(50, 5_000)
        edge.starts += 1
        edge.startups_ms.append(startup_ms)
        played_s, stalled_s, wall_s = 12.0, 0.0, 12.0
        story: list[tuple[str, float, Event]] = [("play", 0, {"startup_ms": startup_ms})]
        story += [("heartbeat", 4, {}), ("heartbeat", 8, {})]
        if kind == "stalls":
            stalled_s = self._chance.randrange(1, 3)
            story.append(("buffering", 8, {"buffer_duration": int(stalled_s * 1_000)}))
            played_s -= stalled_s
            edge.stalls += 1
        elif kind == "pauses":
            story += [("pause", 9, {}), ("heartbeat", 13, {}), ("play", 15, {})]
            played_s, wall_s = 10.0, 16.0
        elif kind == "recovers":
            story += [("error", 10, {}), ("heartbeat", 11, {})]
        if kind == "fails":
            story.append(("error", wall_s, {"error_code": "DECODE"}))
            edge.failures += 1
        else:
            story.append(("stop", wall_s, {}))
        edge.stalled_s += stalled_s
        edge.watched_s += played_s + stalled_s + startup_ms / 1_000
        edge.kilobits += kbps * played_s
        edge.media_s += played_s
        return story


def _id(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))
