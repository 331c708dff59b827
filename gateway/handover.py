"""What one supervisor hands on to the next, which takes its place in the same process (exec): the listening sockets,
the lock of the data directory, and the processes that go on meanwhile.

It travels in the environment, as JSON. Not one of its values is a secret.
"""

import os
import signal
import sys
from collections.abc import MutableMapping
from typing import NoReturn

import msgspec
from msgspec import Struct

VARIABLE = "STREAMVERSE_HANDOVER"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
"""Held back over the exec, until the next supervisor listens to them."""


class Running(Struct, frozen=True):
    """A child that goes on."""

    role: str
    index: int
    pid: int
    restarts: int


class RunningServer(Struct, frozen=True):
    """An embedded server that goes on."""

    pid: int
    port: int
    restarts: int


class Handover(Struct, frozen=True):
    """Everything that the next supervisor does not make anew."""

    pid: int
    """Of the process; one that was started, and not taken over, has another."""
    http: int
    """Descriptor of the listening socket."""
    admin: int
    lock: int
    restart: int
    """The number of the restart that this is part of."""
    children: tuple[Running, ...]
    postgres: RunningServer | None = None
    redis: RunningServer | None = None


def received(environment: MutableMapping[str, str] = os.environ) -> Handover | None:
    """Taken out of the environment, so that no child sees it. Raises ValueError when it cannot be read."""
    text = environment.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        handover = msgspec.json.decode(text, type=Handover)
    except msgspec.DecodeError as error:
        raise ValueError(f"{VARIABLE} is set and cannot be read: {error}") from error
    if handover.pid != os.getpid():
        raise ValueError(f"{VARIABLE} is set for the process {handover.pid}: unset it.")
    for descriptor in (handover.http, handover.admin, handover.lock):
        os.set_inheritable(descriptor, False)
    return handover


def command() -> list[str]:
    """The command line of this process, for the code and the settings as they are now."""
    return [sys.executable, *sys.orig_argv[1:]]


def hold_signals() -> None:
    """Until `let_signals_through`, be it by this program or by the next."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def let_signals_through() -> None:
    """What came meanwhile comes now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def become(handover: Handover) -> NoReturn:
    """Become the next supervisor. Raises OSError when that cannot be; then nothing has changed."""
    descriptors = (handover.http, handover.admin, handover.lock)
    try:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        environment = {**os.environ, VARIABLE: msgspec.json.encode(handover).decode()}
        os.execve(sys.executable, command(), environment)  # noqa: S606  no shell is meant
    except OSError:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        raise
