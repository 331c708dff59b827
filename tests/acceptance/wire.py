"""A connection to the door, byte by byte."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    at = urlsplit(url)
    with socket.create_connection((at.hostname, at.port), timeout=30) as connection:
        yield connection


def received_answer(connection: socket.socket) -> bytes:
    """One answer, whose body comes with its head or right behind it."""
    data = b""
    while b"\r\n\r\n" not in data or not data.endswith(b"}"):
        more = connection.recv(65_536)
        assert more, data
        data += more
    return data
