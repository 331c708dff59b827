"""The product as a stranger meets it: a command line, a data directory, `endpoints.json`, and processes to end.

Whoever starts one here also ends it: `stop` asks first, and whatever of its own processes is left then is killed by
pid. If the starter itself is killed, the kernel tells the gateway to stop.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from loadtests.procfs import Process, alive, stat, tree

READY_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
KILL_TIMEOUT_S: Final = 15.0
PR_SET_PDEATHSIG: Final = 1
STATUS_TIMEOUT_S: Final = 3.0
LIBC: Final = ctypes.CDLL(None)
ROOT: Final = Path(__file__).resolve().parent.parent


class ProductFailed(Exception):
    """The gateway did not start, or fell; the message carries the last lines of its log."""


def die_with_parent() -> None:
    """Between fork and exec: SIGTERM when the parent dies, so that nothing outlives a killed starter."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Product:
    """One gateway with its embedded stores, run by `serve --embedded` in a data directory of its own."""

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        admin_port: int = 0,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.log = log or data_dir.with_name(data_dir.name + ".serve.log")
        self._environment = {**os.environ, **(environment or {})}
        self._command = [sys.executable, "-m", "gateway.cli", "serve", "--embedded", "--data-dir", str(data_dir)]
        self._command += ["--port", str(port), "--admin-port", str(admin_port), *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: set[Process] = set()
        self._endpoints: dict[str, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def altered(self, environment: Mapping[str, str]) -> Product:
        """The same gateway, which has ended, with these settings over its own: its next start is that of the result."""
        assert self.ended(), "it runs"
        other = copy.copy(self)
        other._environment = {**self._environment, **environment}
        return other

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start the command; a session of its own keeps the terminal's Ctrl-C for the starter, who passes it on."""
        assert self._process is None or self._process.poll() is not None
        self._endpoints = None
        (self.data_dir / "endpoints.json").unlink(missing_ok=True)  # a killed run leaves its own behind
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 (one call, and no thread here)
            )
        if (seen := stat(self._process.pid)) is not None:
            self._seen.add(seen.process)

    def ready(self) -> bool:
        """Whether everything answers; raises ProductFailed when the command has ended instead."""
        if self._endpoints is None:
            try:
                self._endpoints = json.loads((self.data_dir / "endpoints.json").read_text())
            except (OSError, ValueError):
                if self._process is None or self._process.poll() is None:
                    return False
                raise ProductFailed(f"serve ended with {self._process.returncode}:\n{self.log_tail()}") from None
            self.pids()
        return True

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> Self:
        """Wait until ready; raises ProductFailed when it falls or takes longer."""
        deadline = time.monotonic() + timeout_s
        while not self.ready():
            if time.monotonic() > deadline:
                raise ProductFailed(f"not ready after {timeout_s:.0f} s:\n{self.log_tail()}")
            time.sleep(0.05)
        return self

    @property
    def endpoints(self) -> dict[str, str]:
        """The URLs of endpoints.json: http, admin, postgres, redis."""
        assert self._endpoints is not None, "not ready"
        return self._endpoints

    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def statusz(self) -> dict[str, Any]:
        """What the admin port says of itself; raises OSError when it does not answer."""
        with urllib.request.urlopen(self.endpoints["admin"] + "/statusz", timeout=STATUS_TIMEOUT_S) as answer:  # noqa: S310
            status: dict[str, Any] = json.load(answer)
        return status

    def log_tail(self, lines_count: int = 20) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines_count:])
        except OSError as missing:
            return str(missing)

    def pids(self, *, ask: bool = True) -> list[int]:
        """Every process that is the product now: its tree, PostgreSQL by its pid file, and, if to `ask`, statusz."""
        if self._process is None:
            return []
        roots = [] if self.ended() else [self._process.pid]
        roots += self._postmasters()
        if ask and self._endpoints is not None and not self.ended():
            with contextlib.suppress(OSError, ValueError, KeyError):  # it starts, or falls: the tree alone will do
                roots += [process["pid"] for process in self.statusz()["processes"]]
        self._seen.update(seen.process for root in roots for seen in tree(root))
        self._seen = {process for process in self._seen if alive(process)}
        return sorted(process.pid for process in self._seen)

    def _postmasters(self) -> list[int]:
        pids: list[int] = []
        for file in self.data_dir.rglob("postmaster.pid"):
            try:
                pid = int(file.read_text().splitlines()[0])
            except (OSError, ValueError, IndexError):
                continue
            seen = stat(pid)
            if seen is not None and seen.name == "postgres":  # the file may be a killed run's
                pids.append(pid)
        return pids

    def kill_everything(self) -> list[int]:
        """SIGKILL to every pid, stores included, with no moment for any of them to notice; returns the pids."""
        doomed: set[int] = set()
        for ask in (True, False):  # stopped first, so that none can do anything about another's end
            for pid in self.pids(ask=ask):
                doomed.add(pid)
                _signal(pid, signal.SIGSTOP)
        for pid in doomed:
            _signal(pid, signal.SIGKILL)
        self._await_end(KILL_TIMEOUT_S)
        if left := self.pids(ask=False):
            raise ProductFailed(f"still running after SIGKILL: {left}")
        return sorted(doomed)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int | None:
        """SIGTERM and wait; after `timeout_s` whatever is left is killed. The exit code, None when never started."""
        if self._process is None:
            return None
        self.pids()
        if not self.ended():
            _signal(self._process.pid, signal.SIGTERM)
            self._await_end(timeout_s)
        for process in [process for process in self._seen if alive(process)]:
            _signal(process.pid, signal.SIGKILL)
        self._await_end(KILL_TIMEOUT_S)
        return self._process.poll()

    def _await_end(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.ended() and not any(alive(process) for process in self._seen):
                return
            time.sleep(0.02)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
