"""The processes of one peer: a command with a log, known by the port it answers on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from loadtests.procfs import Process, alive, tree, tree_cpu_s
from loadtests.product import ROOT, die_with_parent

START_S: Final = 30.0
STOP_S: Final = 10.0
POLL_S: Final = 0.05
QUESTION: Final = b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class PeerFailed(Exception):
    """A peer did not start, or fell; the message carries the last lines of its log."""


class PeerProcess:
    """One command that serves HTTP on `port` of 127.0.0.1, and whatever processes it starts."""

    def __init__(self, command: Sequence[str], *, port: int, log: Path, environment: Mapping[str, str]) -> None:
        self.port = port
        self._log = log
        with log.open("ab") as written:
            self._root = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 (one call into libc, which takes no lock)
            )

    async def answers(self) -> None:
        """Wait until it answers anything; raises PeerFailed when it has ended, or takes longer than START_S."""
        deadline_s = time.monotonic() + START_S
        while not await self._answered():
            self.check()
            if time.monotonic() > deadline_s:
                self.kill()
                raise PeerFailed(f"no answer on port {self.port}:\n{self.log_tail()}")
            await asyncio.sleep(POLL_S)

    async def _answered(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(QUESTION)
            return bool(await asyncio.wait_for(reader.read(1), START_S))
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()

    def log_tail(self, lines_count: int = 12) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines_count:])

    def processes(self) -> set[Process]:
        """The command's own, and all below it."""
        return {seen.process for seen in tree(self._root.pid)}

    def check(self) -> None:
        """Raises PeerFailed when it has ended."""
        if self._root.poll() is not None:
            raise PeerFailed(f"the peer on port {self.port} ended with {self._root.returncode}:\n{self.log_tail()}")

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""
        return tree_cpu_s(self._root.pid)

    def kill(self) -> None:
        """SIGKILL to every process at once: stopped first, so that none can do anything about another's end."""
        doomed: set[Process] = set()
        for _ in range(2):  # the second look finds what was being forked at the first
            doomed |= self.processes()
            for process in doomed:
                _signal(process, signal.SIGSTOP)
        for process in doomed:
            _signal(process, signal.SIGKILL)
        self._root.wait()

    def stop(self) -> None:
        """SIGTERM, and after STOP_S whatever is left is killed; may be called again."""
        if self._root.poll() is not None:
            return
        ours = self.processes()
        self._root.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._root.wait(STOP_S)
        for process in ours:
            _signal(process, signal.SIGKILL)
        self._root.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    if alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
