"""One child process of the gateway: `python -m gateway.role ROLE`, orders as JSON on its input, "ready" on its output.

Roles: `collector` (HTTP → spool), `postgres_drain` (spool → PostgreSQL), `readers` (spool → Redis).
"""

import asyncio
import ctypes
import gc
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec
import structlog
import uvloop
from msgspec import Struct

from config.settings import Settings
from gateway import logs
from gateway.layout import DataDir

PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


GC_THRESHOLD = 20_000
"""Containers made until a collection: a batch makes hundreds that die young by themselves; the default of 700 costs a
fifth of a collector's time."""


class Orders(Struct, frozen=True):
    """What a supervisor tells its child."""

    role: str
    index: int
    data_dir: str
    parent_pid: int
    settings: Settings
    sockets: tuple[int, ...] = ()
    """Inherited listening sockets."""
    postgres_url: str = ""
    redis_url: str = ""


def die_with_parent(parent_pid: int) -> None:
    """SIGTERM when the supervisor dies, however it dies. Linux; elsewhere the readers end by their stores' fences."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:
        raise SystemExit("the supervisor is gone")


async def collect(orders: Orders, stop: asyncio.Event) -> None:
    """The collector's composition."""
    from gateway.collecting import run

    listening = [socket.socket(fileno=descriptor) for descriptor in orders.sockets]
    await run(orders.settings, DataDir(Path(orders.data_dir)), listening, stop, ready)


async def drain_postgres(orders: Orders, stop: asyncio.Event) -> None:
    """The store's drain."""
    from gateway.draining import run_postgres

    await run_postgres(orders.settings, DataDir(Path(orders.data_dir)), orders.postgres_url, stop, ready)


async def read(orders: Orders, stop: asyncio.Event) -> None:
    """The derivable readers."""
    from gateway.draining import run_redis

    await run_redis(orders.settings, DataDir(Path(orders.data_dir)), orders.redis_url, stop, ready)


ROLES = {"collector": collect, "postgres_drain": drain_postgres, "readers": read}


def ready() -> None:
    """Tell the supervisor that this process does its work from now on."""
    gc.collect()
    gc.freeze()  # what the start made stays; the garbage collector need not walk it again
    gc.set_threshold(GC_THRESHOLD, 20, 100)
    os.write(1, b"ready\n")


async def main(orders: Orders) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await ROLES[orders.role](orders, stop)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    die_with_parent(given.parent_pid)
    logs.configure(given.role, given.settings.log.level)
    try:
        uvloop.run(main(given))
    except Exception:  # noqa: BLE001  our own bug: told in the log as everything else, then the supervisor starts this role again
        structlog.get_logger().exception("role_failed")
        sys.exit(1)
