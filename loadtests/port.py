"""Ports for a gateway that will be started more than once: chosen before, so that clients find it again."""

from __future__ import annotations

import contextlib
import random
import socket
from typing import Final

PORTS: Final = range(10_240, 20_000)


def free_ports(count: int) -> list[int]:
    """Different ports that nobody has at the moment, outside the range from which the kernel serves clients: one that
    knocks while the gateway is down could otherwise be given the very port, and keep it."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(PORTS.start, PORTS.stop)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
            if port not in ports:
                ports.append(port)
    return ports
