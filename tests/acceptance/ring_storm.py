"""What happens to a ring of three while players post: two nodes killed at once, brought back, another killed, a third
frozen."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.cql import Node, Ring
from tests.acceptance.audience import Audience
from tests.acceptance.client import eventually, pid_of
from tests.acceptance.gateway_process import Gateway
from tests.acceptance.steady_player import SteadyPlayer

DOWN_S: Final = 6.0
FROZEN_S: Final = 8.0
CALM_S: Final = 4.0
CAUGHT_UP_S: Final = 240.0
"""While players go on: on two busy cores three nodes take little more than these send."""
ALMOST_NONE: Final = 50
"""Frames on their way while players go on posting: less than a second of them."""
DRAIN: Final = "scylla_drain"
TAKEN: Final = frozenset({"200", "204", "400", "hung up"})
"""All that players are ever answered; some of their connections break on purpose."""


@dataclass
class Storm:
    """Blows on `ring` under the load of `crowd` and `player`; what was seen at each goes to `said`."""

    gateway: Gateway
    ring: Ring
    crowd: Audience
    player: SteadyPlayer
    begun_s: float = field(default_factory=time.monotonic)
    said: list[str] = field(default_factory=list)

    def blow(self, until_s: float) -> int:
        """Rounds of all blows until `until_s` (time.monotonic) has passed, one at least; how many."""
        rounds = 0
        while rounds == 0 or time.monotonic() < until_s:
            nodes = self.ring.nodes[rounds % 3 :] + self.ring.nodes[: rounds % 3]
            self.two_killed_at_once(nodes[2], nodes[0])
            self.another_killed_and_a_third_frozen(nodes[1], nodes[2])
            self.one_frozen(nodes[0])
            rounds += 1
        return rounds

    def two_killed_at_once(self, *nodes: Node) -> None:
        """In the middle of what was on its way to them. One of three is no majority: nothing can be stored, everything
        is taken; both come back on what they had, and have all of it.
        """
        for node in nodes:
            node.kill()
        names = " and ".join(node.name for node in nodes)
        self.tell(f"{names} killed")
        self.crowd.acknowledged_more(DOWN_S)
        assert self.lag() > 0, "nothing is behind, with one node of three"
        self.back(*nodes)
        self.caught_up()
        self.tell("delivered")

    def another_killed_and_a_third_frozen(self, killed: Node, frozen: Node) -> None:
        """Two of three go on taking everything, one takes nothing. A drain that dies then forgets nothing that it
        wrote to one node alone.
        """
        killed.kill()
        self.tell(f"{killed.name} killed")
        self.crowd.acknowledged_more(CALM_S)
        self.caught_up()
        self.tell("delivered to two")
        frozen.freeze()
        self.tell(f"{frozen.name} frozen")
        self.crowd.acknowledged_more(FROZEN_S)
        assert self.lag() > 0, "nothing is behind, with one node of three"
        os.kill(pid_of(self.gateway, DRAIN), signal.SIGKILL)
        self.tell("the drain killed")
        self.crowd.acknowledged_more(FROZEN_S / 2)
        assert self.lag() > 0, "a drain that does not reach its store lacks what the one before it lacked"
        frozen.resume()
        self.tell(f"{frozen.name} goes on")
        self.back(killed)
        self.caught_up()
        self.tell("delivered")

    def one_frozen(self, node: Node) -> None:
        """It is there, and answers nobody: the worst kind of dead."""
        node.freeze()
        self.tell(f"{node.name} frozen")
        self.crowd.acknowledged_more(FROZEN_S)
        self.caught_up()
        self.tell("delivered to two")
        node.resume()
        self.crowd.acknowledged_more(CALM_S)

    def back(self, *nodes: Node) -> None:
        """Start them on what they had, and see that the ring is whole."""
        for node in nodes:
            node.spawn(is_tied=True)
        self.ring.wait_ready()
        self.crowd.acknowledged_more(CALM_S)
        self.tell(f"{' and '.join(node.name for node in nodes)} back")

    def reader(self) -> dict[str, Any]:
        """As the drain tells of itself."""
        (told,) = (told for told in self.gateway.statusz()["readers"] if told["reader"] == "scylla")
        return dict(told)

    def lag(self) -> int:
        """Frames that the store lacks."""
        return int(self.reader()["lag_frames"])

    def caught_up(self) -> None:
        """Wait until what was taken before now is stored."""
        try:
            eventually(lambda: self.lag() < ALMOST_NONE, CAUGHT_UP_S, "delivery keeps up with the players")
        except AssertionError as late:
            told = [str(late), *self.said, str(self.reader()), self.gateway.log_tail()]
            raise AssertionError("\n".join(told)) from late

    def tell(self, what: str) -> None:
        """A line of the story. Fails when a player was refused anything."""
        figures = self.crowd.figures
        refused = {status: times for status, times in figures.get("statuses", {}).items() if status not in TAKEN}
        self.said.append(
            f"{time.monotonic() - self.begun_s:6.1f} s  {figures.get('acknowledged', 0):8,} acknowledged  "
            f"{figures.get('latency_ms_p99') or 0:8.1f} ms p99  {self.lag():6,} frames behind  {what}"
        )
        assert not refused and not self.player.refused, "\n".join(
            [*self.said, f"players were refused: {refused}", *self.player.refused[:5]]
        )
