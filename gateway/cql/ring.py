"""The nodes of a directory: start them, wait until CQL answers, say how they are, stop them."""

import json
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from gateway.cql import asking, jars
from gateway.cql.configuration import Plan
from gateway.cql.node import Node, State

PORTS: Final = range(4_000, 10_000)
"""Below those from which gateways, their embedded servers and the kernel's clients take theirs."""
READY_TIMEOUT_S: Final = 300.0
"""Thirteen seconds on an idle machine; three nodes on two busy cores take minutes."""
STOP_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.25


class RingError(Exception):
    """The ring is not as it should be; the text is for people."""


@dataclass(frozen=True)
class Seen:
    """How one node is."""

    name: str
    address: str
    pid: int | None
    state: State
    answers: bool


class Ring:
    """One node or three in a directory, which keeps their number and ports from the first start on."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        """Raises RingError when the directory holds a ring of another size."""
        self.directory = directory.resolve()
        kept = kept_plan(self.directory)
        if kept is not None:
            if kept.nodes != plan.nodes:
                raise RingError(f"{self.directory} holds a ring of {kept.nodes}, not of {plan.nodes}: take another")
            plan = replace(plan, port=kept.port, storage_port=kept.storage_port)
        self.plan = plan
        self.nodes = [Node(self.directory, plan, index) for index in range(plan.nodes)]

    @property
    def contact_points(self) -> str:
        """By commas, as settings take them."""
        return ",".join(self.plan.addresses)

    def spawn(self, *, is_tied: bool = False) -> None:
        """Start the nodes that do not run, all at once. `is_tied`: they die with the thread that calls this.

        Fetches the jars when they are not there. Raises CassandraMissing.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if not jars.is_installed():
            jars.install()
        unfinished = self.directory / "ring.json.new"
        unfinished.write_text(json.dumps(asdict(self.plan), indent=1) + "\n", "ascii")
        unfinished.rename(self.directory / "ring.json")
        for node in self.nodes:
            node.spawn(is_tied=is_tied)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until every node answers a query and knows all others. Raises RingError when one ends or time does."""
        until_s = time.monotonic() + timeout_s
        for node in self.nodes:
            while not asking.has_joined(node.address, node.port, self.plan.nodes):
                for other in self.nodes:
                    if other.pid is None:
                        raise RingError(f"{other.name} ended before it was ready ({other.log}):\n{other.said()}")
                if time.monotonic() >= until_s:
                    raise RingError(f"{node.name} does not answer after {timeout_s:.0f} s:\n{node.said()}")
                time.sleep(POLL_S)

    def start(self, *, is_tied: bool = False) -> None:
        """Both. Raises as they do, and then nothing runs that was started here."""
        before = [node for node in self.nodes if node.pid is not None]
        try:
            self.spawn(is_tied=is_tied)
            self.wait_ready()
        except BaseException:
            for node in self.nodes:
                if node not in before:
                    node.kill()
            raise

    def seen(self) -> list[Seen]:
        """How every node is now; a second or two, ten for one that is frozen."""
        return [
            Seen(
                node.name,
                node.address,
                node.pid,
                node.state,
                node.state == "running" and asking.answers(node.address, node.port),
            )
            for node in self.nodes
        ]

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask all to end; kill those that have not within this time."""
        for node in self.nodes:
            node.ask_to_end()
        until_s = time.monotonic() + timeout_s
        for node in self.nodes:
            if not node.wait_ended(max(until_s - time.monotonic(), 0)):
                node.kill()

    def kill(self) -> None:
        """SIGKILL to all."""
        for node in self.nodes:
            node.kill()


def kept_plan(directory: Path) -> Plan | None:
    """What the directory was last started as; None when it holds no ring."""
    try:
        return Plan(**json.loads((directory / "ring.json").read_text("ascii")))
    except FileNotFoundError:
        return None


def free_ports(addresses: Sequence[str], first: int | None = None) -> tuple[int, int]:
    """Two ports that nobody has on any of these addresses now, `first` the first of them if that is free."""
    candidates = [*([first] if first is not None else []), *random.sample(PORTS, k=100)]
    free = [port for port in candidates if all(is_free(address, port) for address in addresses)]
    if len(free) < 2:
        raise RingError(f"No free ports found among {PORTS.start} to {PORTS.stop - 1}.")
    return free[0], free[1]


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
