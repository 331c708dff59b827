"""One embedded server's process: its lock, its password, its log, its start and its end."""

import asyncio
import fcntl
import os
import random
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

from gateway.adopted import AdoptedProcess
from gateway.embedded.account import Account

LOG_SIZE_MAX_BYTES = 16 * 1024 * 1024  # at a start, a longer log becomes NAME.log.1
PORTS = range(
    20_000, 32_000
)  # below the kernel's ephemeral ports: no outgoing connection takes ours between two starts
ATTEMPTS_MAX = 5  # ports tried, when another program takes the one just found free
KILL_TIMEOUT_S = 5.0
POLL_S = 0.02
WATCH_S = 0.1


class EmbeddedServerError(Exception):
    """An embedded server could not be started."""


class ServerProcess:
    """A server that lives in `data_dir` under `name` and dies with the thread that started it (Linux).

    The process outlives an event loop: it may be started in one `asyncio.run` and stopped in another.
    """

    def __init__(self, name: str, data_dir: Path, end_signal: signal.Signals) -> None:
        """`end_signal` asks the server for a clean end; its data is then whole without recovery."""
        self.name = name
        self.data_dir = data_dir.resolve()
        self.end_signal = end_signal
        self.log = self.data_dir / "log" / f"{name}.log"
        self._process: subprocess.Popen[bytes] | AdoptedProcess | None = None
        self._log_start_bytes = 0
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs or before its first start; negative: ended by that signal."""
        return self._process.poll() if self._process is not None else None

    def adopt(self, pid: int) -> None:
        """Take over a server that an earlier program of this process started; 0: it has ended."""
        self._process = AdoptedProcess(pid) if pid else None

    async def lock(self, patience_s: float) -> int:
        """A descriptor that holds the server's lock; the caller closes it once the server has inherited it.

        The lock stays with the open file, so a server and all it started must be gone before the next start gets it.
        Raises EmbeddedServerError when that takes longer than `patience_s`.
        """
        descriptor = os.open(self.data_dir / f"{self.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline_s = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    os.close(descriptor)
                    raise EmbeddedServerError(
                        f"A {self.name} server still runs on {self.data_dir}, {patience_s:.0f} s after this start "
                        "began: another gateway has this data directory, or the remains of one do not end."
                    ) from None
            await asyncio.sleep(POLL_S)

    def password(self, *, may_make: bool) -> str:
        """The password in DIR/NAME.password (0600), made durable on first use; without `may_make` a missing one
        raises.
        """
        path = self.data_dir / f"{self.name}.password"
        try:
            return path.read_text("ascii").strip()
        except FileNotFoundError:
            if not may_make:
                raise EmbeddedServerError(
                    f"{path} is missing: without it the server in {self.data_dir} lets nobody in."
                ) from None
        password = secrets.token_hex(24)
        unfinished = path.with_suffix(".password.new")
        unfinished.unlink(missing_ok=True)
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(password + "\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        sync_directory(self.data_dir)
        return password

    def spawn(
        self, account: Account, program: list[str], lock: int, directories: list[Path], stdin: bytes = b""
    ) -> None:
        """Start `program` under `account`; it inherits `lock`, writes to the log and reads `stdin` (at most a few
        KiB).
        """
        self.log.parent.mkdir(exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_SIZE_MAX_BYTES:
            self.log.rename(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self._log_start_bytes = log.tell()
            self._stopping = False
            self._process = process = subprocess.Popen(
                account.command(program, self.end_signal, directories),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C"},  # PGPORT and its like must not reach it
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C is for the gateway, which ends its servers in order
            )
        assert process.stdin is not None
        try:
            process.stdin.write(stdin)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended at once; exit_code and the log say why

    def said(self) -> str:
        """What the log has since the last start, at most its last 2,000 bytes."""
        with self.log.open("rb") as log:
            size_bytes = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start_bytes, size_bytes - 2000))
            return log.read().decode("utf-8", "replace").strip()

    async def wait(self) -> int:
        """Wait for the end of the server; its exit code (negative: ended by that signal)."""
        while (code := self.exit_code) is None:
            if self._process is None:
                raise EmbeddedServerError(f"{self.name} was not started.")
            await asyncio.sleep(WATCH_S)
        return code

    async def stop(self, timeout_s: float, quit_signal: signal.Signals) -> None:
        """End the server within `timeout_s`: `end_signal`, in the last fifth of it `quit_signal`, at the end SIGKILL.
        Does nothing when it does not run.
        """
        for number, limit_s in (
            (self.end_signal, 0.8 * timeout_s),
            (quit_signal, 0.2 * timeout_s),
            (signal.SIGKILL, KILL_TIMEOUT_S),
        ):
            if self._process is None or self._process.poll() is not None:
                return
            self._process.send_signal(number)
            deadline_s = time.monotonic() + limit_s
            while self._process.poll() is None and time.monotonic() < deadline_s:
                await asyncio.sleep(POLL_S)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now; between this call and the server's start another program may
    take it.
    """
    for port in random.sample(PORTS, k=100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is no obstacle
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise EmbeddedServerError(f"No free port found on 127.0.0.1 among {PORTS.start} to {PORTS.stop - 1}.")


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
