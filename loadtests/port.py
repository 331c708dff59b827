"""Ports for a gateway that will be started more than once: chosen before, so that clients find it again."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from typing import Final

WORKERS_MAX: Final = 8
WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS_MAX
PORTS: Final = range(10_240 + WORKER, 20_000, WORKERS_MAX)
"""Tests that run side by side have ports of their own: a gateway that is started again finds its port as it left it."""


def free_ports(count: int) -> list[int]:
    """Different ports that nobody has at the moment, outside the range from which the kernel serves clients: one that
    knocks while the gateway is down could otherwise be given the very port, and keep it."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
            if port not in ports:
                ports.append(port)
    return ports
