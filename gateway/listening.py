"""Listening sockets: made, waited for, and named."""

import asyncio
import errno
import os
import socket

from config.settings import SettingsError

BACKLOG = 4096


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise SettingsError(f"{host}:{port}: {os.strerror(error.errno or 0)}") from error
    sock.setblocking(False)
    return sock


async def listen_patiently(host: str, port: int, patience_s: float) -> socket.socket:
    """As `listen`, waiting for the remains of a killed run to let the port go."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + patience_s
    while True:
        try:
            return listen(host, port)
        except SettingsError as error:
            in_use = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if not in_use or loop.time() >= until_s:
                raise
            await asyncio.sleep(0.1)


def address(sock: socket.socket) -> str:
    """http://HOST:PORT as a client on this machine reaches it."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{host}:{port}"
