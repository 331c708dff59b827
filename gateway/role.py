"""One child process of the gateway: `python -m gateway.role ROLE`, orders as JSON on its input, "ready" on its output.

Roles: `collector` (HTTP → spool), `postgres_drain` (spool → PostgreSQL), `scylla_drain` (spool → CQL), `readers`
(spool → Redis, views, and quality), `stage` (lines of CMCD in the spool → events in the spool).
"""

import asyncio
import ctypes
import gc
import os
import resource
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
from gateway.notice import Notice
from gateway.time_slice import COLLECTOR_SLICE_US, shorten
from ingest.core import chosen

PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


METRIC_FILES = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
"""As prometheus_client names them, by type and multiprocess mode; a test holds this list to the metrics there are."""
METRIC_FILE_BYTES = 256 * 1024
"""Four times what the library begins with; our labels are few."""
GC_THRESHOLD = 20_000
"""Containers made until a collection: a batch makes hundreds that die young by themselves; the default of 700 costs a
fifth of a collector's time."""


READERS_NICENESS = 10
"""Of drains and readers: where cores are short, who acknowledges goes first, and delivery catches up from the spool."""


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


def reserve_metrics() -> None:
    """Allocate this process's metric files before they are mapped: a store to a page that a full disk lacks is SIGBUS.

    Where that fails the process works on, its metrics unseen.
    """
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if directory is None:
        return
    try:
        for name in METRIC_FILES:
            descriptor = os.open(f"{directory}/{name}_{os.getpid()}.db", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
            try:
                os.posix_fallocate(descriptor, 0, METRIC_FILE_BYTES)
            finally:
                os.close(descriptor)
    except OSError as error:
        structlog.get_logger().error("metrics_unseen", error=str(error))
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def raise_descriptor_limit() -> None:
    """As many connections as the system allows, not as many as a shell's habit (often 1,024)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def die_with_parent(parent_pid: int) -> None:
    """SIGTERM when the supervisor dies, however it dies. Linux; elsewhere the readers end by their stores' fences."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:
        raise SystemExit("the supervisor is gone")


async def collect(orders: Orders, notice: Notice) -> None:
    """The collector's composition."""
    from gateway.collecting import run

    listening = [socket.socket(fileno=descriptor) for descriptor in orders.sockets]
    data = DataDir(Path(orders.data_dir))
    await run(orders.settings, data, orders.index, listening, notice, ready, orders.redis_url)


async def drain_postgres(orders: Orders, notice: Notice) -> None:
    """PostgreSQL's drain."""
    from gateway.draining import run_postgres

    await run_postgres(orders.settings, DataDir(Path(orders.data_dir)), orders.postgres_url, notice, ready)


async def drain_scylla(orders: Orders, notice: Notice) -> None:
    """The drain of playback events into CQL."""
    from gateway.draining import run_scylla

    await run_scylla(orders.settings, DataDir(Path(orders.data_dir)), notice, ready)


async def read(orders: Orders, notice: Notice) -> None:
    """The derivable readers."""
    from gateway.draining import run_qoe, run_redis

    data, urls = DataDir(Path(orders.data_dir)), (orders.postgres_url, orders.redis_url)
    async with asyncio.TaskGroup() as running:
        running.create_task(run_redis(orders.settings, data, *urls, notice, ready))
        running.create_task(run_qoe(orders.settings, data, notice))


async def stage(orders: Orders, notice: Notice) -> None:
    """The session stage."""
    from gateway.staging import run

    await run(orders.settings, DataDir(Path(orders.data_dir)), notice, ready)


ROLES = {
    "collector": collect,
    "stage": stage,
    "scylla_drain": drain_scylla,
    "postgres_drain": drain_postgres,
    "readers": read,
}


def ready() -> None:
    """Tell the supervisor that this process does its work from now on."""
    gc.collect()
    gc.freeze()  # what the start made stays; the garbage collector need not walk it again
    gc.set_threshold(GC_THRESHOLD, 20, 100)
    os.write(1, b"ready\n")


async def main(orders: Orders) -> None:
    notice = Notice()
    notice.listen(orders.parent_pid)
    await ROLES[orders.role](orders, notice)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    die_with_parent(given.parent_pid)
    if given.role == "collector":
        shorten(COLLECTOR_SLICE_US)
    else:
        from gateway.embedded.child import give_way  # a collector needs nothing of these

        give_way(READERS_NICENESS)
    logs.configure(given.role, given.settings.log.level)
    raise_descriptor_limit()
    reserve_metrics()
    chosen.choose(given.settings.core)
    structlog.get_logger().info("started", core=chosen.name)
    try:
        uvloop.run(main(given))
    except Exception:  # noqa: BLE001  our own bug: told in the log as everything else, then the supervisor starts this role again
        structlog.get_logger().exception("role_failed")
        sys.exit(1)
