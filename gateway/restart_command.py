"""`restart`: ask the running supervisor for a rolling restart, wait for it, and say what came of it."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from gateway import restart_status
from gateway.layout import DataDir
from gateway.restart_status import Replaced, RestartStatus

BEGIN_TIMEOUT_S = 30.0
"""Until the supervisor says that it has begun; behind another restart, from when that one has ended."""
POLL_S = 0.05

Echo = Callable[[str], Any]


class NotRestarted(Exception):
    """The gateway was not restarted, or not all of it."""


def restart(data: DataDir, echo: Echo, *, with_supervisor: bool) -> None:
    """A line a process that was replaced. Raises NotRestarted."""
    pid = data.pid_of_running()
    if pid is None or data.endpoints_of_running() is None:
        raise NotRestarted(f"no gateway is running in {data.root}, or it is not ready yet")
    before = restart_status.read(data.run)
    number = before.number if before else 0
    try:
        os.kill(pid, signal.SIGUSR2 if with_supervisor else signal.SIGHUP)
    except OSError as error:
        raise NotRestarted(f"the gateway {pid} cannot be told: {error.strerror}") from error
    status = _ended(data, pid, number)
    for one in status.replaced:
        echo(_line(one))
    if status.state != "done":
        raise NotRestarted(f"{status.state}: {status.reason}")
    echo("restarted")


def _ended(data: DataDir, pid: int, number: int) -> RestartStatus:
    """The first restart behind `number`, when it has ended. Raises NotRestarted."""
    begin_until_s = time.monotonic() + BEGIN_TIMEOUT_S
    while True:
        status = restart_status.read(data.run)
        under_way = status is not None and status.state == "running"
        if status is not None and status.number > number and not under_way:
            return status
        if under_way:
            begin_until_s = time.monotonic() + BEGIN_TIMEOUT_S
        elif time.monotonic() >= begin_until_s:
            raise NotRestarted(f"the gateway {pid} did not begin within {BEGIN_TIMEOUT_S:g} s; its log may say why")
        if data.pid_of_running() != pid:
            raise NotRestarted(f"the gateway {pid} ended meanwhile")
        time.sleep(POLL_S)


def _line(one: Replaced) -> str:
    return f"{one.role} {one.index}: {one.before or '-'} → {one.now or '-'}"
