"""One node's process, in a session of its own: start, kill, freeze, resume, end. Linux: it is found in /proc."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Literal

from gateway.cql import configuration, jars
from gateway.cql.configuration import Plan

CHILD: Final = Path(__file__).resolve().parents[1] / "embedded" / "child.py"
LOG_SIZE_MAX_BYTES: Final = 16 * 1024 * 1024  # at a start, a longer log becomes cassandra.log.1
POLL_S: Final = 0.05

State = Literal["absent", "frozen", "running"]


class Node:
    """Node `index` of a ring, which lives in DIR/node1, DIR/node2 …"""

    def __init__(self, ring: Path, plan: Plan, index: int) -> None:
        self.name = f"node{index + 1}"
        self.address = plan.addresses[index]
        self.port = plan.port
        self.directory = ring.resolve() / self.name
        self.log = self.directory / "cassandra.log"
        self._plan = plan
        self._index = index
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start_bytes = 0

    @property
    def pid(self) -> int | None:
        """Its process, whoever started it; None while there is none."""
        if self._process is not None and self._process.poll() is None:  # /proc says nothing of it while it is exec'd
            return self._process.pid
        wanted = configuration.home(self.directory).encode()
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                try:
                    if wanted in (process / "cmdline").read_bytes().split(b"\0"):
                        return int(process.name)
                except OSError:  # ended in between
                    continue
        return None

    @property
    def state(self) -> State:
        """frozen: there, and standing still (SIGSTOP)."""
        pid = self.pid
        try:
            stat = "" if pid is None else Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        except OSError:
            stat = ""
        if not stat:
            return "absent"
        return "frozen" if stat.rpartition(") ")[2][0] in "Tt" else "running"

    def spawn(self, *, is_tied: bool) -> None:
        """Start it on the data it has, unless it runs. A tied one is killed by the kernel when the thread ends that
        started it. Raises CassandraMissing; whether CQL answers, some ten seconds later, is another question.
        """
        if self.pid is not None:
            return
        java = jars.java()
        shutil.rmtree(self.directory / "tmp", ignore_errors=True)
        (self.directory / "tmp").mkdir(parents=True)
        (self.directory / "cassandra.yaml").write_text(
            configuration.yaml(self._plan, self._index, self.directory), "utf-8"
        )
        if self.log.exists() and self.log.stat().st_size > LOG_SIZE_MAX_BYTES:
            self.log.rename(self.log.with_suffix(".log.1"))
        program = configuration.command(
            self._plan, java, jars.DIRECTORY / "lib", jars.HERE / "logback.xml", self.directory
        )
        if is_tied:
            end = str(int(signal.SIGKILL))
            program = [sys.executable, "-I", "-S", str(CHILD), "self", end, str(os.getpid()), "--", *program]
        with self.log.open("ab") as log:
            self._log_start_bytes = log.tell()
            self._process = subprocess.Popen(
                program,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                start_new_session=True,
                close_fds=True,  # with a pipe of the caller's, the caller's pipeline would end only with the node
            )

    def kill(self) -> None:
        """SIGKILL, and wait for its end. Nothing when it does not run."""
        self._signal(signal.SIGKILL)
        assert self.wait_ended(30.0), f"{self.name} is still there after SIGKILL"

    def freeze(self) -> None:
        """SIGSTOP: it is there, and answers nobody."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after a freeze."""
        self._signal(signal.SIGCONT)

    def ask_to_end(self) -> None:
        """SIGTERM: it writes its memtables out and ends, some seconds later."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a frozen one hears nothing

    def wait_ended(self, timeout_s: float) -> bool:
        """Whether it ends within this time."""
        until_s = time.monotonic() + timeout_s
        while self.pid is not None:
            if time.monotonic() >= until_s:
                return False
            time.sleep(POLL_S)
        return True

    def said(self) -> str:
        """What its log has of errors since it was last started here, or else its end; at most 2,000 characters."""
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start_bytes)
                lines = log.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        errors = [line for line in lines if line.startswith(("ERROR", "FATAL", "Error", "Exception"))]
        return "\n".join(errors[-5:] or lines[-10:])[-2000:]

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
