"""What lies where in the data directory."""

import fcntl
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import structlog

from config.limits import START_PATIENCE_S
from ingest.spool.disk import FileDisk

log: Any = structlog.get_logger()


class DataDirBusy(Exception):
    """Another gateway is at work in this data directory."""


class DataDir:
    """The gateway's one directory. Everything it keeps is below it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.spool = self.root / "spool"
        self.quarantine = self.root / "quarantine"
        self.dead = self.root / "dead"
        self.run = self.root / "run"
        """What a running gateway tells about itself; made anew at each start."""
        self.metrics = self.run / "metrics"
        self.qoe_door = self.run / "qoe.sock"
        self.rebuild = self.root / "rebuild"
        self.log = self.root / "log"
        self.endpoints = self.root / "endpoints.json"

    def make(self) -> None:
        """The directories that are missing, durably. Raises OSError, naming the data directory."""
        disk = FileDisk()
        try:
            for path in (self.root, self.spool, self.run, self.log):
                disk.make_directory(path)
        except OSError as error:
            raise OSError(f"{self.root}: {error}") from error

    def lock(self, patience_s: float = START_PATIENCE_S) -> int:
        """Take the directory for this process; waits, and says so, for who holds it to end. Raises DataDirBusy."""
        descriptor = os.open(self.root / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        until_s, told = time.monotonic() + patience_s, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    os.close(descriptor)
                    raise DataDirBusy(f"{self.root} is in use by another gateway") from None
                if not told:
                    log.warning(f"waits up to {patience_s:g} s for the gateway in {self.root} to end")
                    told = True
                time.sleep(0.1)
            else:
                return descriptor

    def clear_run(self) -> None:
        """Forget what an earlier run told about itself."""
        self.endpoints.unlink(missing_ok=True)
        self.metrics.mkdir(exist_ok=True)
        for path in [
            *self.run.glob("*.json"),
            *self.run.glob("*.draft"),
            *self.root.glob("keys.json.*.draft"),
            *self.metrics.glob("*.db"),
        ]:
            path.unlink(missing_ok=True)  # what a killed supervisor left behind may still rename its own

    def publish(self, endpoints: dict[str, str]) -> None:
        """Write endpoints.json, whole or not at all. It holds the stores' passwords, so it is for its owner alone."""
        draft = self.endpoints.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(endpoints)) + b"\n")
        draft.rename(self.endpoints)

    def endpoints_of_running(self) -> dict[str, str] | None:
        """What a running gateway wrote; None when none is ready here. One that was killed leaves the file behind."""
        if not self._held():
            return None
        try:
            return msgspec.json.decode(self.endpoints.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return None

    def pid_of_running(self) -> int | None:
        """Of the supervisor at work here, and of nobody else: a pid file outlives a kill, and its number is given
        again. None when there is none, or it is only just starting.
        """
        try:
            pid = int((self.run / "pid").read_text("ascii"))
            return pid if self._held() and _has_open(pid, self.root / "lock") else None
        except (OSError, ValueError):
            return None

    def _held(self) -> bool:
        """Whether a process has the directory's lock. Looks by a shared lock, which two lookers may have at once."""
        try:
            descriptor = os.open(self.root / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def _has_open(pid: int, path: Path) -> bool:
    """Whether that process has that file open. Raises OSError when there is no such process, or no such file."""
    wanted = path.stat()
    for open_file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.path.samestat(wanted, open_file.stat()):
                return True
        except FileNotFoundError:  # closed since it was listed: it goes on working
            continue
    return False
